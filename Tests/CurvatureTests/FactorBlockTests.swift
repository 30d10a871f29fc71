import HessianFree
import Synchronization
import TensorModule
import TestSupport
import Testing

@testable import Curvature

/// B by its columns, block by block, against the rows of the oracle.
struct FactorBlockTests {
  /// Many blocks, several lanes, and passes that begin at the second of several groups.
  private var small: FactorBlockPlan.Limits {
    var limits = FactorBlockPlan.Limits()
    (limits.scalars, limits.productRows, limits.groups) = (1, 1, 3)
    return limits
  }

  @Test(arguments: cases + [tiedRows, lowRank])
  func columnsAreThoseOfTheRows(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    for limits in [FactorBlockPlan.Limits(), small] {
      // Where forward values are computed again, block by block, too.
      for budget in [Int.max, 0] {
        try check(oracle, limits, budget: budget, Double.self, tolerance: 1e-13)
      }
      // Products of a few layers, as for those with F.
      try check(oracle, limits, budget: .max, Float.self, tolerance: 2e-5)
    }
  }

  private func check<S: EngineScalar>(
    _ oracle: DenseOracle, _ limits: FactorBlockPlan.Limits, budget: Int, _: S.Type,
    tolerance: Double
  ) throws {
    let engine = try EngineProblem(oracle.problem, S.self)
    let linearization = engine.linearize(threads: 2, budget: budget)
    let output = engine.output(linearization)
    let blocks = FactorBlocks(linearization, output, hasTarget: true, limits: limits)
    let columns = oracle.parameterCount
    // Lanes run at the same time.
    let found = Mutex([[(row: [Double], weight: Double)]](repeating: [], count: blocks.lanes))
    try blocks.forEachBlock { lane, rows, block in
      found.withLock {
        for row in 0..<rows {
          let values = (0..<columns).map { block[$0 * rows + row] }
          $0[lane].append((engine.unscrambled(values), block[columns * rows + row]))
        }
      }
    }
    let (root, weights) = (oracle.root, oracle.rootWeights)
    // Positions that are not scored are left out.
    let kept = weights.indices.filter { output.isScored($0 / output.classes) }
    let rows = found.withLock { $0.flatMap { $0 } }
    #expect(rows.count == kept.count)
    #expect(
      mismatch(rows.flatMap(\.row), kept.flatMap { root[$0] }, tolerance: tolerance) == nil)
    #expect(
      mismatch(rows.map(\.weight), kept.map { weights[$0] }, tolerance: tolerance) == nil)
  }

  /// The limits of `small` do what they are for.
  @Test func smallLimitsCutEverything() throws {
    let engine = try EngineProblem(Problem(lowRank), Double.self)
    let linearization = engine.linearize()
    let plan = linearization.factorBlockPlan(small)
    #expect(plan.runs.count == lowRank.samples && plan.lanes.count > 1 && plan.groups.count == 3)
    #expect(plan.directions == 1)
    let usual = linearization.factorBlockPlan(.init())
    #expect(usual.groups.count == 1 && usual.directions == linearization.parameterCount)
    // All samples once, and all parameters.
    for plan in [plan, usual] {
      #expect(
        plan.runs.flatMap { $0.first..<$0.first + $0.count } == Array(0..<lowRank.samples))
      #expect(plan.lanes.flatMap { $0 } == Array(plan.runs.indices))
      #expect(
        plan.groups.flatMap { $0 }.map(\.index).sorted()
          == linearization.program.trainable.map(\.index).sorted())
    }
  }

  @Test func noTargetIsAColumnOfZeros() throws {
    let engine = try EngineProblem(Problem(lowRank), Double.self)
    let linearization = engine.linearize()
    let blocks = FactorBlocks(linearization, engine.output(linearization), hasTarget: false)
    try blocks.forEachBlock { _, rows, block in
      let first = rows * linearization.parameterCount
      #expect((first..<first + rows).allSatisfy { block[$0] == 0 })
    }
  }

  @Test func errorsComeOut() throws {
    let engine = try EngineProblem(Problem(lowRank), Double.self)
    let linearization = engine.linearize(threads: 2)
    let blocks = FactorBlocks(
      linearization, engine.output(linearization), hasTarget: true, limits: small)
    #expect(throws: SolveError.memory(required: 0, budget: 1)) {
      try blocks.forEachBlock { lane, _, _ throws(SolveError) in
        throw .memory(required: lane, budget: 1)
      }
    }
  }
}
