import GraphModule
import TensorModule

/// Per-sample gradients of one batch one below the other: those of the batch itself, and of samples gathered
/// from it.
package struct RowStack<S: EngineScalar> {
  package let parts: [PerSampleGradients<S>]
  /// The first row of each part.
  let starts: [Int]
  /// M
  package let count: Int

  /// - Precondition: The later ones are of `Linearization.gathered` of that of the first, or of the same one.
  package init(_ parts: [PerSampleGradients<S>]) {
    self.parts = parts
    var end = 0
    starts = parts.map { part in
      defer { end += part.count }
      return end
    }
    count = end
  }

  var linearization: Linearization<S> { parts[0].linearization }
  var scales: [Double] { parts.flatMap(\.scales) }

  /// `sum_row coefficients[row] g_row`, `[M]`.
  ///
  /// - Parameter inDouble: As of `PerSampleGradients.weightedSums`.
  package func weightedSum(_ coefficients: [Double], inDouble: Bool) -> ScaledVector<S> {
    precondition(coefficients.count == count, "weightedSum: \(coefficients.count) of \(count) rows")
    return inDouble ? sum(coefficients, Double.self) : sum(coefficients, S.self)
  }

  private func sum<T: EngineScalar>(_ coefficients: [Double], _: T.Type) -> ScaledVector<S> {
    let weights = zip(coefficients, scales).map(*)
    let unit = powerOfTwo(near: weights.reduce(0) { max($0, abs($1)) })
    let offsets = linearization.program.offsets
    let sum = Vector<T>(count: linearization.parameterCount)
    accumulate(weights.map { $0 / unit }, into: sum, offsets: offsets)
    if let same = sum as? Vector<S> { return ScaledVector(vector: same, scale: unit) }
    guard let exact = sum as? Vector<Double> else { preconditionFailure("neither S nor double") }
    let rounded = ScaledVector<S>(rounding: exact)
    return ScaledVector(vector: rounded.vector, scale: rounded.scale * unit)
  }

  // MARK: - Products of rows

  /// All products, or some of them (`PerSampleGradients.gramMatrix`).
  func gramMatrix(_ products: GramProducts, withSums: Bool) -> GramMatrix {
    let split = products == .all ? count : linearization.samples
    let scales = scales
    let blocks = GramBlocks(
      rows: count, split: split, isDiagonal: products == .norms,
      sumWeights: withSums ? Array(scales[..<split]) : [])
    let (total, unit) = unscaledProducts(blocks, scales)
    let factors = scales.map { $0 / unit }
    let scaled: Vector<Double>
    if blocks.isDiagonal {
      scaled = Vector(count: count)
      for i in 0..<count { scaled.pointer[i] = total[i] * factors[i] * factors[i] }
    } else {
      scaled = mirrored(total, factors, from: 0)
    }
    return GramMatrix(
      count: count, unit: unit, scaled: scaled, products: products, split: split,
      dotSums: (0..<count).map { total.pointer[blocks.firstDot + $0] * factors[$0] / unit },
      schedule: linearization.schedule)
  }

  /// The products of all rows from one on with all rows.
  ///
  /// - Parameter inDouble: Otherwise in the engine's precision, tile by tile.
  package func gramBorder(from first: Int, inDouble: Bool = true) -> GramBorder {
    let scales = scales
    let blocks = GramBlocks(rows: count, split: count, first: first, isInEngine: !inDouble)
    let (total, unit) = unscaledProducts(blocks, scales)
    return GramBorder(
      first: first, count: count, unit: unit,
      scaled: mirrored(total, scales.map { $0 / unit }, from: first))
  }

  /// Before scales, as `GramBlocks` places them; and a power of two near the largest norm.
  private func unscaledProducts(
    _ blocks: GramBlocks, _ scales: [Double]
  ) -> (total: Vector<Double>, unit: Double) {
    let total = Vector<Double>(count: blocks.sumCount)
    let lanes = GramLanes<S>()
    for entry in parts[0].entries.indices { addGram(entry, blocks, lanes, to: total) }
    let norms = (blocks.first..<count).map {
      total[blocks.place($0, $0)].squareRoot() * scales[$0]
    }
    return (total, powerOfTwo(near: norms.max() ?? 0))
  }

  /// `f_i f_j K_ij`, `[M - first, M]`, both triangles, from the lower one.
  private func mirrored(
    _ lower: Vector<Double>, _ factors: [Double], from first: Int
  ) -> Vector<Double> {
    let count = count
    let matrix = Vector<Double>(unsetCount: (count - first) * count)
    let (source, target) = (lower.pointer, matrix.pointer)
    // Tile by tile: columns of the upper triangle would each touch as many cache lines as they are long.
    let width = 32
    linearization.pool.run((count - first + width - 1) / width) { tile, _ in
      let rows = first + tile * width..<min(first + (tile + 1) * width, count)
      for begin in stride(from: 0, to: rows.upperBound, by: width) {
        for i in rows where i >= begin {
          for j in begin...min(begin + width - 1, i) {
            let value = source[(i - first) * count + j] * factors[i] * factors[j]
            target[(i - first) * count + j] = value
            if j >= first { target[(j - first) * count + i] = value }
          }
        }
      }
    }
    return matrix
  }
}

/// Products of some rows, from one on, with all: `[M - first, M]`.
package struct GramBorder {
  package let first: Int
  package let count: Int
  /// A power of two near the largest norm of a row from the first on.
  package let unit: Double
  /// Over `unit^2`.
  package let scaled: Vector<Double>
}
