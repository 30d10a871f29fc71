import Curvature
import GraphModule
import HessianFree
import TensorModule

/// How B comes about for a singular value decomposition, from shapes alone.
package enum FactorRoute: Equatable, Sendable {
  /// By its rows, one gradient per logit and sample; it is stored whole.
  case rows
  /// By its columns, one tangent per parameter; blocks of rows are folded into a triangular factor, `[P, P]`.
  case columns
}

/// What a decomposition takes that goes one of these ways.
struct FactorCosts {
  let route: FactorRoute
  /// Of a large product in single precision.
  let operations: Double
  /// Without the batch in double.
  let memory: ByteCount

  /// - Parameters:
  ///   - needs: Of the batch in double.
  ///   - counts: Products of the batch.
  init<S: EngineScalar>(_ route: FactorRoute, _ needs: BatchNeeds<S>, _ counts: ProductCounts) {
    self.route = route
    let rows = ByteCount(needs.samples) * ByteCount(needs.logitCount)
    let columns = needs.program.parameterCount
    let (m, p) = (Double(rows.value), Double(columns))
    switch route {
    case .rows:
      // dgesdd: 4 m P k + 22 k^3 (Golub and Van Loan, table 8.6.1), and a backward pass per logit of a sample.
      let k = min(m, p)
      let logits = Double(needs.logitCount)
      let passes =
        logits * (counts.inputs + counts.weights).operations
        + counts.elementwise(passes: logits)
      // All in double, at half the rate.
      operations = 2 * (4 * m * p * k + 22 * k * k * k + passes)
      memory = ByteCount(
        DenseLeastSquares.requiredMemory(rows: rows.value, columns: columns))
    case .columns:
      // Reflections at three quarters of the rate of products: 24,000 rows of 900 columns took 1.2 seconds, and the
      // decomposition of what they left 0.25.
      let passes = p * counts.jvp.operations + counts.elementwise(passes: p, inStacks: true)
      operations = 2 * (2.6 * m * p * p + 15 * p * p * p + passes)
      memory = needs.factorOfColumns
    }
  }

  /// By rows, and where these are more than the columns, so that there is something to fold, by columns.
  static func all<S: EngineScalar>(
    _ needs: BatchNeeds<S>, _ counts: ProductCounts
  ) -> [FactorCosts] {
    let isTall = needs.samples * needs.logitCount > needs.program.parameterCount
    let routes: [FactorRoute] = isTall ? [.rows, .columns] : [.rows]
    return routes.map { FactorCosts($0, needs, counts) }
  }

  /// The one with fewer operations of those that fit into so much memory; if none does, the one that takes less.
  static func best<S: EngineScalar>(
    _ needs: BatchNeeds<S>, _ counts: ProductCounts, memory: ByteCount
  ) -> FactorCosts {
    let all = all(needs, counts)
    return all.filter { $0.memory <= memory }.min { $0.operations < $1.operations }
      ?? all.min { $0.memory < $1.memory }!
  }
}

extension BatchNeeds {
  /// What folding takes, or the decomposition of what it leaves.
  fileprivate var factorOfColumns: ByteCount {
    let columns = program.parameterCount
    let factor = TriangularFactor.memory(columns: columns)
    let folding = factorBlocks + factorBlockPlan.lanes.count * factor
    return max(
      folding,
      factor + ByteCount(DenseLeastSquares.requiredMemory(rows: columns, columns: columns)))
  }
}

extension BatchProblem {
  /// B by its columns, folded into a triangular factor.
  ///
  /// - Parameter hasTarget: Whether w is folded in beside it.
  func triangularFactor(hasTarget: Bool) throws(SolveError) -> TriangularFactor {
    let blocks = FactorBlocks(linearization, output, hasTarget: hasTarget)
    let factors = (0..<blocks.lanes).map { _ in
      TriangularFactor(columns: linearization.parameterCount)
    }
    try blocks.forEachBlock { lane, rows, block throws(SolveError) in
      try factors[lane].fold(rows: rows, block)
    }
    // In the order of the samples.
    for other in factors.dropFirst() { try factors[0].fold(other) }
    return factors[0]
  }
}
