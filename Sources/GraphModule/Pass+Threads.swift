import TensorModule

// Work that all threads share where the whole batch is one chunk.
extension Pass {
  /// `C = A op(B) + beta C` (see `BLAS.gemm`), in blocks of columns on all threads where the
  /// whole batch is one chunk.
  func multiply(
    transposeB: Bool = false, m: Int, n: Int, k: Int, _ a: UnsafePointer<S>, lda: Int,
    _ b: UnsafePointer<S>, ldb: Int, beta: S = 0, _ c: UnsafeMutablePointer<S>, ldc: Int
  ) {
    forEachBlock(n) { first, count in
      BLAS.gemm(
        transposeB: transposeB, m: m, n: count, k: k, a, lda: lda,
        b + (transposeB ? first * ldb : first), ldb: ldb, beta: beta, c + first, ldc: ldc)
    }
  }

  /// The same by the parameter in a slot, which is read in place.
  func multiply(
    transposeB: Bool = false, m: Int, n: Int, k: Int, _ a: UnsafePointer<S>, lda: Int,
    bySlot slot: Int, beta: S = 0, _ c: UnsafeMutablePointer<S>, ldc: Int
  ) {
    let weight = weight(slot, rows: transposeB ? n : k, columns: transposeB ? k : n)
    func product(
      _ a: UnsafePointer<S>, _ weight: WeightMatrix<S>, _ n: Int, _ k: Int, _ beta: S,
      _ c: UnsafeMutablePointer<S>
    ) {
      forEachBlock(n) { first, count in
        BLAS.gemm(
          transposeB: transposeB, m: m, n: count, k: k, a, lda: lda,
          weight.from(row: transposeB ? first : 0, column: transposeB ? 0 : first), beta: beta,
          c + first, ldc: ldc)
      }
    }
    // A weight of which only a part may be in memory at a time, row by row of its file: not fewer than
    // that many, of which the last part has the rest.
    let (rows, areOutputs) = (weight.rowsAtOnce, transposeB != weight.isTransposed)
    let total = areOutputs ? n : k
    let block = frame.pool == nil ? n : min(n, Self.blockWidth)
    let widths = n % block == 0 ? [block] : [block, n % block]
    guard total >= 2 * rows, let pages = frame.passingPages(node.parameters[slot]),
      BLAS.isExactInParts(
        S.self, transposeB: areOutputs, m: m, widths: widths + (areOutputs ? [rows] : []),
        depths: areOutputs ? [k] : [k, rows])
    else { return product(a, weight, n, k, beta, c) }
    for number in 0..<total / rows {
      let first = number * rows
      let count = first + 2 * rows > total ? total - first : rows
      let part = weight.from(
        row: transposeB == areOutputs ? first : 0, column: transposeB == areOutputs ? 0 : first)
      if areOutputs {
        product(a, part, count, k, beta, c + first)
      } else {
        product(a + first, part, n, count, first == 0 ? beta : 1, c)
      }
      pages.release()
    }
  }

  /// Enough columns for OpenBLAS to be near its best rate.
  private static var blockWidth: Int { 512 }

  private func forEachBlock(_ columns: Int, _ body: (_ first: Int, _ count: Int) -> Void) {
    guard let pool = frame.pool else { return body(0, columns) }
    let block = Self.blockWidth
    pool.run((columns + block - 1) / block) { task, _ in
      let first = task * block
      body(first, min(block, columns - first))
    }
  }

  /// Calls `body` with ranges that make up `0 ..< count`, at the same time on all threads where the
  /// whole batch is one chunk: for work on each element alone.
  package func forEachRange(_ count: Int, _ body: (Range<Int>) -> Void) {
    // Several values of every element fit into a second-level cache.
    let size = 1 << 15
    func range(_ task: Int) { body(task * size..<min(count, (task + 1) * size)) }
    let tasks = (count + size - 1) / size
    guard let pool = frame.pool else {
      for task in 0..<tasks { range(task) }
      return
    }
    pool.run(tasks) { task, _ in range(task) }
  }
}
