import CKernels
import Foundation
import TensorModule
import Testing

private func activate<S: EngineScalar>(
  _ f: ck_activation, _ x: [S], parameter: Double = 1, threshold: Double = 20
) -> (value: [S], derivative: [S]) {
  var value = [S](repeating: 0, count: x.count)
  var derivative = value
  ck_activate(S.kernelType, f, parameter, threshold, x, &value, &derivative, x.count)
  return (value, derivative)
}

/// Value, derivative, and the first of the two terms the derivative is a sum of, in double by
/// libm: exact for the purposes of float.
private func reference(_ f: ck_activation, _ x: Double) -> (Double, Double, Double) {
  func s(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
  switch f {
  case CK_GELU_ERF:
    let phi = 0.5 * erfc(-x * 0.5.squareRoot())
    return (x * phi, phi + x * exp(-x * x / 2) / (2 * Double.pi).squareRoot(), phi)
  case CK_GELU_TANH:
    let k = 2 * (2 / Double.pi).squareRoot()
    let (v, dv) = (k * (x + 0.044715 * x * x * x), k * (1 + 3 * 0.044715 * x * x))
    return (x * s(v), s(v) * (1 + x * s(-v) * dv), s(v))
  case CK_SILU: return (x * s(x), s(x) * (1 + x * s(-x)), s(x))
  case CK_TANH: return (tanh(x), 1 / (cosh(x) * cosh(x)), 0)
  case CK_SIGMOID: return (s(x), s(x) * s(-x), 0)
  case CK_SOFTPLUS: return x > 20 ? (x, 1, 0) : (log1p(exp(x)), s(x), 0)
  default: fatalError("no reference for activation \(f)")
  }
}

private let smooth = [
  CK_GELU_ERF, CK_GELU_TANH, CK_SILU, CK_TANH, CK_SIGMOID, CK_SOFTPLUS,
]

/// Measured against mpmath on 7,000 points and all three clones: values below 3.8 (gelu), 2.7
/// (gelu_tanh), 3.0 (silu), 2.3 (softplus), 2.1 (sigmoid), 1.3 (tanh); derivatives, in ulps of their
/// larger term, below 6.7 (gelu_tanh) and 4.7 (others). Each is a handful of roundings.
private let valueBound = 4.0
private let derivativeBound = 7.0

@Suite struct ActivationTests {
  @Test(arguments: smooth.map(\.rawValue))
  func floatActivationsAreWithinAFewUlpsOfLibmInDouble(rawValue: UInt32) {
    let f = ck_activation(rawValue)
    var random = TestRandom(seed: 11)
    var x: [Float] = random.array(6000, -4, 4) + random.array(3000, -20, 20)
    // Small arguments, where a difference of large terms would show.
    x += (0..<1000).map { _ in Float(pow(10, random.uniform(-12, 0)) * random.uniform(-1, 1)) }
    let found = activate(f, x)
    let expected = x.map { reference(f, Double($0)) }
    // Where the exponential is subnormal it keeps fewer digits: 2^-149 times a factor of up to 250.
    let normal = expected.map { abs($0.0) > 1e-34 && abs($0.1) > 1e-34 }
    func isClose(_ found: Float, _ expected: Double) -> Bool {
      abs(Double(found) - expected) < 1e-42 + 1e-6 * abs(expected)
    }
    for i in x.indices where !normal[i] {
      #expect(isClose(found.value[i], expected[i].0), "\(f) at \(x[i])")
      #expect(isClose(found.derivative[i], expected[i].1), "derivative of \(f) at \(x[i])")
    }
    func kept<A>(_ a: [A]) -> [A] { zip(a, normal).filter(\.1).map(\.0) }
    expectUlps(kept(found.value), kept(expected.map(\.0)), within: valueBound, "value \(f)")
    expectUlps(
      kept(found.derivative), kept(expected.map(\.1)),
      scale: kept(expected.map { max(abs($0.1), $0.2) }), within: derivativeBound,
      "derivative \(f)")
  }

  @Test(arguments: activationReferences.map(\.0.rawValue))
  func doubleActivationsAreWithinAFewUlpsOfManyDigitConstants(rawValue: UInt32) throws {
    let f = ck_activation(rawValue)
    let table = try #require(activationReferences.first { $0.0 == f }).1
    let found = activate(f, table.map(\.x))
    expectUlps(found.value, table.map(\.value), within: valueBound, "value \(f)")
    expectUlps(
      found.derivative, table.map(\.derivative),
      scale: table.map { max(abs($0.derivative), $0.term) }, within: derivativeBound,
      "derivative \(f)")
  }

  @Test func zeroAndInfinityGiveTheLimits() {
    func check<S: EngineScalar>(_: S.Type) {
      let x: [S] = [0, S.infinity, -S.infinity]
      let limits: [(ck_activation, value: [S], derivative: [S])] = [
        (CK_RELU, [0, .infinity, 0], [0, 1, 0]),
        (CK_GELU_ERF, [0, .infinity, 0], [0.5, 1, 0]),
        (CK_GELU_TANH, [0, .infinity, 0], [0.5, 1, 0]),
        (CK_SILU, [0, .infinity, 0], [0.5, 1, 0]),
        (CK_TANH, [0, 1, -1], [1, 0, 0]),
        (CK_SIGMOID, [0.5, 1, 0], [0.25, 0, 0]),
        (CK_SOFTPLUS, [S(0.693147180559945309), .infinity, 0], [0.5, 1, 0]),
      ]
      for (f, value, derivative) in limits {
        let found = activate(f, x)
        #expect(found.value == value, "\(S.self), activation \(f)")
        #expect(found.derivative == derivative, "\(S.self), activation \(f)")
      }
      let leaky = activate(CK_LEAKY_RELU, x, parameter: 0.25)
      #expect(leaky.value == [0, .infinity, -.infinity])
      #expect(leaky.derivative == [0.25, 1, 0.25])
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func nanGivesNan() {
    func check<S: EngineScalar>(_: S.Type) {
      for raw in CK_RELU.rawValue...CK_SOFTPLUS.rawValue {
        let found = activate(ck_activation(raw), [S.nan, 1, -S.nan], parameter: 0.1)
        #expect(found.value.map(\.isNaN) == [true, false, true], "\(S.self), activation \(raw)")
        #expect(found.derivative.map(\.isNaN) == [true, false, true], "activation \(raw)")
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func reluAndLeakyReluAreExactOnBothSides() {
    let x: [Double] = [-2, -0.5, 0, 0.5, 2]
    let relu = activate(CK_RELU, x)
    #expect(relu.value == [0, 0, 0, 0.5, 2])
    #expect(relu.derivative == [0, 0, 0, 1, 1])
    let leaky = activate(CK_LEAKY_RELU, x, parameter: 0.125)
    #expect(leaky.value == [-0.25, -0.0625, 0, 0.5, 2])
    #expect(leaky.derivative == [0.125, 0.125, 0.125, 1, 1])
  }

  /// `softplus(beta x) / beta`, and the identity where beta x is above the threshold.
  @Test func softplusWithBetaIsAScaledSoftplus() {
    let x: [Double] = [-9, -2.5, -0.25, 0, 0.125, 1.25, 2, 2.5, 2.75, 40]
    // 2 x is exact, and so is the division.
    let plain = activate(CK_SOFTPLUS, x.map { 2 * $0 })
    let found = activate(CK_SOFTPLUS, x, parameter: 2, threshold: 5)
    for i in x.indices {
      let isLinear = 2 * x[i] > 5
      #expect(found.value[i] == (isLinear ? x[i] : plain.value[i] / 2), "at \(x[i])")
      #expect(found.derivative[i] == (isLinear ? 1 : plain.derivative[i]), "at \(x[i])")
    }
  }

  /// The body works in vectors of 8 or 16, the rest goes through a buffer.
  @Test func aResultDependsOnNeitherItsPlaceNorTheLengthOfTheArray() {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 5)
      let x: [S] = random.array(37, -6, 6)
      for raw in CK_RELU.rawValue...CK_SOFTPLUS.rawValue {
        let f = ck_activation(raw)
        let whole = activate(f, x, parameter: 0.1)
        for start in [1, 5, 20, 36] {
          let part = activate(f, Array(x[start...]), parameter: 0.1)
          #expect(part.value == Array(whole.value[start...]))
          #expect(part.derivative == Array(whole.derivative[start...]))
        }
        var inPlace = x
        inPlace.withUnsafeMutableBytes {
          ck_activate(S.kernelType, f, 0.1, 20, $0.baseAddress, $0.baseAddress, nil, x.count)
        }
        #expect(inPlace == whole.value)
      }
    }
    check(Float.self)
    check(Double.self)
  }
}
