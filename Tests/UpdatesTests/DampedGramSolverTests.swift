import TensorModule
import Testing

@testable import Updates

/// `(K + lambda I) c = b` by both forms of the solver, judged by the residual, which plain loops form.
struct DampedGramSolverTests {
  private static let count = 12
  private let ones = [Double](repeating: 1, count: count)

  /// `G G^T` of `rank` columns whose rows span four orders of magnitude, the last row zero.
  private func gram(rank: Int) -> [Double] {
    var random = CounterRandom(seed: 5, batch: 0, sample: 0, stream: .vectors)
    let rows = (0..<Self.count).map { row in
      (0..<rank).map { _ in row == Self.count - 1 ? 0 : random.normal() * [1, 0.1, 1e-4][row % 3] }
    }
    return rows.flatMap { a in rows.map { b in zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } } }
  }

  private func solver(
    rank: Int, onlyLambda: Double? = nil, leftOut: Set<Int> = []
  ) throws -> DampedGramSolver {
    let values = gram(rank: rank)
    return try DampedGramSolver(
      count: Self.count, precision: Double(Float.ulpOfOne), leftOut: leftOut,
      onlyLambda: onlyLambda
    ) { values[$0 * Self.count + $1] }
  }

  /// The largest residual of the rows that take part, each relative to the sum of the sizes of its terms,
  /// in units of rounding.
  private func error(_ c: [Double], lambda: Double, leftOut: Set<Int> = []) -> Double {
    let k = gram(rank: 20)
    return (0..<Self.count - 1).filter { !leftOut.contains($0) }.map { i in
      let terms = (0..<Self.count).map { k[i * Self.count + $0] * c[$0] } + [lambda * c[i], -1]
      return abs(terms.reduce(0, +)) / terms.reduce(0) { $0 + abs($1) } / Double.ulpOfOne
    }.max()!
  }

  /// A solution that is refined once is that of a system whose every entry is off by some count
  /// roundings (Skeel 1980); one that is not has the errors of the largest rows in the smallest.
  @Test(arguments: [1, 1e-3, 1e-6])
  func bothFormsSolveTheSystem(lambda: Double) throws {
    let alone = try solver(rank: 20, onlyLambda: lambda)
    let any = try solver(rank: 20)
    #expect(!alone.isDecomposed && any.isDecomposed)
    for solver in [alone, any] {
      let c = solver.solve(ones, lambda: lambda)
      #expect(error(c, lambda: lambda) <= Double(Self.count))
      #expect(c[Self.count - 1] == 0)
    }
  }

  @Test func rowsLeftOutTakeNoPart() throws {
    let c = try solver(rank: 20, onlyLambda: 1e-3, leftOut: [2, 5]).solve(ones, lambda: 1e-3)
    #expect(c[2] == 0 && c[5] == 0)
    #expect(error(c, lambda: 1e-3, leftOut: [2, 5]) <= Double(Self.count))
  }

  /// Three columns leave eight eigenvalues to rounding: without damping they are left out.
  @Test(arguments: [0, 1e-15])
  func dampingAtTheLevelOfRoundingNeedsTheEigenvalues(lambda: Double) throws {
    #expect(try solver(rank: 3, onlyLambda: lambda).isDecomposed)
  }

  /// Known to have three columns, the matrix has a null space: what of b lies in it has no part in c,
  /// whatever the damping, and the solution has the direction of exact arithmetic.
  @Test(arguments: [0, 1e-15, 1e-7])
  func nullVectorsHaveNoPart(lambda: Double) throws {
    let k = gram(rank: 3)
    let solver = try DampedGramSolver(
      count: Self.count, precision: .ulpOfOne, parameters: 3, onlyLambda: lambda
    ) { k[$0 * Self.count + $1] }
    #expect(solver.isDecomposed)
    let c = solver.solve(ones, lambda: lambda)
    // c in the range of K has the size of b / K; in the null space it would have that of b / lambda.
    let largest = (0..<Self.count).map { k[$0 * (Self.count + 1)] }.max()!
    #expect(c.map { abs($0) }.max()! < 1e6 / largest)
    // The residual lies in the null space: K times it is zero to rounding.
    let residual = (0..<Self.count).map { i in
      let own: Double = 1 - lambda * c[i]
      return (0..<Self.count).reduce(own) { $0 - k[i * Self.count + $1] * c[$1] }
    }
    let image = (0..<Self.count).map { i in
      (0..<Self.count).reduce(0.0) { $0 + k[i * Self.count + $1] * residual[$1] }
    }
    #expect(image.map { abs($0) }.max()! < 1e-10 * largest)
  }

  /// Eigenvalues 3 and -1: b lies along the first.
  @Test func negativeEigenvaluesNeedTheDecomposition() throws {
    let solver = try DampedGramSolver(count: 2, precision: 0, onlyLambda: 0.5) {
      $0 == $1 ? 1 : 2
    }
    #expect(solver.isDecomposed)
    for c in solver.solve([1, 1], lambda: 0.5) { #expect(abs(c - 1 / 3.5) <= 4 * .ulpOfOne) }
  }

  @Test func matricesWithNaNAreRefused() {
    #expect(throws: LinearAlgebraError.self) {
      try DampedGramSolver(count: 2, precision: 0, onlyLambda: 1) { $0 == $1 ? 1 : .nan }
    }
  }
}
