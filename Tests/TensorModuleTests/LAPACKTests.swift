import TensorModule
import Testing

/// Backward errors of LAPACK's routines are a modest multiple of the dimension times the unit
/// roundoff (Higham 2002); none of these matrices exceeds a dimension of 40 or a norm of 40.
private let backwardError = 40 * 40 * Double.ulpOfOne

private func randomMatrix(_ rows: Int, _ columns: Int, seed: UInt64) -> [Double] {
  var random = CounterRandom(seed: seed, batch: 0, sample: 0, stream: .vectors)
  return (0..<rows * columns).map { _ in random.normal() }
}

private func product(
  _ a: [Double], _ b: [Double], _ m: Int, _ n: Int, _ k: Int, transposeA: Bool = false,
  transposeB: Bool = false
) -> [Double] {
  var c = [Double](repeating: 0, count: m * n)
  for i in 0..<m {
    for j in 0..<n {
      for l in 0..<k {
        c[i * n + j] +=
          (transposeA ? a[l * m + i] : a[i * k + l]) * (transposeB ? b[j * k + l] : b[l * n + j])
      }
    }
  }
  return c
}

private func largestDifference(_ a: [Double], _ b: [Double]) -> Double {
  zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
}

private func identity(_ n: Int) -> [Double] {
  (0..<n * n).map { $0 % (n + 1) == 0 ? 1 : 0 }
}

@Suite struct LAPACKTests {
  @Test func eigenvectorsAreTheRowsAndOnlyTheLowerTriangleIsRead() throws {
    let n = 17
    let g = randomMatrix(n, n, seed: 1)
    var a = product(g, g, n, n, n, transposeB: true)
    let full = a
    for i in 0..<n { for j in i + 1..<n { a[i * n + j] = .nan } }
    let eigen = try LAPACK.symmetricEigen(n: n, Vector(a))
    #expect(eigen.values == eigen.values.sorted())
    var scaled = eigen.vectors.array
    for i in 0..<n { for j in 0..<n { scaled[i * n + j] *= eigen.values[i] } }
    let rebuilt = product(eigen.vectors.array, scaled, n, n, n, transposeA: true)
    #expect(largestDifference(rebuilt, full) <= 4 * backwardError)
    let gram = product(eigen.vectors.array, eigen.vectors.array, n, n, n, transposeB: true)
    #expect(largestDifference(gram, identity(n)) <= backwardError)
  }

