import Curvature
import TensorModule

/// What rows of gradients are multiplied by, `[N]`, for each draw that takes part.
typealias RowWeights = [Int: [Double]]

extension LayerRows {
  /// `sum_i b_i a_i^T`, `[out, in + 1]`, in double from the very rows: in the single precision of the
  /// engine g would leave their range. Beside it the norms of the products, added in squares.
  func gradient(_ weights: RowWeights) -> (g: Vector<Double>, size: Double) {
    let (outputs, inputs) = (outputColumns, inputColumns)
    var square = 0.0
    let g = Vector<Double>(count: outputs * inputs)
    let a = Vector<Double>(count: RowSpectrum.tileRows * inputs)
    let b = Vector<Double>(count: RowSpectrum.tileRows * outputs)
    let own = Vector<Double>(count: weights.count > 1 ? b.count : 0)
    RowSpectrum.forEachTile(count) { range in
      writeInputs(range, to: a.pointer)
      // The draws share their inputs: their rows are added first.
      for (place, (draw, weights)) in weights.sorted(by: { $0.key < $1.key }).enumerated() {
        writeCotangents(
          draw: draw, range, weights: weights, to: place == 0 ? b.pointer : own.pointer)
        if place > 0 { Kernels.axpby(1, own.pointer, 1, b.pointer, count: range.count * outputs) }
      }
      BLAS.gemm(
        transposeA: true, m: outputs, n: inputs, k: range.count, b.pointer, lda: outputs,
        a.pointer, ldb: inputs, beta: 1, g.pointer, ldc: inputs)
      for row in 0..<range.count {
        let (a, b) = (
          UnsafePointer(a.pointer + row * inputs), UnsafePointer(b.pointer + row * outputs)
        )
        square += Kernels.dot(a, a, count: inputs) * Kernels.dot(b, b, count: outputs)
      }
    }
    return (g, square.squareRoot())
  }
}
