import CKernels

extension BLAS {
  /// `C = alpha A op(W) + beta C` with `A` [m, k], `op(W)` [k, n], `C` [m, n]: the same bits whether W is in
  /// precision S or holds the same numbers in 16 bits.
  public static func gemm<S: EngineScalar>(
    transposeB: Bool = false, m: Int, n: Int, k: Int, alpha: S = 1, _ a: UnsafePointer<S>,
    lda: Int, _ weight: WeightMatrix<S>, beta: S = 0, _ c: UnsafeMutablePointer<S>, ldc: Int
  ) {
    if m == 0 || n == 0 { return }
    let isTransposed = transposeB != weight.isTransposed
    let kernel = kernel(S.self, transposeB: isTransposed, m: m, n: n, k: k)
    if let half = weight.half, kernel != .openBLAS {
      let weightScalars = (n * k * weight.bytesPerNumber) / MemoryLayout<S>.stride
      ProductMeter.count(operations: 2 * m * n * k, scalars: m * k + m * n + weightScalars, S.self)
      let product = kernel == .fewRows ? ck_few_rows_stored : ck_product_stored
      product(
        S.kernelType, half.source, isTransposed ? 1 : 0, m, n, k, Double(alpha), a, lda,
        weight.memory, weight.stride, Double(beta), c, ldc)
      return
    }
    if kernel != .openBLAS {
      return gemm(
        transposeB: isTransposed, m: m, n: n, k: k, alpha: alpha, a, lda: lda, weight.scalars,
        ldb: weight.stride, beta: beta, c, ldc: ldc)
    }
    // The same parts for numbers of both kinds: OpenBLAS need not round the whole as it rounds them.
    let part = columnsAtOnce(k: k, S.self)
    let room = weight.half == nil ? 0 : min(part, n) * k
    // Gone with the call: no plan of memory counts it, as none counts what OpenBLAS packs.
    let widened = UnsafeMutablePointer<S>.allocate(capacity: max(room, 1))
    defer { widened.deallocate() }
    for first in Swift.stride(from: 0, to: n, by: part) {
      let count = min(part, n - first)
      let own = weight.from(row: transposeB ? first : 0, column: transposeB ? 0 : first)
      var (numbers, ldb) = (own.scalars, own.stride)
      if weight.half != nil {
        let (rows, columns) = isTransposed ? (count, k) : (k, count)
        own.widen(rows: rows, columns: columns, into: widened)
        (numbers, ldb) = (UnsafePointer(widened), columns)
      }
      gemm(
        transposeB: isTransposed, m: m, n: count, k: k, alpha: alpha, a, lda: lda, numbers,
        ldb: ldb, beta: beta, c + first, ldc: ldc)
    }
  }

  /// Of a weight at a time where not all of it may be in memory.
  static var partBytes: Int { 1 << 25 }

  /// Of a weight that passes through memory, how much there is at a time: parts have at most twice the
  /// usual size. Products by OpenBLAS have all of it.
  public static var mostOfPassingWeight: Int { hasOwnProduct ? 2 * partBytes : .max }

  /// Whether products of so many columns and such long sums are all computed by the same kernel of our own,
  /// which rounds parts of a weight (`WeightMatrix.rowsAtOnce`) as it rounds the whole.
  ///
  /// - Parameter transposeB: As the weight lies in memory.
  public static func isExactInParts<S: EngineScalar>(
    _: S.Type, transposeB: Bool, m: Int, widths: [Int], depths: [Int]
  ) -> Bool {
    let kernels = Set(
      widths.flatMap { n in
        depths.map { kernel(S.self, transposeB: transposeB, m: m, n: n, k: $0) }
      })
    return kernels.count == 1 && !kernels.contains(.openBLAS)
  }

  /// Four megabytes of a weight, in whole tiles of whichever kernel OpenBLAS has; all of what has less.
  private static func columnsAtOnce<S: EngineScalar>(k: Int, _: S.Type) -> Int {
    max(64, (1 << 22) / max(k * MemoryLayout<S>.stride, 1) / 64 * 64)
  }
}
