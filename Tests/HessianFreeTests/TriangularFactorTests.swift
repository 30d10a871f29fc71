import HessianFree
import TensorModule
import Testing

private let ample = DenseLeastSquares(memoryBudget: 1 << 30)

/// `[B, w]` of more rows than columns, singular values of B from `spectrum`, and what folding makes of it.
private struct TallProblem {
  let rows: Int
  let columns: Int
  let b: [Double]
  let w: [Double]

  /// `U diag(spectrum) V^T` with U and V products of random reflections.
  init(rows: Int, spectrum: [Double], targetScale: Double = 1, seed: UInt64) {
    var random = CounterRandom(seed: seed, batch: 0, sample: 0, stream: .vectors)
    func normals(_ count: Int) -> [Double] { (0..<count).map { _ in random.normal() } }
    let n = spectrum.count
    (self.rows, columns) = (rows, n)
    var matrix = [[Double]](repeating: [Double](repeating: 0, count: n), count: rows)
    for i in 0..<n { matrix[i][i] = spectrum[i] }
    func reflected(_ x: [Double], _ v: [Double]) -> [Double] {
      let factor = 2 * dot(v, x) / dot(v, v)
      return zip(x, v).map { $0 - factor * $1 }
    }
    for _ in 0..<3 {
      let (left, right) = (normals(rows), normals(n))
      matrix = matrix.map { reflected($0, right) }
      for j in 0..<n {
        let column = reflected(matrix.map { $0[j] }, left)
        for i in 0..<rows { matrix[i][j] = column[i] }
      }
    }
    b = matrix.flatMap { $0 }
    w = normals(rows).map { $0 * targetScale }
  }

  /// Blocks of so many rows each, one after the other.
  func folded(_ sizes: [Int], from start: Int = 0) throws -> TriangularFactor {
    let factor = TriangularFactor(columns: columns)
    var first = start
    for size in sizes {
      let block = Vector<Double>(count: size * (columns + 1))
      for i in 0..<size {
        for j in 0..<columns { block[j * size + i] = b[(first + i) * columns + j] }
        block[columns * size + i] = w[first + i]
      }
      try factor.fold(rows: size, block)
      first += size
    }
    return factor
  }

  func solution(_ factor: TriangularFactor, damping: Double = 0) throws -> DenseSolution {
    try ample.decompose(rows: columns, columns: columns, factor.matrix)
      .solve(target: factor.target, damping: damping)
  }

  func direct(damping: Double = 0) throws -> DenseSolution {
    try ample.decompose(rows: rows, columns: columns, Vector(b)).solve(target: w, damping: damping)
  }
}

@Suite struct TriangularFactorTests {
  /// Of a norm: some reflections of up to 60 terms each, at 2e-16 of it.
  private let rounding = 4e-14

  /// However it is cut: blocks of fewer rows than columns too, and factors of parts that are folded together.
  @Test func itIsThatOfTheWholeMatrix() throws {
    let problem = TallProblem(rows: 60, spectrum: (1...7).map { Double($0) }, seed: 1)
    let direct = try problem.direct()
    var factors = try [[60], [1, 2, 57], [20, 20, 20]].map { try problem.folded($0) }
    let (first, second) = (try problem.folded([11]), try problem.folded([40, 9], from: 11))
    try first.fold(second)
    factors.append(first)
    for factor in factors {
      #expect(factor.rows == 60)
      let found = try problem.solution(factor)
      #expect(found.rank == 7)
      #expect(distance(found.singularValues, direct.singularValues) <= rounding)
      // A condition number of 7, which counts twice where the residual is large.
      #expect(distance(found.x, direct.x) <= 50 * rounding)
      // R^T R = B^T B, which only signs of rows are free in.
      let r = factor.matrix.array
      for i in 0..<7 {
        for j in 0..<7 {
          let own = (0..<7).reduce(0) { $0 + r[$1 * 7 + i] * r[$1 * 7 + j] }
          let whole = (0..<60).reduce(0) { $0 + problem.b[$1 * 7 + i] * problem.b[$1 * 7 + j] }
          #expect(abs(own - whole) <= 49 * rounding)
          if i > j { #expect(r[i * 7 + j] == 0) }
        }
      }
    }
  }

  @Test func dampedSolutionsAreThoseOfTheWholeMatrix() throws {
    let problem = TallProblem(rows: 30, spectrum: [4, 2, 1, 0.5, 0, 0], seed: 2)
    let factor = try problem.folded([13, 17])
    for damping in [0, 1e-6, 0.1, 100] {
      let (found, direct) = (
        try problem.solution(factor, damping: damping), try problem.direct(damping: damping)
      )
      #expect(found.rank == (damping == 0 ? 4 : 6))
      // Of zeros that are not exact, 1e-15, x has a part that is divided by mu.
      let part = damping == 0 ? 0 : 4e-15 * norm(problem.w) / damping
      #expect(distance(found.x, direct.x) <= 1e-12 + part, "\(damping)")
    }
  }

  /// B^T B would have lost all singular values below 1e-8 of the largest.
  @Test func itKeepsElevenOrders() throws {
    let problem = TallProblem(rows: 40, spectrum: (0..<12).map { pow10(-$0) }, seed: 3)
    let found = try problem.solution(problem.folded([15, 25]))
    let direct = try problem.direct()
    #expect(found.rank == 12 && direct.rank == 12)
    for (own, other) in zip(found.singularValues, direct.singularValues) {
      // Both are off by rounding of the largest, 1.
      #expect(abs(own - other) <= 10 * rounding)
    }
  }

  /// Rounding of a column is relative to that column: R is the same, to the bit, beside a w of 1e200.
  @Test func aLargeTargetDoesNoHarm() throws {
    let spectrum: [Double] = [3, 2, 1]
    let plain = TallProblem(rows: 20, spectrum: spectrum, seed: 4)
    let large = TallProblem(rows: 20, spectrum: spectrum, targetScale: 0x1p660, seed: 4)
    let (a, b) = (try plain.folded([8, 12]), try large.folded([8, 12]))
    #expect(a.matrix.array == b.matrix.array)
    #expect(distance(b.target.map { $0 * 0x1p-660 }, a.target) <= rounding)
  }

  @Test func fewerRowsThanColumns() throws {
    let problem = TallProblem(rows: 5, spectrum: [3, 2, 1], seed: 5)
    let part = try problem.folded([2])
    let found = try problem.solution(part)
    #expect(found.rank == 2)
    let direct = try ample.solve(
      rows: 2, columns: 3, Vector(problem.b.prefix(6)), target: Array(problem.w.prefix(2)))
    // As above; two rows of the three have a condition number of a few.
    #expect(distance(found.x, direct.x) <= 100 * rounding)
    #expect(try problem.solution(TriangularFactor(columns: 3)).x == [0, 0, 0])
  }

  @Test func notANumberIsAnError() throws {
    let factor = TriangularFactor(columns: 2)
    let block = Vector<Double>([1, 2, .nan, 4, 5, 6])
    #expect(throws: SolveError.linearAlgebra(.nonFinite(offset: 2))) {
      try factor.fold(rows: 2, block)
    }
  }

  private func pow10(_ exponent: Int) -> Double {
    (0..<abs(exponent)).reduce(1.0) { x, _ in exponent < 0 ? x / 10 : x * 10 }
  }
}
