import CKernels
import TensorModule
import Testing

/// Products that OpenBLAS does not do, against plain sums in double.
@Suite struct ProductTests {
  /// On both sides of the blocks of rows (6 and 16), of rows of the weight (4 and 8), of a strip of
  /// columns (1024) and of a vector.
  private static let shapes: [(m: Int, n: Int, k: Int)] = [
    (1, 1, 1), (6, 4, 16), (7, 5, 17), (17, 9, 35), (3, 1030, 7), (12, 13, 64),
  ]

  @Test(arguments: [false, true], [0.0, 1, -0.5])
  func agreesWithPlainSums(_ isTransposed: Bool, _ beta: Double) {
    check(Float.self, isTransposed, beta)
    check(Double.self, isTransposed, beta)
  }

  /// On both sides of a tile (12), of vectors and panels (8, 16, 32), of a block of rows or columns (192),
  /// of the depth of a panel (768) and of the last one (1024); with rows of x and of w whole pages apart
  /// (1022, 1021).
  private static let largeShapes = [
    (1, 1, 1), (11, 12, 16), (13, 33, 17), (33, 29, 35), (49, 64, 769), (197, 17, 20),
    (193, 200, 20), (14, 200, 1022), (25, 40, 1021), (13, 36, 1027),
  ]

  /// The kernels for many rows.
  @Test(.enabled(if: ck_has_product() == 1), arguments: [false, true], [0.0, 1, -0.5])
  func manyRowsAgreeWithPlainSums(_ isTransposed: Bool, _ beta: Double) {
    for (m, n, k) in Self.largeShapes {
      check(Double.self, isTransposed, beta, m: m, n: n, k: k) { x, ldx, w, ldw, y, ldy in
        ck_product_double(
          isTransposed ? 1 : 0, m, n, k, Self.alpha, x, ldx, w, ldw, beta, y, ldy)
      }
      check(Float.self, isTransposed, beta, m: m, n: n, k: k) { x, ldx, w, ldw, y, ldy in
        ck_product(
          isTransposed ? 1 : 0, m, n, k, Float(Self.alpha), x, ldx, w, ldw, Float(beta), y, ldy)
      }
    }
  }

  @Test(.enabled(if: ck_has_product() == 1), arguments: [0.0, 1, -0.5])
  func symmetricProductsAgreeWithPlainSums(_ beta: Double) {
    for (n, _, k) in Self.largeShapes {
      var random = TestRandom(seed: 9)
      let (ldx, ldy) = (k + 2, n + 1)
      let x: [Double] = random.array(n * ldx)
      let start: [Double] =
        beta == 0 ? Array(repeating: .nan, count: n * ldy) : random.array(n * ldy)
      var found = start
      ck_symmetric_product(n, k, Self.alpha, x, ldx, beta, &found, ldy)
      var worst = 0.0
      for i in 0..<n {
        for j in 0...i {
          let sum = (0..<k).reduce(0) { $0 + x[i * ldx + $1] * x[j * ldx + $1] }
          let expected = Self.alpha * sum + (beta == 0 ? 0 : beta * start[i * ldy + j])
          let error = abs(found[i * ldy + j] - expected)
          worst = error <= worst ? worst : error
        }
      }
      #expect(worst <= Self.bound(Double.self, k, isDiagonal: true), "\(n) x \(k)")
      // What lies between the rows stays.
      #expect(
        (0..<n).allSatisfy { found[$0 * ldy + n].bitPattern == start[$0 * ldy + n].bitPattern })
    }
  }

  private static let alpha = 1.25

  /// Each of k terms of at most 1 rounds the sum, which is of the order of sqrt(k), and its scale once
  /// more; its diagonal in a symmetric product is of the order of k.
  private static func bound<S: EngineScalar>(_: S.Type, _ k: Int, isDiagonal: Bool = false)
    -> Double
  {
    Double(S.ulpOfOne) * Double(2 + k) * 1.25 * (isDiagonal ? Double(k) : Double(k).squareRoot())
  }

  private func check<S: EngineScalar>(_: S.Type, _ isTransposed: Bool, _ beta: Double) {
    for (m, n, k) in Self.shapes {
      check(S.self, isTransposed, beta, m: m, n: n, k: k) { x, ldx, w, ldw, y, ldy in
        ck_few_rows(
          S.kernelType, isTransposed ? 1 : 0, m, n, k, Self.alpha, x, ldx, w, ldw, beta, y, ldy)
      }
    }
  }

  private func check<S: EngineScalar>(
    _: S.Type, _ isTransposed: Bool, _ beta: Double, m: Int, n: Int, k: Int,
    _ product: (
      _ x: UnsafePointer<S>, _ ldx: Int, _ w: UnsafePointer<S>, _ ldw: Int,
      _ y: UnsafeMutablePointer<S>, _ ldy: Int
    ) -> Void
  ) {
    var random = TestRandom(seed: 7)
    // Rows apart, as the columns of one head are.
    let (ldx, ldw, ldy) = (k + 2, (isTransposed ? k : n) + 3, n + 1)
    let x: [S] = random.array(m * ldx)
    let w: [S] = random.array((isTransposed ? n : k) * ldw)
    // Not read with beta = 0.
    let start: [S] = beta == 0 ? Array(repeating: .nan, count: m * ldy) : random.array(m * ldy)
    var found = start
    product(x, ldx, w, ldw, &found, ldy)
    var worst = 0.0
    var movesGaps = false
    for i in 0..<m {
      for j in 0..<n {
        var sum = 0.0
        for l in 0..<k {
          sum += Double(x[i * ldx + l]) * Double(w[isTransposed ? j * ldw + l : l * ldw + j])
        }
        let expected = Self.alpha * sum + (beta == 0 ? 0 : beta * Double(start[i * ldy + j]))
        let error = abs(Double(found[i * ldy + j]) - expected)
        worst = error <= worst ? worst : error
      }
      // What lies between the rows stays.
      let gap = i * ldy + n
      movesGaps = movesGaps || !(found[gap] == start[gap] || found[gap].isNaN && beta == 0)
    }
    #expect(worst <= Self.bound(S.self, k), "\(m) x \(n) x \(k)")
    #expect(!movesGaps)
  }

  /// The choice between the kernel and OpenBLAS shows in no result.
  @Test(arguments: [false, true]) func bothSidesOfTheChoiceAgree(_ isTransposed: Bool) {
    var random = TestRandom(seed: 8)
    let (n, k) = (256, 257)
    let x: [Double] = random.array(17 * k)
    let w: [Double] = random.array(n * k)
    func product(_ rows: Int) -> [Double] {
      var y = [Double](repeating: 0, count: rows * n)
      BLAS.gemm(
        transposeB: isTransposed, m: rows, n: n, k: k, x, lda: k, w, ldb: isTransposed ? k : n, &y,
        ldc: n)
      return y
    }
    // 17 rows are OpenBLAS's.
    let many = product(17)
    for rows in [1, 8, 16] {
      expectUlps(
        product(rows), Array(many.prefix(rows * n)),
        scale: Array(repeating: Double(k).squareRoot(), count: rows * n), within: 64)
    }
  }
}
