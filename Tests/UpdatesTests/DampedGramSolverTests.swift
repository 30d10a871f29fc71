import TensorModule
import Testing

@testable import Updates

/// `(K + lambda I) c = b` by both forms of the solver, judged by the residual, which plain loops form.
struct DampedGramSolverTests {
  private let count = 12

  /// `G G^T` of `rank` columns whose rows span four orders of magnitude, the last row zero.
  private func gram(rank: Int) -> [Double] {
    var random = CounterRandom(seed: 5, batch: 0, sample: 0, stream: .vectors)
    let rows = (0..<count).map { row in
      (0..<rank).map { _ in row == count - 1 ? 0 : random.normal() * [1, 0.1, 1e-4][row % 3] }
    }
    return rows.flatMap { a in rows.map { b in zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } } }
  }

  private func solver(
    rank: Int, dampings: [Double] = [], leftOut: Set<Int> = []
  ) throws -> DampedGramSolver {
    try DampedGramSolver(
      count: count, values: gram(rank: rank), precision: Double(Float.ulpOfOne),
      leftOut: leftOut, dampings: dampings)
  }

  /// The largest residual of the rows that take part, per size of b.
  private func residual(_ c: [Double], lambda: Double, leftOut: Set<Int> = []) -> Double {
    let k = gram(rank: 20)
    return (0..<count - 1).filter { !leftOut.contains($0) }.map { i in
      abs((0..<count).reduce(lambda * c[i] - 1) { $0 + k[i * count + $1] * c[$1] })
    }.max()!
  }

  /// Refined once, an entry's residual is of the order of the rounding of the sums in it: the entries
  /// of c reach 1 / lambda, those of K 50.
  @Test(arguments: [1, 1e-3, 1e-6])
  func bothFormsSolveTheSystem(lambda: Double) throws {
    let b = [Double](repeating: 1, count: count)
    let limit = 50 * Double(count) * Double.ulpOfOne / lambda
    for solver in [try solver(rank: 20), try solver(rank: 20, dampings: [lambda])] {
      let c = solver.solve(b, lambda: lambda)
      #expect(residual(c, lambda: lambda) <= limit)
      #expect(c[count - 1] == 0)
      #expect(!solver.isBelowRounding(lambda))
    }
  }

  @Test func oneOfSeveralDampingsIsSolvedForLikeAnyOther() throws {
    let b = [Double](repeating: 1, count: count)
    let several = try solver(rank: 20, dampings: [1e-2, 1e-4, 1])
    for lambda in [1e-4, 1e-2, 1] {
      let alone = try solver(rank: 20, dampings: [lambda]).solve(b, lambda: lambda)
      #expect(several.solve(b, lambda: lambda) == alone)
    }
  }

  @Test func rowsLeftOutTakeNoPart() throws {
    let c = try solver(rank: 20, dampings: [1e-3], leftOut: [2, 5])
      .solve([Double](repeating: 1, count: count), lambda: 1e-3)
    #expect(c[2] == 0 && c[5] == 0)
    #expect(residual(c, lambda: 1e-3, leftOut: [2, 5]) <= 1e-9)
  }

  /// Three columns leave eight eigenvalues to rounding: what rests on them is known as such, however
  /// the dampings were announced.
  @Test func dampingBelowRoundingIsNoticed() throws {
    let lambda = 1e-15
    #expect(try solver(rank: 3, dampings: [lambda]).isBelowRounding(lambda))
    #expect(try solver(rank: 3).isBelowRounding(lambda))
    #expect(try !solver(rank: 3, dampings: [1e-2]).isBelowRounding(1e-2))
  }
}
