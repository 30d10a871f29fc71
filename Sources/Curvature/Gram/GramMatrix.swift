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

  fileprivate init(
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
    let split = products == .all ? count : samples
    let blocks = GramBlocks(
      rows: count, split: split, isDiagonal: products == .norms,
      sumWeights: withSums ? Array(scales[..<split]) : [])
    let sum = Vector<Double>(count: blocks.sumCount)
    let lanes = GramLanes<S>()
    for entry in entries { addGram(entry, blocks, lanes, to: sum) }
    let total = UnsafePointer(sum.pointer)
    let norms = (0..<count).map { total[blocks.place($0, $0)].squareRoot() * scales[$0] }
    let unit = powerOfTwo(near: norms.max() ?? 0)
    let factors = scales.map { $0 / unit }
    let scaled: Vector<Double>
    if blocks.isDiagonal {
      scaled = Vector(count: count)
      for i in 0..<count { scaled.pointer[i] = total[i] * factors[i] * factors[i] }
    } else {
      scaled = mirrored(total, factors)
    }
    let dots = total + blocks.firstDot
    return GramMatrix(
      count: count, unit: unit, scaled: scaled, products: products, split: split,
      dotSums: (0..<count).map { dots[$0] * factors[$0] / unit },
      schedule: linearization.schedule)
  }

  /// `f_i f_j K_ij`, both triangles, from the lower one.
  private func mirrored(_ lower: UnsafePointer<Double>, _ factors: [Double]) -> Vector<Double> {
    let count = count
    let matrix = Vector<Double>(unsetCount: count * count)
    let target = matrix.pointer
    // Tile by tile: columns of the upper triangle would each touch as many cache lines as they are long.
    let width = 32
    linearization.pool.run((count + width - 1) / width) { tile, _ in
      let rows = tile * width..<min((tile + 1) * width, count)
      for first in stride(from: 0, to: rows.upperBound, by: width) {
        for i in rows where i >= first {
          for j in first...min(first + width - 1, i) {
            let value = lower[i * count + j] * factors[i] * factors[j]
            target[i * count + j] = value
            target[j * count + i] = value
          }
        }
      }
    }
    return matrix
  }

  /// Adds the lower triangle of one entry's contribution, before scales, and a row of products with
  /// the sum of the first rows times their scales.
  private func addGram(
    _ entry: Entry, _ blocks: GramBlocks, _ lanes: GramLanes<S>, to total: Vector<Double>
  ) {
    switch entry {
    case .explicit(let parameter, let rows):
      linearization.addGram(
        ofRows: rows.pointer,
        columns: linearization.program.graph.parameters[parameter.index].count, blocks, lanes,
        to: total)
    case .factored(let node, let factors, _, let bias, let rows, let table):
      if table == nil,
        factors.prefersPairs(samples: samples, draws: draws, isDiagonal: blocks.isDiagonal)
      {
        return addGramOfPairs(
          node: node, factors, hasBias: bias != nil, rows: rows, blocks, lanes, to: total)
      }
      switch linearization.inputRows(node: node, factors) {
      case .dense(let a):
        addGramOfOuterProducts(factors, inputs: a, rows: rows, table, blocks, lanes, to: total)
      case .oneHot(let indices):
        addGramOfTables(factors, indices: indices, rows: rows, blocks, lanes, to: total)
      }
      if bias != nil {
        let sums = positionSums(factors, rows: rows)
        linearization.addGram(
          ofRows: sums.pointer, columns: factors.outputs, blocks, lanes, to: total)
      }
    }
  }

  // MARK: - Tiles

  /// Tiles of `b_n^T a_n`: some rows of the weight for all samples at once.
  private func addGramOfOuterProducts(
    _ factors: Factorization, inputs: UnsafePointer<S>, rows: Vector<S>, _ table: Table?,
    _ blocks: GramBlocks, _ lanes: GramLanes<S>, to total: Vector<Double>
  ) {
    let (inCount, outCount, positions) = (factors.inputs, factors.outputs, factors.positions)
    let tiling = GramTiling(outerProducts: factors, rows: count)
    let sum = linearization.symmetricSum(blocks, lanes, tiling) { tile, width, lane in
      let begin = tile * tiling.block
      let length = min(tiling.block, outCount - begin)
      width = length * inCount
      let scratch = lane.scratch(count * width)
      for i in 0..<count {
        BLAS.gemm(
          transposeA: true, m: length, n: inCount, k: positions,
          rows.pointer + i * positions * outCount + begin, lda: outCount,
          inputs + (i % samples) * positions * inCount, ldb: inCount, scratch + i * width,
          ldc: inCount)
        if let table {
          tableRows(table, row: i).add(
            begin..<begin + length, columns: inCount, to: scratch + i * width)
        }
      }
      Kernels.toDouble(scratch, lane.tile, count: count * width)
    }
    linearization.add(sum, blocks, to: total)
  }

  /// Tiles of an embedding's per-sample gradients, over the rows of the table that occur.
  private func addGramOfTables(
    _ factors: Factorization, indices: UnsafePointer<Int32>, rows: Vector<S>,
    _ blocks: GramBlocks, _ lanes: GramLanes<S>, to total: Vector<Double>
  ) {
    let (columns, positions) = (factors.outputs, factors.positions)
    var used: [Int32: [Int]] = [:]
    for t in 0..<samples * positions { used[indices[t], default: []].append(t) }
    let lists = used.sorted { $0.key < $1.key }.map(\.value)
    let tiling = GramTiling(table: factors, used: lists.count, rows: count)
    let sum = linearization.symmetricSum(blocks, lanes, tiling) { tile, width, lane in
      let first = tile * tiling.block
      let length = min(tiling.block, lists.count - first)
      width = length * columns
      let scratch = lane.scratch(count * width)
      Kernels.zero(scratch, count: count * width)
      for place in 0..<length {
        for t in lists[first + place] {
          for d in 0..<draws {
            let row = d * samples + t / positions
            let cell = scratch + row * width + place * columns
            let source = rows.pointer + (d * samples * positions + t) * columns
            Kernels.add(source, cell, cell, count: columns)
          }
        }
      }
      Kernels.toDouble(scratch, lane.tile, count: count * width)
    }
    linearization.add(sum, blocks, to: total)
  }

  /// `[R N, out]`: cotangents summed over positions, the gradients of a bias.
  func positionSums(_ factors: Factorization, rows: Vector<S>) -> Vector<S> {
    let sums = Vector<S>(count: count * factors.outputs)
    for i in 0..<count {
      Kernels.sumRows(
        rows.pointer + i * factors.positions * factors.outputs, rows: factors.positions,
        columns: factors.outputs, sums.pointer + i * factors.outputs, accumulate: false)
    }
    return sums
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
