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

  /// Lower triangle of `X X^T`, X `[rows, columns]`, and a row of products with the weighted sum of
  /// the first rows.
  func gramOfRows(
    _ x: UnsafePointer<S>, columns: Int, _ blocks: GramBlocks
  ) -> Vector<Double> {
    let rows = blocks.rows
    let block = max(1, min(columns, tileScalars / max(rows, 1)))
    let tiles = (columns + block - 1) / block
    return symmetricSum(blocks, tiles: tiles, width: block) { tile, width, target, _ in
      let begin = tile * block
      width = min(block, columns - begin)
      for i in 0..<rows {
        Kernels.toDouble(x + i * columns + begin, target + i * width, count: width)
      }
    }
  }

  /// Scalars of one tile: half a megabyte of doubles, so that it stays in the second-level cache.
  var tileScalars: Int { 1 << 16 }

  /// `sum_tiles T T^T` where `fill` writes tile T as `[rows, width]`, `width` at most the given.
  func symmetricSum(
    _ blocks: GramBlocks, tiles: Int, width: Int,
    fill: (
      _ tile: Int, _ width: inout Int, _ target: UnsafeMutablePointer<Double>,
      _ scratch: UnsafeMutablePointer<S>
    ) -> Void
  ) -> Vector<Double> {
    let (rows, split) = (blocks.rows, blocks.split)
    // Fixed lanes, added in order: the same bits for every number of threads.
    let affordable = max(1, (1 << 24) / max(rows * rows, 1))
    let lanes = Schedule.split(tiles, into: max(1, min(tiles, 8, affordable)))
    let partials = lanes.map { _ in Vector<Double>(count: (rows + 1) * rows) }
    pool.run(lanes.count) { lane, _ in
      let target = Vector<Double>(count: rows * width)
      let scratch = Vector<S>(count: rows * width)
      let (sum, products) = (Vector<Double>(count: width), Vector<Double>(count: rows))
      for tile in lanes[lane] {
        var actual = width
        fill(tile, &actual, target.pointer, scratch.pointer)
        let out = partials[lane].pointer
        for (first, count) in [(0, split), (split, rows - split)] where count > 0 {
          BLAS.symmetricRankUpdate(
            n: count, k: actual, target.pointer + first * actual, lda: actual,
            out + first * rows + first, ldc: rows)
        }
        if blocks.sumWeights.isEmpty { continue }
        Kernels.zero(sum.pointer, count: actual)
        for (i, weight) in blocks.sumWeights.enumerated() {
          Kernels.axpby(weight, target.pointer + i * actual, 1, sum.pointer, count: actual)
        }
        BLAS.multiply(
          rows: rows, columns: actual, target.pointer, stride: actual, sum.pointer,
          into: products.pointer)
        Kernels.add(
          products.pointer, out + rows * rows, out + rows * rows, count: rows)
      }
    }
    for partial in partials.dropFirst() {
      Kernels.add(
        partial.pointer, partials[0].pointer, partials[0].pointer, count: (rows + 1) * rows)
    }
    return partials[0]
  }
}
