import TensorModule

// Symmetric products in double over tiles of columns, on all workers.
extension Linearization {
  /// Which products of rows are formed.
  struct GramBlocks {
    let rows: Int
    /// Rows before it and rows from it on are two blocks, without entries between them.
    let split: Int
    /// Of the sum of the first rows with which every row is multiplied too; empty: without it.
    var sumWeights: [Double] = []
  }

  /// Adds the lower triangle of `X X^T`, X `[rows, columns]`, and a row of products with the weighted
  /// sum of the first rows.
  func addGram(
    ofRows x: UnsafePointer<S>, columns: Int, _ blocks: GramBlocks, _ lanes: GramLanes<S>,
    to total: Vector<Double>
  ) {
    let rows = blocks.rows
    let block = max(1, min(columns, tileScalars / max(rows, 1)))
    let tiles = (columns + block - 1) / block
    addSymmetricSum(blocks, lanes, tiles: tiles, width: block, to: total) {
      tile, width, target, _ in
      let begin = tile * block
      width = min(block, columns - begin)
      for i in 0..<rows {
        Kernels.toDouble(x + i * columns + begin, target + i * width, count: width)
      }
    }
  }

  /// Scalars of one tile: half a megabyte of doubles, so that it stays in the second-level cache.
  var tileScalars: Int { 1 << 16 }

  /// Adds `sum_tiles T T^T` where `fill` writes tile T as `[rows, width]`, `width` at most the given.
  func addSymmetricSum(
    _ blocks: GramBlocks, _ memory: GramLanes<S>, tiles: Int, width: Int,
    to total: Vector<Double>,
    fill: (
      _ tile: Int, _ width: inout Int, _ target: UnsafeMutablePointer<Double>,
      _ scratch: UnsafeMutablePointer<S>
    ) -> Void
  ) {
    let (rows, split) = (blocks.rows, blocks.split)
    // Fixed lanes, added in order: the same bits for every number of threads.
    let ranges = Schedule.split(tiles, into: max(1, min(tiles, GramLanes<S>.most(rows: rows))))
    let lanes = memory.lanes(ranges.count, rows: rows, width: width)
    pool.run(ranges.count) { number, _ in
      let lane = lanes[number]
      let (target, out) = (lane.tile.pointer, lane.partial.pointer)
      Kernels.zero(out, count: (rows + 1) * rows)
      for tile in ranges[number] {
        var actual = width
        fill(tile, &actual, target, lane.scratch.pointer)
        for (first, count) in [(0, split), (split, rows - split)] where count > 0 {
          BLAS.symmetricRankUpdate(
            n: count, k: actual, target + first * actual, lda: actual,
            out + first * rows + first, ldc: rows)
        }
        if blocks.sumWeights.isEmpty { continue }
        let (sum, products) = (lane.sum.pointer, lane.products.pointer)
        Kernels.zero(sum, count: actual)
        for (i, weight) in blocks.sumWeights.enumerated() {
          Kernels.axpby(weight, target + i * actual, 1, sum, count: actual)
        }
        BLAS.multiply(
          rows: rows, columns: actual, target, stride: actual, sum, into: products)
        Kernels.add(products, out + rows * rows, out + rows * rows, count: rows)
      }
    }
    let whole = lanes[0].partial.pointer
    for lane in lanes.dropFirst() {
      Kernels.add(lane.partial.pointer, whole, whole, count: (rows + 1) * rows)
    }
    Kernels.add(whole, total.pointer, total.pointer, count: (rows + 1) * rows)
  }
}

/// The memory of `addSymmetricSum`, used again from one parameter to the next: fresh memory would
/// cost more time than many of the products.
final class GramLanes<S: EngineScalar> {
  struct Lane {
    /// `[rows + 1, rows]`
    var partial = Vector<Double>(count: 0)
    /// `[rows, width]`, and the same in the engine's precision.
    var tile = Vector<Double>(count: 0)
    var scratch = Vector<S>(count: 0)
    /// `[width]` and `[rows]`
    var sum = Vector<Double>(count: 0)
    var products = Vector<Double>(count: 0)
  }

  private var lanes: [Lane] = []

  /// Lanes at the most: their sums may take 128 MB.
  static func most(rows: Int) -> Int {
    let affordable = Double(1 << 24) / max(Double(rows) * Double(rows), 1)
    return max(1, Int(min(8, affordable)))
  }

  /// So many lanes, each at least of this size, with whatever was left in them.
  func lanes(_ count: Int, rows: Int, width: Int) -> [Lane] {
    while lanes.count < count { lanes.append(Lane()) }
    for place in 0..<count {
      Self.grow(&lanes[place].partial, (rows + 1) * rows)
      Self.grow(&lanes[place].tile, rows * width)
      Self.grow(&lanes[place].scratch, rows * width)
      Self.grow(&lanes[place].sum, width)
      Self.grow(&lanes[place].products, rows)
    }
    return Array(lanes[..<count])
  }

  private static func grow<T>(_ vector: inout Vector<T>, _ count: Int) {
    if vector.count < count { vector = Vector(count: count) }
  }
}
