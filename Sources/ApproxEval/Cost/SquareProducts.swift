import TensorModule

/// Products of square matrices in single precision on every thread at the same time: the rate that
/// the engine's products could run at on this machine at this moment.
public final class SquareProducts {
  private let size: Int
  private let pool: WorkerPool
  private let operands: [Vector<Float>]

  /// - Parameter size: Rows and columns of the matrices.
  public init(size: Int = 1024, threads: Int) {
    self.size = size
    pool = WorkerPool(threads: threads)
    operands = (0..<threads).map { thread in
      let values = Vector<Float>(count: 3 * size * size)
      for i in 0..<2 * size * size { values.pointer[i] = Float((i + thread) % 7) - 3 }
      return values
    }
    multiply(1)
  }

  /// Operations per second, multiplications and additions counted apart.
  public func rate(products: Int = 8) -> Double {
    let seconds = ContinuousClock().measure { multiply(products) }.seconds
    let each = 2 * Double(size) * Double(size) * Double(size)
    return each * Double(products * pool.threads) / seconds
  }

  private func multiply(_ products: Int) {
    let (n, square) = (size, size * size)
    pool.run(operands.count) { thread, _ in
      let a = operands[thread].pointer
      for _ in 0..<products {
        BLAS.gemm(
          m: n, n: n, k: n, UnsafePointer(a), lda: n, UnsafePointer(a + square), ldb: n,
          a + 2 * square, ldc: n)
      }
    }
  }
}
