import Curvature
import GraphModule
import HessianFree
import TensorModule

/// Which solver finds a reference: the one the options name, or for `auto` the one that is predicted
/// to need the least, from shapes and options alone. No clock and no number of threads has a part in
/// it, so that the same input gives the same bits everywhere.
///
/// How many iterations a solve needs depends on a spectrum that nobody knows beforehand. So `auto`
/// iterates for at most what an exact solver would cost and turns to that one if the reference has not
/// converged by then: it never spends more than twice what the better of the two takes. The limit on
/// iterations that the options name is for a solver that has nothing to turn to.
struct ReferenceChoice: Equatable {
  /// The first to try; never `auto`.
  let kind: ReferenceKind
  /// Iterations that the first may take.
  let iterations: Int
  /// What follows if it does not converge.
  var fallback: ReferenceKind?
  /// A clause; `nil` where the options decide.
  let reason: String?

  /// What the prediction rests on, in operations of a large product in single precision and bytes.
  struct Costs: Equatable {
    var svd: Double
    var svdMemory: Int
    var gram: Double
    var gramMemory: Int
    /// Of one iteration.
    var iteration: Double
    /// Whether conjugate gradients keep their vectors as combinations of per-sample gradients, in
    /// double: then they are both cheaper than LSQR and as exact.
    var usesCombinations = false
    /// Whether w is of no use: LSQR and the Gram matrix of B start from it.
    var missesLabels = false
    /// Rows and columns of B.
    var rows: Int
    var columns: Int
  }

  /// - Parameter memory: Bytes that an exact solver may take.
  init(_ options: EvaluationOptions, memory: Int, _ costs: Costs) {
    let wanted = options.reference
    guard wanted == .auto else {
      let fallsBack =
        wanted == .dense && costs.svdMemory > memory && costs.gramMemory <= memory
      kind = fallsBack ? .gram : wanted
      iterations = options.cgIterations
      reason =
        fallsBack
        ? "B [\(costs.rows), \(costs.columns)] does not fit into the memory, B B^T does" : nil
      return
    }
    // A preconditioner is one of conjugate gradients, and of vectors of length P.
    let isPreconditioned = options.cgPreconditioner != .none
    let iterative: ReferenceKind =
      isPreconditioned || costs.usesCombinations || costs.missesLabels ? .cg : .lsqr
    var candidates: [(kind: ReferenceKind, cost: Double)] = []
    if costs.svdMemory <= memory { candidates.append((.dense, costs.svd)) }
    if costs.gramMemory <= memory && !costs.missesLabels {
      candidates.append((.gram, costs.gram))
    }
    // On a par the first one.
    guard let exact = candidates.min(by: { $0.cost < $1.cost }) else {
      (kind, iterations) = (iterative, options.cgIterations)
      reason = "nothing else fits into the memory"
      return
    }
    reason =
      "predicted operations: an iteration \(Self.rounded(costs.iteration)), "
      + candidates.map { "\($0.kind.rawValue) \(Self.rounded($0.cost))" }.joined(separator: ", ")
    let affordable = exact.cost / costs.iteration
    // Where there is nothing to predict, as for a model without products, it is no number.
    if !(affordable >= Self.fewestIterations) {
      (kind, iterations) = (exact.kind, options.cgIterations)
      return
    }
    kind = iterative
    // As long as that is cheaper than the exact solver, which is not begun where it would take far
    // longer than all the iterations that were asked for.
    let most = Self.patience * Double(options.cgIterations)
    iterations = Int(min(affordable, most, 0x1p62))
    fallback = affordable <= most ? exact.kind : nil
  }

  /// So many are always needed, or nearly.
  private static var fewestIterations: Double { 5 }
  /// How many times the iterations that were asked for may pass before it ends without an answer.
  private static var patience: Double { 10 }

  /// Two digits: more would suggest that the prediction has them.
  private static func rounded(_ cost: Double) -> String { shortened(cost, digits: 2) }
}

extension ReferenceChoice.Costs {
  /// - Parameter rank: Columns of the root of H of full rank, per position.
  init<S: EngineScalar>(
    _ program: Program, samples: Int, rank: Int, options: EvaluationOptions,
    budget: MemoryBudget, _: S.Type
  ) {
    // A fixed number of threads: the choice must not depend on the machine.
    let threads = 4
    let positions = program.graph.positions
    rows = samples * program.graph.outputShape.reduce(1, *)
    columns = program.parameterCount
    let counts = ProductCounts(
      program, samples: samples, scalar: MemoryLayout<S>.stride)
    let (m, p) = (Double(rows), Double(columns))

    // dgesdd: 4 m P k + 22 k^3 (Golub and Van Loan, table 8.6.1), at half the rate; its backward
    // passes are little beside it.
    let k = min(m, p)
    svd = 2 * (4 * m * p * k + 22 * k * k * k)
    let batch = BatchNeeds<S>(
      program, samples: samples, threads: threads, budget: budget.forward)
    usesCombinations = options.cgPreconditioner == .none && batch.usesCombinations
    svdMemory =
      (ByteCount(DenseLeastSquares.requiredMemory(rows: rows, columns: columns))
      + ByteCount(budget.doubleProblem)).value

    // A backward pass per class, the Gram matrix, the direction, its gamma and its residual. On one
    // core of two or more, in double: n^3 / 3 of Cholesky, and the eigen-decomposition that follows
    // where B has not full rank to rounding, which was found to take ten times as long. Nobody knows
    // beforehand whether it will.
    let draws = positions * rank
    let n = Double(draws * samples)
    gram =
      Double(draws) * counts.inputs.operations + 2 * counts.gram(draws: draws).operations + 12 * n
      * n * n
      + (counts.weights + counts.jvp + counts.jvp + counts.vjp).operations
    let exact = BatchNeeds<Double>(
      program, samples: samples, threads: threads, budget: budget.forward)
    // Layers factor only where the forward values of all samples are kept.
    gramMemory =
      exact.batch.keptSamples < samples
      ? .max
      : (ByteCount(GramNeeds(batch, draws: draws).total) + ByteCount(budget.doubleProblem)).value

    let product = counts.fisherVectorProduct(usesCombinations: usesCombinations)
    // Some ten passes over vectors of P elements, at the rate of memory, and what it takes to start
    // the threads a few times, 50 microseconds.
    iteration = product.operations + (usesCombinations ? 0 : 400 * p) + 5e6
  }
}
