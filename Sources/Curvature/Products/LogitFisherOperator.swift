import HessianFree
import TensorModule

/// `F` on combinations of rows of J: an element `J^T y` is the pair `[y, q]` with `q = J J^T y`, both
/// `[N, O C]` in double, so that `<J^T y, J^T y'> = y . q'` and `F J^T y = J^T (H q)`.
///
/// The product itself is H, which is cheap; what costs is to find q for the new y, one backward
/// sweep to the layers' outputs and one forward sweep with their kernels (`settle`). Nothing has
/// the length P. Algorithm 5 on these pairs is Algorithm 5 on the vectors that they stand for.
///
/// Divided by `unit` as in `FisherOperator`.
package final class LogitFisherOperator<S: EngineScalar>: LinearOperator {
  package typealias Scalar = Double

  package let linearization: Linearization<S>
  package let output: OutputState<S>
  package let metric: OutputMetric
  package let unit: Double
  private let rows: PerSampleGradients<S>
  private let ones: [Double]

  package init(
    _ linearization: Linearization<S>, _ output: OutputState<S>, metric: OutputMetric = .fisher,
    unit: Double = 1
  ) {
    self.linearization = linearization
    self.output = output
    self.metric = metric
    self.unit = unit
    ones = [Double](repeating: 1, count: linearization.samples)
    rows = PerSampleGradients(linearization: linearization, draws: 1, scales: ones)
  }

  /// N O C, the length of y; a pair has twice as many entries.
  private var half: Int { linearization.samples * linearization.logitCount }
  package var dimension: Int { 2 * half }
  package var isPositiveSemidefinite: Bool { true }
  package var rounding: Double { Double(S.ulpOfOne) }
  package var quadraticRounding: Double { rounding * rounding }

  /// The space of the pairs.
  package func space() -> VectorOperations<Double> {
    VectorOperations(
      pool: linearization.pool, count: dimension, innerProduct: .paired(rounding: rounding))
  }

  /// `g / unit = J^T (u / unit)`, its second half still to be settled.
  package func writeRightHandSide(unit: Double, to b: Vector<Double>) {
    let units = [Double](repeating: unit, count: linearization.samples)
    for chunk in linearization.schedule.chunks {
      units.withUnsafeBufferPointer {
        output.write(
          output.gradient, chunk: chunk, units: $0.baseAddress!,
          to: b.pointer + chunk.first * linearization.logitCount)
      }
    }
  }

  /// The first half of the product; the second is left to `settle`.
  package func apply(
    _ v: Vector<Double>, into product: Vector<Double>
  ) throws(SolveError) -> Double {
    let quadratics = SampleSums(linearization.schedule)
    let chunks = linearization.schedule.chunks
    linearization.pool.run(chunks.count, operations: 4 * Double(half)) { number, _ in
      let chunk = chunks[number]
      let first = chunk.first * linearization.logitCount
      quadratics[chunk][0] = output.multiply(
        metric, chunk: chunk, UnsafePointer(v.pointer + half + first),
        into: product.pointer + first, scale: 1 / unit)
    }
    return quadratics.total() / unit
  }

  /// `q = J J^T y`
  package func settle(_ x: Vector<Double>) throws(SolveError) {
    let size = linearization.logitCount
    rows.clear()
    rows.scales = linearization.collect(x, into: rows)
    let unit = powerOfTwo(near: rows.scales.max() ?? 0)
    rows.jvp([ones.map { $0 / unit }]) { chunk, tangents in
      let q = x.pointer + half + chunk.first * size
      Kernels.toDouble(tangents, q, count: chunk.count * size)
      if unit != 1 { Kernels.axpby(0, q, unit, q, count: chunk.count * size) }
    }
  }

  /// `J^T y` for the first half of a pair, times `scale`, as a direction.
  package func combination(_ x: Vector<Double>, scale: Double, norm: Double) -> Combination<S> {
    let basis = PerSampleGradients(linearization: linearization, draws: 1, scales: ones)
    basis.scales = linearization.collect(x, into: basis)
    let unit = powerOfTwo(near: basis.scales.max() ?? 0)
    let cotangent = Vector<Double>(count: half)
    Kernels.axpby(1 / unit, x.pointer, 0, cotangent.pointer, count: half)
    return Combination(
      basis: basis, weights: ones.map { $0 / unit }, scale: scale * unit, cotangent: { cotangent },
      norm: norm * scale)
  }
}

extension Linearization {
  /// The per-sample gradients `J_n^T y_n`, y `[N, O C]` in double, each sample's cotangent divided by
  /// its norm, which keeps it in the range of S.
  ///
  /// - Returns: Those norms, 0 where there is nothing to divide.
  fileprivate func collect(_ y: Vector<Double>, into rows: PerSampleGradients<S>) -> [Double] {
    let size = logitCount
    let norms = Vector<Double>(count: samples)
    pool.run(samples, operations: 2 * Double(y.count)) { n, _ in
      let own = UnsafePointer(y.pointer + n * size)
      let norm = euclideanNorm(
        UnsafeBufferPointer(start: own, count: size), square: Kernels.dot(own, own, count: size))
      norms.pointer[n] = norm >= .leastNormalMagnitude ? norm : 0
    }
    collect(into: rows) { chunk, out in
      // Pieces that stay in the first-level cache.
      let piece = min(size, 1 << 11)
      withUnsafeTemporaryAllocation(of: Double.self, capacity: piece) { scaled in
        for n in 0..<chunk.count {
          let norm = norms.pointer[chunk.first + n]
          for first in stride(from: 0, to: size, by: piece) {
            let count = min(piece, size - first)
            Kernels.axpby(
              norm > 0 ? 1 / norm : 0, y.pointer + (chunk.first + n) * size + first, 0,
              scaled.baseAddress!, count: count)
            Kernels.fromDouble(scaled.baseAddress!, out + n * size + first, count: count)
          }
        }
      }
    }
    return norms.array
  }
}
