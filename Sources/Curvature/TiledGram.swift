import TensorModule

// Symmetric products in double over tiles of columns, on all workers.
extension Linearization {
  /// Lower triangle of `X X^T`, X `[rows, columns]`.
  func gramOfRows(_ x: UnsafePointer<S>, rows: Int, columns: Int) -> Vector<Double> {
    let block = max(1, min(columns, tileScalars / max(rows, 1)))
    let tiles = (columns + block - 1) / block
    return symmetricSum(rows: rows, tiles: tiles, width: block) { tile, width, target, _ in
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
    rows: Int, tiles: Int, width: Int,
    fill: (
      _ tile: Int, _ width: inout Int, _ target: UnsafeMutablePointer<Double>,
      _ scratch: UnsafeMutablePointer<S>
    ) -> Void
  ) -> Vector<Double> {
    // Fixed lanes, added in order: the same bits for every number of threads.
    let affordable = max(1, (1 << 24) / max(rows * rows, 1))
    let lanes = Schedule.split(tiles, into: max(1, min(tiles, 16, affordable)))
    let partials = lanes.map { _ in Vector<Double>(count: rows * rows) }
    pool.run(lanes.count) { lane, _ in
      let target = Vector<Double>(count: rows * width)
      let scratch = Vector<S>(count: rows * width)
      for tile in lanes[lane] {
        var actual = width
        fill(tile, &actual, target.pointer, scratch.pointer)
        BLAS.symmetricRankUpdate(
          n: rows, k: actual, target.pointer, lda: actual, partials[lane].pointer, ldc: rows)
      }
    }
    for partial in partials.dropFirst() {
      Kernels.add(partial.pointer, partials[0].pointer, partials[0].pointer, count: rows * rows)
    }
    return partials[0]
  }
}
