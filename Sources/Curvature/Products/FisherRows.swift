import GraphModule
import TensorModule

/// The rows of `B = A^T J` with `F = B^T B` and `g = B^T w` (method.md 2), A the root of H of full rank:
/// one cotangent per sample for each of its columns at each position, `[O rank N, P]` in the form that
/// every layer allows.
///
/// Row `d N + n` is column `d % rank` at position `d / rank` of sample n. Blocks of F are products of
/// these rows restricted to a block, whose g is `B_b^T w` as well.
package struct FisherRows<S: EngineScalar> {
  package let perSample: PerSampleGradients<S>
  /// w, `[O rank N]`.
  package let weights: [Double]
  /// Whether all of w is there: neither a label that the model rules out nor one that it gives less
  /// than the range of numbers.
  package let isWhole: Bool
  private let output: OutputState<S>

  package init(_ linearization: Linearization<S>, _ output: OutputState<S>) {
    let columns = output.rootColumns
    perSample = linearization.rowsOfFisherFactor(output, columns: 0..<columns)
    var weights: [Double] = []
    for column in 0..<columns {
      let (position, own) = column.quotientAndRemainder(dividingBy: output.rootRank)
      weights += output.fullRankWeights(own, position: position)
    }
    isWhole =
      weights.allSatisfy(\.isFinite)
      && zip(weights, perSample.scales).allSatisfy { $0 == 0 || $1 >= .leastNormalMagnitude }
    self.weights = weights
    self.output = output
  }

  /// The cotangents of a chunk as they were when the rows were made, `[O rank, n, O C]`.
  package func writeCotangents(_ chunk: Schedule.Chunk, to out: UnsafeMutablePointer<S>) {
    output.writeFullRankColumns(0..<output.rootColumns, chunk: chunk, to: out)
  }
}

extension OutputState {
  /// Columns of the root of full rank at all positions, `O rank`.
  package var rootColumns: Int { positions * rootRank }

  /// Some columns for a chunk, `[columns, n, O C]`, each divided by its size.
  func writeFullRankColumns(
    _ columns: Range<Int>, chunk: Chunk, to out: UnsafeMutablePointer<S>
  ) {
    let size = chunk.count * positions * classes
    for (draw, column) in columns.enumerated() {
      writeFullRankColumn(
        column % rootRank, position: column / rootRank, chunk: chunk, to: out + draw * size)
    }
  }
}

extension Linearization {
  /// Some columns' rows of B.
  func rowsOfFisherFactor(
    _ output: OutputState<S>, columns: Range<Int>
  ) -> PerSampleGradients<S> {
    let rank = output.rootRank
    let sizes = columns.flatMap { output.rootSizes($0 % rank, position: $0 / rank) }
    return perSampleGradients(draws: columns.count, scales: sizes) { chunk, cotangents in
      output.writeFullRankColumns(columns, chunk: chunk, to: cotangents)
    }
  }

  /// The diagonal of `F / unit`: exact, or from sampled labels where there are more columns of the root
  /// than `FisherDiagonal.exactLimit`.
  ///
  /// - Parameter draw: Draws labels, `[R]`; called where they are needed.
  package func fisherDiagonal(
    _ output: OutputState<S>, unit: Double, _ draw: (_ draws: Int) -> [LogitGradient]
  ) -> Vector<Double> {
    let total = Vector<Double>(count: parameterCount)
    let operations = VectorOperations<Double>(pool: pool, count: total.count)
    let root = unit.squareRoot()
    if output.rootColumns <= FisherDiagonal.exactLimit {
      // Column by column: the rows of one at a time are all that is kept.
      for column in 0..<output.rootColumns {
        let rows = rowsOfFisherFactor(output, columns: column..<column + 1)
        operations.axpby(1, rows.summedSquares(unit: root), 1, total)
      }
      return total
    }
    let all = draw(FisherDiagonal.draws)
    for sampled in all {
      let norms = output.units(sampled)
      let rows = perSampleGradients(draws: 1, scales: norms) { chunk, cotangents in
        norms.withUnsafeBufferPointer {
          output.write(sampled, chunk: chunk, units: $0.baseAddress!, to: cotangents)
        }
      }
      operations.axpby(1 / Double(all.count), rows.summedSquares(unit: root), 1, total)
    }
    return total
  }
}

/// How the diagonal of F is found.
package enum FisherDiagonal {
  /// Up to so many cotangents per sample it is exact, at a backward pass and a product of squares each.
  package static var exactLimit: Int { 64 }
  /// Otherwise from so many sampled labels, as many as `sf` has.
  package static var draws: Int { 4 }
}
