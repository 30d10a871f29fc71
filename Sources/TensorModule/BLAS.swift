import CKernels
import COpenBLAS

/// Row-major dense products in either precision (OpenBLAS, and kernels of our own where a large
/// weight is better read where it is). No call starts threads: the engine brings its own (see `WorkerPool`).
public enum BLAS {
  /// Tells BLAS that threads are ours: every call runs on the one that makes it.
  public static func useOneThreadPerCall() { oneThreadPerCall }

  /// Once: asking again would start the threads of OpenBLAS anew.
  private static let oneThreadPerCall: Void = openblas_set_num_threads(1)

  /// Ends the threads of OpenBLAS, which take a core from the engine's while they wait for work. For
  /// a program that has just started and in which nothing else multiplies.
  public static func endIdleThreads() {
    useOneThreadPerCall()
    openblas_end_threads()
  }

  /// What OpenBLAS says of its own build: version, options, processor type.
  ///
  /// Asked once: OpenBLAS puts it together in one place for all threads, and two that ask at a time get
  /// some of it twice.
  public static let buildDescription = String(cString: openblas_get_config())
    .split(separator: " ").joined(separator: " ")

  /// `C = alpha op(A) op(B) + beta C` with `op(A)` [m, k], `op(B)` [k, n], `C` [m, n].
  public static func gemm<S: EngineScalar>(
    transposeA: Bool = false, transposeB: Bool = false, m: Int, n: Int, k: Int, alpha: S = 1,
    _ a: UnsafePointer<S>, lda: Int, _ b: UnsafePointer<S>, ldb: Int, beta: S = 0,
    _ c: UnsafeMutablePointer<S>, ldc: Int
  ) {
    if m == 0 || n == 0 { return }
    ProductMeter.count(operations: 2 * m * n * k, scalars: m * k + k * n + m * n, S.self)
    let kernel = transposeA ? .openBLAS : kernel(S.self, transposeB: transposeB, m: m, n: n, k: k)
    if kernel == .fewRows {
      ck_few_rows(
        S.kernelType, transposeB ? 1 : 0, m, n, k, Double(alpha), a, lda, b, ldb, Double(beta), c,
        ldc)
      return
    }
    let ta = transposeA ? CblasTrans : CblasNoTrans
    let tb = transposeB ? CblasTrans : CblasNoTrans
    let (m32, n32, k32) = (blasint(m), blasint(n), blasint(k))
    let (rawA, rawB, rawC) = (
      UnsafeRawPointer(a), UnsafeRawPointer(b), UnsafeMutableRawPointer(c)
    )
    if S.self == Float.self {
      if kernel == .ownProduct {
        ck_product(
          transposeB ? 1 : 0, m, n, k, Float(alpha), rawA.assumingMemoryBound(to: Float.self), lda,
          rawB.assumingMemoryBound(to: Float.self), ldb, Float(beta),
          rawC.assumingMemoryBound(to: Float.self), ldc)
        return
      }
      cblas_sgemm(
        CblasRowMajor, ta, tb, m32, n32, k32, Float(alpha),
        rawA.assumingMemoryBound(to: Float.self), blasint(lda),
        rawB.assumingMemoryBound(to: Float.self), blasint(ldb), Float(beta),
        rawC.assumingMemoryBound(to: Float.self), blasint(ldc))
    } else {
      if kernel == .ownProduct {
        ck_product_double(
          transposeB ? 1 : 0, m, n, k, Double(alpha),
          rawA.assumingMemoryBound(to: Double.self), lda,
          rawB.assumingMemoryBound(to: Double.self), ldb, Double(beta),
          rawC.assumingMemoryBound(to: Double.self), ldc)
        return
      }
      cblas_dgemm(
        CblasRowMajor, ta, tb, m32, n32, k32, Double(alpha),
        rawA.assumingMemoryBound(to: Double.self), blasint(lda),
        rawB.assumingMemoryBound(to: Double.self), blasint(ldb), Double(beta),
        rawC.assumingMemoryBound(to: Double.self), blasint(ldc))
    }
  }

  /// What a product `A op(B)` is computed by.
  enum Kernel {
    case fewRows, ownProduct, openBLAS
  }

  static func kernel<S: EngineScalar>(
    _: S.Type, transposeB: Bool, m: Int, n: Int, k: Int
  ) -> Kernel {
    if isFewRows(m: m, n: n, k: k) { return .fewRows }
    let isOwn =
      hasOwnProduct
      && (S.self == Float.self
        ? isOwnProductFaster(transposeB: transposeB, m: m, n: n, k: k)
        : isOwnDoubleFaster(transposeB: transposeB, m: m, n: n, k: k))
    return isOwn ? .ownProduct : .openBLAS
  }

  /// Where the time is that of reading B: OpenBLAS packs it first, at three times the traffic. Up to
  /// these rows the kernel is 1.3 to 3 times as fast on matrices that come from memory.
  private static func isFewRows(m: Int, n: Int, k: Int) -> Bool {
    m <= 16 && n * k >= 1 << 16
  }

  static let hasOwnProduct = ck_has_product() == 1

