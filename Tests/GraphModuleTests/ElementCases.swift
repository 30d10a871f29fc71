import Foundation
import TensorModule
import TestSupport

@testable import GraphModule

// MARK: - Element-wise functions

/// One row for each row of `ElementFunction.all`: its value and derivative written out.
private func element(
  _ name: String, values: [Double] = [], offset: Double = 0,
  _ f: @escaping @Sendable (Double) -> Double, _ slope: @escaping @Sendable (Double) -> Double
) -> OperationCase {
  var function = ElementFunction(name)!
  if values.count == 1 { function = function.with(values[0]) }
  if values.count == 2 { function = function.with(values[0], values[1]) }
  return OperationCase(
    "\(name)\(values.isEmpty ? "" : " \(values)")", Activation(function), [.real([5])],
    offset: offset
  ) { x, _, _ in x[0].map { $0.apply(f($0.value), slope: slope($0.value)) } }
}

private let cubicFactor = 2 * (2 / Double.pi).squareRoot()
private func cubic(_ x: Double) -> Double { cubicFactor * (x + 0.044715 * x * x * x) }
private func normal(_ x: Double) -> Double { erfc(-x / 2.0.squareRoot()) / 2 }
private func density(_ x: Double) -> Double { exp(-x * x / 2) / (2 * Double.pi).squareRoot() }
private func selu(_ x: Double) -> Double { x > 0 ? x : 1.6732632423543772848170 * expm1(x) }
private func seluSlope(_ x: Double) -> Double { x > 0 ? 1 : 1.6732632423543772848170 * exp(x) }
private func clip(_ x: Double, _ low: Double, _ high: Double) -> Double { min(max(x, low), high) }
private func mishSlope(_ x: Double) -> Double {
  let t = tanh(softplus(x))
  return t + x * (1 - t * t) * logistic(x)
}
private func logistic(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
private func softplus(_ x: Double) -> Double { log1p(exp(x)) }

let elementCases: [OperationCase] = [
  element("relu", { max($0, 0) }, { $0 > 0 ? 1 : 0 }),
  element("leaky_relu", values: [0.2], { $0 > 0 ? $0 : 0.2 * $0 }, { $0 > 0 ? 1 : 0.2 }),
  element("gelu", { $0 * normal($0) }, { normal($0) + $0 * density($0) }),
  element(
    "gelu_tanh",
    { $0 * logistic(cubic($0)) },
    { (x: Double) -> Double in
      let s = logistic(cubic(x))
      let inner: Double = 1 + 3 * 0.044715 * x * x
      return s + x * s * (1 - s) * cubicFactor * inner
    }),
  element("silu", { $0 * logistic($0) }, { logistic($0) * (1 + $0 * (1 - logistic($0))) }),
  element("tanh", { tanh($0) }, { 1 / cosh($0) / cosh($0) }),
  element("sigmoid", { logistic($0) }, { logistic($0) * logistic(-$0) }),
  element("softplus", { softplus($0) }, { logistic($0) }),
  element(
    "softplus", values: [2.5, 0.5], { 2.5 * $0 > 0.5 ? $0 : softplus(2.5 * $0) / 2.5 },
    { 2.5 * $0 > 0.5 ? 1 : logistic(2.5 * $0) }),
  element("exp", { exp($0) }, { exp($0) }),
  element("expm1", { expm1($0) }, { exp($0) }),
  element("log", offset: 5, { log($0) }, { 1 / $0 }),
  element("log1p", offset: 4, { log1p($0) }, { 1 / (1 + $0) }),
  element("sqrt", offset: 5, { $0.squareRoot() }, { 0.5 / $0.squareRoot() }),
  element("rsqrt", offset: 5, { 1 / $0.squareRoot() }, { -0.5 / $0 / $0.squareRoot() }),
  element("reciprocal", offset: 5, { 1 / $0 }, { -1 / $0 / $0 }),
  element("abs", { abs($0) }, { $0 > 0 ? 1 : -1 }),
  element("sin", { sin($0) }, { cos($0) }),
  element("cos", { cos($0) }, { -sin($0) }),
  element("erf", { erf($0) }, { 2 / Double.pi.squareRoot() * exp(-$0 * $0) }),
  element("pow", values: [2.5], offset: 5, { pow($0, 2.5) }, { 2.5 * pow($0, 1.5) }),
  element("pow", { $0 * $0 }, { 2 * $0 }),
  element(
    "clamp", values: [-0.5, 0.25], { clip($0, -0.5, 0.25) }, { clip($0, -0.5, 0.25) == $0 ? 1 : 0 }),
  element(
    "hardtanh", values: [-0.5, 0.25], { clip($0, -0.5, 0.25) },
    { clip($0, -0.5, 0.25) == $0 ? 1 : 0 }),
  element("elu", values: [0.7], { $0 > 0 ? $0 : 0.7 * expm1($0) }, { $0 > 0 ? 1 : 0.7 * exp($0) }),
  element(
    "celu", values: [0.7], { $0 > 0 ? $0 : 0.7 * expm1($0 / 0.7) }, { $0 > 0 ? 1 : exp($0 / 0.7) }),
  element(
    "selu", { 1.0507009873554804934193 * selu($0) }, { 1.0507009873554804934193 * seluSlope($0) }),
  element("hardsigmoid", { clip($0 / 6 + 0.5, 0, 1) }, { abs($0) < 3 ? 1.0 / 6.0 : 0.0 }),
  element(
    "hardswish", { $0 * clip($0 / 6 + 0.5, 0, 1) },
    { $0 <= -3 ? 0 : $0 < 3 ? $0 / 3 + 0.5 : 1 }),
  element("log_sigmoid", { -softplus(-$0) }, { logistic(-$0) }),
  element("softsign", { $0 / (1 + abs($0)) }, { 1 / (1 + abs($0)) / (1 + abs($0)) }),
  element("mish", { $0 * tanh(softplus($0)) }, { mishSlope($0) }),
]