  @Test(arguments: [(5, 30), (30, 5), (12, 12), (1, 7), (7, 1)])
  func singularFactorsRebuildTheMatrix(rows: Int, columns: Int) throws {
    let k = min(rows, columns)
    let a = randomMatrix(rows, columns, seed: 2)
    let svd = try LAPACK.singularValues(rows: rows, columns: columns, Vector(a))
    #expect(svd.values == svd.values.sorted(by: >))
    var scaled = svd.rightTransposed.array
    for i in 0..<k { for j in 0..<columns { scaled[i * columns + j] *= svd.values[i] } }
    #expect(
      largestDifference(product(svd.left.array, scaled, rows, columns, k), a) <= backwardError)
    let left = product(svd.left.array, svd.left.array, k, k, rows, transposeA: true)
    #expect(largestDifference(left, identity(k)) <= backwardError)
    let right = product(
      svd.rightTransposed.array, svd.rightTransposed.array, k, k, columns, transposeB: true)
    #expect(largestDifference(right, identity(k)) <= backwardError)
  }

  @Test func singularValuesOfADiagonalMatrixAreExactOverTwelveOrders() throws {
    var a = [Double](repeating: 0, count: 3 * 4)
    (a[0], a[5], a[10]) = (1, 1e-6, 1e-12)
    let svd = try LAPACK.singularValues(rows: 3, columns: 4, Vector(a))
    for (found, expected) in zip(svd.values, [1, 1e-6, 1e-12]) {
      #expect(abs(found - expected) <= 8 * Double.ulpOfOne * expected)
    }
  }

  @Test func choleskySolvesEveryRow() throws {
    let n = 14
    let g = randomMatrix(n, n + 5, seed: 3)
    var a = product(g, g, n, n, n + 5, transposeB: true)
    let solutions = randomMatrix(3, n, seed: 4)
    let rightHandSides = product(solutions, a, 3, n, n)
    for i in 0..<n { for j in i + 1..<n { a[i * n + j] = .nan } }
    let found = try CholeskyFactorization(n: n, overwriting: Vector(a)).solve(rightHandSides)
    // The condition number of this matrix is a few hundred.
    #expect(largestDifference(found, solutions) <= 1000 * backwardError)
  }

  /// Three whole blocks of 192 columns and a part of one, of a matrix whose factor is known.
  @Test func largeMatricesAreFactoredInBlocks() throws {
    let n = 601
    var factor = randomMatrix(n, n, seed: 5)
    for i in 0..<n {
      for j in i + 1..<n { factor[i * n + j] = 0 }
      factor[i * n + i] = 40
    }
    let lower = Vector(factor)
    var a = [Double](repeating: 0, count: n * n)
    BLAS.gemm(
      transposeB: true, m: n, n: n, k: n, lower.pointer, lda: n, lower.pointer, ldb: n, &a, ldc: n)
    let solution = randomMatrix(1, n, seed: 6)
    let rightHandSide = product(solution, a, 1, n, n)
    for i in 0..<n { for j in i + 1..<n { a[i * n + j] = .nan } }
    var found: [[Double]] = []
    for threads in 1...3 {
      let factorization = try CholeskyFactorization(
        n: n, overwriting: Vector(a), pool: WorkerPool(threads: threads))
      found.append(factorization.solve(rightHandSide))
    }
    // The condition number is below 100.
    #expect(largestDifference(found[0], solution) <= 1000 * backwardError)
    #expect(found[1] == found[0] && found[2] == found[0])
  }

  @Test func theMinorThatIsNotPositiveIsNamedInBlocksToo() {
    let n = 500
    var a = identity(n)
    a[430 * (n + 1)] = -1
    #expect(throws: LinearAlgebraError.notPositiveDefinite(order: 431)) {
      try CholeskyFactorization(n: n, overwriting: Vector(a), pool: WorkerPool(threads: 2))
    }
  }

  @Test func choleskyNamesTheMinorThatIsNotPositive() {
    let a: [Double] = [1, 0, 0, 0, 4, 0, 0, 0, -1]
    #expect(throws: LinearAlgebraError.notPositiveDefinite(order: 3)) {
      try CholeskyFactorization(n: 3, overwriting: Vector(a))
    }
  }

  @Test(arguments: [Double.nan, .infinity])
  func nonFiniteEntriesAreNamedNotFactored(value: Double) {
    var a = identity(4)
    a[9] = value
    #expect(throws: LinearAlgebraError.nonFinite(offset: 9)) {
      try LAPACK.symmetricEigen(n: 4, Vector(a))
    }
    #expect(throws: LinearAlgebraError.nonFinite(offset: 9)) {
      try LAPACK.singularValues(rows: 2, columns: 8, Vector(a))
    }
    #expect(throws: LinearAlgebraError.nonFinite(offset: 9)) {
      try CholeskyFactorization(n: 4, overwriting: Vector(a))
    }
  }

  @Test func emptyMatricesHaveEmptyFactors() throws {
    #expect(try LAPACK.symmetricEigen(n: 0, Vector(count: 0)).values.isEmpty)
    #expect(try LAPACK.singularValues(rows: 0, columns: 5, Vector(count: 0)).values.isEmpty)
    #expect(try CholeskyFactorization(n: 0, overwriting: Vector(count: 0)).solve([]).isEmpty)
  }

  @Test func choleskyAnswersNaNWithNaN() throws {
    let found = try CholeskyFactorization(n: 2, overwriting: Vector(identity(2))).solve([1, .nan])
    #expect(found.count == 2 && found.allSatisfy(\.isNaN))
  }

  @Test func matricesBeyondThirtyTwoBitsAreRefused() {
    #expect(throws: LinearAlgebraError.tooLarge(rows: 32_001, columns: 32_001)) {
      var (a, values) = (0.0, 0.0)
      try LAPACK.symmetricEigen(n: 32_001, &a, values: &values)
    }
  }
}