  /// Where the kernel was measured to be as fast as that of OpenBLAS for such processors, if not
  /// faster; where OpenBLAS takes another one, it loses half of its rate.
  private static func isOwnProductFaster(transposeB: Bool, m: Int, n: Int, k: Int) -> Bool {
    // OpenBLAS loses time by packing B.
    if n * k >= 1 << 18 { return true }
    // Vectors run along columns, or rows where B is transposed and larger than A: full ones.
    let isByRows = transposeB && n > m
    let along = isByRows ? m : n
    guard m >= 40, n >= 32, 7 * ((along + 31) / 32 * 32) <= 8 * along else { return false }
    // OpenBLAS packs nothing in products of a plain B with at most a million multiplications.
    return transposeB ? !isByRows || k >= 128 : m * n * k > 1_000_000
  }

  /// Likewise in double, where vectors always run along columns.
  private static func isOwnDoubleFaster(transposeB: Bool, m: Int, n: Int, k: Int) -> Bool {
    guard m >= 12, k > 0, 7 * ((n + 15) / 16 * 16) <= 8 * n else { return false }
    return transposeB || m * n * k >= 1 << 19
  }

  /// `y = A x`, A `[rows, columns]` with rows `stride` apart.
  public static func multiply<S: EngineScalar>(
    rows: Int, columns: Int, _ a: UnsafePointer<S>, stride: Int, _ x: UnsafePointer<S>,
    into y: UnsafeMutablePointer<S>
  ) {
    gemv(CblasNoTrans, rows, columns, a, stride, x, 0, y)
  }

  /// `y += A^T x`, A `[rows, columns]` with rows `stride` apart.
  public static func addTransposedProduct<S: EngineScalar>(
    rows: Int, columns: Int, _ a: UnsafePointer<S>, stride: Int, _ x: UnsafePointer<S>,
    to y: UnsafeMutablePointer<S>
  ) {
    gemv(CblasTrans, rows, columns, a, stride, x, 1, y)
  }

  private static func gemv<S: EngineScalar>(
    _ transpose: CBLAS_TRANSPOSE, _ rows: Int, _ columns: Int, _ a: UnsafePointer<S>,
    _ stride: Int, _ x: UnsafePointer<S>, _ beta: S, _ y: UnsafeMutablePointer<S>
  ) {
    ProductMeter.count(operations: 2 * rows * columns, scalars: rows * columns, S.self)
    let (m, n, lda) = (blasint(rows), blasint(columns), blasint(stride))
    let (rawA, rawX, rawY) = (
      UnsafeRawPointer(a), UnsafeRawPointer(x), UnsafeMutableRawPointer(y)
    )
    if S.self == Float.self {
      cblas_sgemv(
        CblasRowMajor, transpose, m, n, 1, rawA.assumingMemoryBound(to: Float.self), lda,
        rawX.assumingMemoryBound(to: Float.self), 1, Float(beta),
        rawY.assumingMemoryBound(to: Float.self), 1)
    } else {
      cblas_dgemv(
        CblasRowMajor, transpose, m, n, 1, rawA.assumingMemoryBound(to: Double.self), lda,
        rawX.assumingMemoryBound(to: Double.self), 1, Double(beta),
        rawY.assumingMemoryBound(to: Double.self), 1)
    }
  }

  /// `[rows, columns]` to `[columns, rows]`.
  public static func transpose<S: EngineScalar>(
    _ a: UnsafePointer<S>, rows: Int, columns: Int, into b: UnsafeMutablePointer<S>
  ) {
    let (rawA, rawB) = (UnsafeRawPointer(a), UnsafeMutableRawPointer(b))
    if S.self == Float.self {
      cblas_somatcopy(
        CblasRowMajor, CblasTrans, blasint(rows), blasint(columns), 1,
        rawA.assumingMemoryBound(to: Float.self), blasint(columns),
        rawB.assumingMemoryBound(to: Float.self), blasint(rows))
    } else {
      cblas_domatcopy(
        CblasRowMajor, CblasTrans, blasint(rows), blasint(columns), 1,
        rawA.assumingMemoryBound(to: Double.self), blasint(columns),
        rawB.assumingMemoryBound(to: Double.self), blasint(rows))
    }
  }

  /// Lower triangle of `C = alpha A A^T + beta C`, `A` [n, k], in double. Elements next to the diagonal
  /// may be written above it too.
  public static func symmetricRankUpdate(
    n: Int, k: Int, alpha: Double = 1, _ a: UnsafePointer<Double>, lda: Int, beta: Double = 1,
    _ c: UnsafeMutablePointer<Double>, ldc: Int
  ) {
    ProductMeter.count(operations: n * n * k, scalars: n * k + n * n / 2, Double.self)
    if hasOwnProduct, k > 0 { return ck_symmetric_product(n, k, alpha, a, lda, beta, c, ldc) }
    cblas_dsyrk(
      CblasRowMajor, CblasLower, CblasNoTrans, blasint(n), blasint(k), alpha, a, blasint(lda), beta,
      c, blasint(ldc))
  }
}
