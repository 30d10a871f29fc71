import GraphModule
import TensorModule

/// `K = G G^T` of per-sample gradients, `[R N, R N]` in double, from whatever form each parameter
/// has them in (method.md 3):
/// * factored, few positions: `K += (A A^T) * (B B^T)` element by element, summed over positions;
/// * factored, many positions: tiles of the per-sample matrices `b_n^T a_n`, one `syrk` each;
/// * explicit: tiles of the rows.
///
/// Kept divided by the square of `unit`, a power of two near the largest norm: gradients of 1e-160
/// are numbers, their products are not.
package struct GramMatrix: Sendable {
  package let count: Int
  package let unit: Double
  /// `K / unit^2`, row-major, symmetric; of norms alone the diagonal.
  package let scaled: Vector<Double>
  /// Which products there are.
  package let products: GramProducts
  /// Rows of the first block, whose sum every row was multiplied with.
  package let split: Int
  /// Per row its product with the sum of the first block's rows, over `unit^2`.
  private let dotSums: [Double]
  /// The order of sums over rows.
  private let schedule: Schedule

  init(
    count: Int, unit: Double, scaled: Vector<Double>, products: GramProducts, split: Int,
    dotSums: [Double], schedule: Schedule
  ) {
    self.count = count
    self.unit = unit
    self.scaled = scaled
    self.products = products
    self.split = split
    self.dotSums = dotSums
    self.schedule = schedule
  }

  /// K itself, which may underflow.
  package subscript(row: Int, column: Int) -> Double { scaled(row, column) * unit * unit }

  package func scaled(_ row: Int, _ column: Int) -> Double {
    precondition(meet(row, column), "GramMatrix: \(row) and \(column) do not meet")
    return scaled[products == .norms ? row : row * count + column]
  }

  private func meet(_ row: Int, _ column: Int) -> Bool {
    switch products {
    case .all: true
    case .perBlock: (row < split) == (column < split)
    case .norms: row == column
    }
  }

  /// The product of a row with the sum of the rows of the first block, over `unit^2`.
  package func scaledDotSum(_ row: Int) -> Double { dotSums[row] }

  /// `|sum_row weights[row] g_row|^2 / unit^2` over some rows of one block; where only norms are
  /// known, of the sum of the first block's rows.
  package func scaledQuadratic(_ weights: [Double], _ rows: Range<Int>) -> Double {
    precondition(rows.upperBound <= split || rows.lowerBound >= split, "GramMatrix: \(rows)")
    let weights = Array(weights[rows])
    if products == .norms {
      let common = weights.first ?? 0
      precondition(
        rows == 0..<split && weights.allSatisfy { $0 == common }, "GramMatrix: only norms are known"
      )
      return common * common * schedule.sum(rows: rows) { dotSums[$0] }
    }
    var product = [Double](repeating: 0, count: rows.count)
    BLAS.multiply(
      rows: rows.count, columns: rows.count, scaled.pointer + rows.lowerBound * (count + 1),
      stride: count, weights, into: &product)
    let first = rows.lowerBound
    return schedule.sum(rows: rows) { weights[$0 - first] * product[$0 - first] }
  }

  /// The matrix of the first rows, in the same unit; at least the first block, unless it has all
  /// products.
  package func prefix(_ rows: Int) -> GramMatrix {
    precondition(
      products == .all || rows >= split, "GramMatrix: \(rows) rows of a first block of \(split)")
    // The sum of a part's rows is another one.
    precondition(products != .all || rows == count, "GramMatrix: a part of all products")
    if rows == count { return self }
    let part: Vector<Double>
    if products == .norms {
      part = Vector(count: rows)
      Kernels.copy(scaled.pointer, part.pointer, count: rows)
    } else {
      part = Vector(count: rows * rows)
      for row in 0..<rows {
        Kernels.copy(scaled.pointer + row * count, part.pointer + row * rows, count: rows)
      }
    }
    return GramMatrix(
      count: rows, unit: unit, scaled: part, products: products, split: split,
      dotSums: Array(dotSums.prefix(rows)), schedule: schedule)
  }

  /// `|g_row|_2`
  package func norm(_ row: Int) -> Double { unit * scaled(row, row).squareRoot() }
}

extension PerSampleGradients {
  /// The Gram matrix of all rows over all trainable parameters.
  ///
  /// - Parameters:
  ///   - products: Those that are needed. Products between the first draw and the others cost next to
  ///     nothing summed over the first draw.
  ///   - withSums: Whether products with the sum of the first block's rows are needed
  ///     (`scaledDotSum`); zeros without.
  package func gramMatrix(
    _ products: GramProducts = .all, withSums: Bool = true
  ) -> GramMatrix {
    RowStack([self]).gramMatrix(products, withSums: withSums)
  }

  /// `[R N, out]`: cotangents summed over positions, the gradients of a bias.
  func positionSums(_ factors: Factorization, rows: Vector<S>) -> Vector<S> {
    let size = factors.positions * factors.outputs
    return factors.positionSums((0..<count).map { UnsafePointer(rows.pointer + $0 * size) })
  }
}

extension Factorization {
  /// Whether products of gradients are taken from pairs of rows. They cost
  /// `(N T)^2 in + (R N T)^2 out` operations, explicit tiles `R N T in out` at the engine's rate and
  /// `(R N)^2 in out`.
  ///
  /// - Parameter isDiagonal: Norms alone are not worth the memory of so many pairs.
  func prefersPairs(samples: Int, draws: Int, isDiagonal: Bool) -> Bool {
    let (columns, outputs) = (Double(inputs), Double(outputs))
    let inputRows = Double(samples * positions)
    let drawnRows = Double(draws) * inputRows
    guard drawnRows * drawnRows <= Double(1 << (isDiagonal ? 22 : 25)) else { return false }
    let inputWork = rows == .oneHot ? 0 : inputRows * inputRows * columns
    let pairs = inputWork + drawnRows * drawnRows * outputs
    let count = Double(draws) * Double(samples)
    let tiles = drawnRows * columns * outputs + count * count * columns * outputs
    return pairs <= tiles
  }
}
