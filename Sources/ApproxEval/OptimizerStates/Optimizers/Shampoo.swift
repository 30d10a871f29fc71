import Checkpoints
import Foundation
import TensorModule

extension KnownOptimizer {
  /// pytorch_optimizer's Shampoo (Gupta et al. 2018): along each of the k axes the gradient is
  /// multiplied by the power -1/(2k) of the statistics of that axis, which this batch joins first.
  static let shampoo = KnownOptimizer(
    name: "shampoo", title: "Shampoo (pytorch_optimizer)",
    kinds: [
      GroupKind(
        settings: [
          "lr", "momentum", "weight_decay", "weight_decouple", "fixed_decay", "matrix_eps", "step",
        ],
        // PyTorch's tensors of a network have at most five axes.
        states: (1...5).map { axes in
          Set((0..<axes).flatMap { ["pre_cond_\($0)", "inv_pre_cond_\($0)"] })
            .union(["momentum_buffer"])
        }, shape: GroupKind.like("momentum_buffer"), step: step)
    ],
    remarks: { _ throws(CheckpointError) in
      [
        "The roots of its statistics are taken to be formed in every step, the default; the file "
          + "does not tell."
      ]
    })

  private static func step(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let momentum = try p.group.number("momentum", .share)
    let g = p.gradient
    if momentum > 0 { average(g, try p.moment("momentum_buffer"), 1 - momentum) }
    let result = Vector<Double>(count: p.count)
    Kernels.copy(UnsafePointer(g.pointer), result.pointer, count: p.count)
    for (axis, size) in p.shape.enumerated() {
      let statistics = try p.state.vector("pre_cond_\(axis)", shape: [size, size])
      addProducts(of: g.pointer, axes: p.shape, axis: axis, to: statistics.pointer)
      let root = try power(
        statistics, size, -1 / Double(2 * p.shape.count), at: p.state.tensor("pre_cond_\(axis)"))
      multiply(result.pointer, axes: p.shape, axis: axis, by: root.pointer, transposed: false)
    }
    return scaled(result, p.learningRate)
  }

  /// `C += G G^T`, G the tensor as a matrix with one row for each place of the axis.
  private static func addProducts(
    of x: UnsafePointer<Double>, axes: [Int], axis: Int, to c: UnsafeMutablePointer<Double>
  ) {
    let size = axes[axis]
    let inner = axes[(axis + 1)...].reduce(1, *)
    for index in 0..<axes[..<axis].reduce(1, *) {
      let start = x + index * size * inner
      BLAS.gemm(
        transposeB: true, m: size, n: size, k: inner, start, lda: inner, start, ldb: inner, beta: 1,
        c, ldc: size)
    }
  }

  /// A power of a symmetric positive matrix by its eigenvalues, of which rounding may have made some
  /// negative: the optimiser takes singular values. The matrix is overwritten.
  private static func power(
    _ matrix: Vector<Double>, _ size: Int, _ exponent: Double, at tensor: StoredTensor
  ) throws(CheckpointError) -> Vector<Double> {
    let eigen: SymmetricEigendecomposition
    do throws(LinearAlgebraError) {
      eigen = try LAPACK.symmetricEigen(n: size, matrix)
    } catch {
      throw CheckpointError(
        .unexpectedValue(
          "the matrix", found: "one without eigenvalues: \(error)", expected: "symmetric"),
        at: tensor.location)
    }
    let vectors = eigen.vectors
    let scaled = vectors.copy()
    for row in 0..<size {
      let factor = pow(abs(eigen.values[row]), exponent)
      for column in 0..<size { scaled.pointer[row * size + column] *= factor }
    }
    let result = Vector<Double>(count: size * size)
    BLAS.gemm(
      transposeA: true, m: size, n: size, k: size, vectors.pointer, lda: size, scaled.pointer,
      ldb: size, result.pointer, ldc: size)
    return result
  }
}
