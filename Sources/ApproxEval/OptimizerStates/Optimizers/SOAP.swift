import Checkpoints
import Foundation
import TensorModule

extension KnownOptimizer {
  /// pytorch_optimizer's SOAP (Vyas et al. 2024): Adam in the eigenbases of Shampoo's
  /// preconditioner. The bases move after the step, so that the saved ones decide it.
  static let soap = KnownOptimizer(
    name: "soap", title: "SOAP (pytorch_optimizer)",
    kinds: [
      GroupKind(
        settings: [
          "lr", "betas", "shampoo_beta", "weight_decay", "precondition_frequency",
          "max_precondition_dim", "merge_dims", "precondition_1d", "correct_bias",
          "normalize_gradient", "eps", "step",
        ],
        states: [["exp_avg", "exp_avg_sq", "GG", "Q", "precondition_frequency", "shampoo_beta"]],
        shape: GroupKind.like("exp_avg"), step: kozistrSOAPStep)
    ])

  private static func kozistrSOAPStep(
    _ p: ParameterStep
  ) throws(CheckpointError) -> Vector<Double> {
    // Its first step only makes the bases.
    let t = try p.group.number("step", .notNegative)
    let axes = try EigenbasisAxes(
      p,
      axes: p.group.flag("merge_dims")
        ? mergedAxes(p.shape, below: try p.group.number("max_precondition_dim")) : p.shape)
    let m = try p.moment("exp_avg")
    average(m, p.gradient, try p.group.pair("betas").0)
    axes.project(m.pointer)
    axes.project(p.gradient.pointer)
    return try soapStep(
      p, axes, rotated: m, step: t,
      normalization: p.group.flag("normalize_gradient")
        ? p.group.number("eps", .notNegative) : nil)
  }

  /// The authors' SOAP, which keeps the average of gradients in the bases.
  static let authorsSOAP = KnownOptimizer(
    name: "soap", title: "SOAP (N. Vyas)",
    kinds: [
      GroupKind(
        settings: [
          "lr", "betas", "shampoo_beta", "eps", "weight_decay", "precondition_frequency",
          "max_precond_dim", "merge_dims", "precondition_1d", "normalize_grads", "correct_bias",
        ],
        states: [
          ["step", "exp_avg", "exp_avg_sq", "GG", "Q", "precondition_frequency", "shampoo_beta"]
        ],
        shape: GroupKind.like("exp_avg"), step: authorsSOAPStep)
    ],
    remarks: { _ throws(CheckpointError) in
      ["The average of gradients is taken to be in the eigenbases, as since December 2024."]
    })

  private static func authorsSOAPStep(
    _ p: ParameterStep
  ) throws(CheckpointError) -> Vector<Double> {
    let axes = try EigenbasisAxes(
      p,
      axes: p.group.flag("merge_dims")
        ? authorsMergedAxes(p.shape, below: try p.group.number("max_precond_dim")) : p.shape)
    let m = try p.moment("exp_avg")
    axes.project(p.gradient.pointer)
    average(m, p.gradient, try p.group.pair("betas").0)
    return try soapStep(
      p, axes, rotated: m, step: p.nextStep(),
      normalization: p.group.flag("normalize_grads") ? 1e-30 : nil)
  }

  /// - Parameters:
  ///   - m: The advanced average of gradients, in the bases, as the gradient is.
  ///   - normalization: Added to the root mean square that the step is divided by.
  private static func soapStep(
    _ p: ParameterStep, _ axes: EigenbasisAxes, rotated m: Vector<Double>, step: Double,
    normalization: Double?
  ) throws(CheckpointError) -> Vector<Double> {
    let betas = try p.group.pair("betas")
    let epsilon = try p.group.number("eps", .notNegative)
    let v = try p.squares("exp_avg_sq")
    averageSquares(v, p.gradient, betas.1)
    var rate = p.learningRate
    if try p.group.flag("correct_bias") {
      rate *= biasCorrection(betas.1, step).squareRoot() / biasCorrection(betas.0, step)
    }
    for i in 0..<p.count {
      let divisor = v.pointer[i].squareRoot() + epsilon
      m.pointer[i] = divisor > 0 ? m.pointer[i] / divisor : 0
    }
    axes.project(m.pointer, back: true)
    if let normalization { rate /= rootMeanSquare(m) + normalization }
    return scaled(m, rate)
  }

  /// Neighbouring axes as one while their product is at most `limit`.
  private static func mergedAxes(_ shape: [Int], below limit: Double) -> [Int] {
    var (merged, product) = ([Int](), 1)
    for axis in shape {
      product *= axis
      if Double(product) > limit {
        merged.append(product / axis)
        product = axis
      }
    }
    return merged + [product]
  }

  private static func authorsMergedAxes(_ shape: [Int], below limit: Double) -> [Int] {
    var (merged, product) = ([Int](), 1)
    for axis in shape {
      if Double(product * axis) <= limit {
        product *= axis
      } else if product > 1 {
        merged.append(product)
        product = axis
      } else {
        merged.append(axis)
        product = 1
      }
    }
    return product > 1 || merged.isEmpty ? merged + [product] : merged
  }
}

/// The eigenbases in `Q`, one for each axis of a tensor that has one.
private struct EigenbasisAxes {
  private let axes: [Int]
  private let bases: [Vector<Double>?]

  init(_ p: ParameterStep, axes: [Int]) throws(CheckpointError) {
    self.axes = axes
    var bases: [Vector<Double>?] = []
    for (index, axis) in axes.enumerated() {
      let key = "Q.\(index)"
      // Where an axis is too long for a basis, or none is wanted, there is an empty list.
      let hasBasis = p.state.shape(key) != nil
      bases.append(hasBasis ? try p.state.vector(key, shape: [axis, axis]) : nil)
    }
    self.bases = bases
    if let basis = p.state.archive.tensors["\(p.state.place).Q.\(axes.count)"] {
      throw CheckpointError(.unexpectedTensor(near: []), at: basis.location)
    }
  }

  /// Into the eigenbases, or out of them.
  func project(_ x: UnsafeMutablePointer<Double>, back: Bool = false) {
    for (axis, basis) in bases.enumerated() {
      guard let basis else { continue }
      multiply(x, axes: axes, axis: axis, by: basis.pointer, transposed: !back)
    }
  }
}

/// Multiplies a row-major tensor by a square matrix along one axis, in place:
/// `x[.., i, ..] <- sum_j A[i, j] x[.., j, ..]`.
func multiply(
  _ x: UnsafeMutablePointer<Double>, axes: [Int], axis: Int, by matrix: UnsafePointer<Double>,
  transposed: Bool
) {
  let size = axes[axis]
  let inner = axes[(axis + 1)...].reduce(1, *)
  let outer = axes[..<axis].reduce(1, *)
  if inner == 0 || outer == 0 || size == 0 { return }
  let slice = Vector<Double>(count: size * inner)
  for index in 0..<outer {
    let start = x + index * size * inner
    BLAS.gemm(
      transposeA: transposed, m: size, n: inner, k: size, matrix, lda: size, start, ldb: inner,
      slice.pointer, ldc: inner)
    Kernels.copy(UnsafePointer(slice.pointer), start, count: size * inner)
  }
}
