import Curvature
import GraphModule
import HessianFree
import TensorModule

/// Which solver finds a reference: the one the options name, or for `auto` the one that is predicted
/// to need the least, from shapes and options alone. No clock and no number of threads has a part in
/// it, so that the same input gives the same bits everywhere.
///
/// Costs are in operations of a large product in single precision. An iterative solve is charged with
/// all the iterations that it may take: how many it will need depends on a spectrum that nobody knows.
struct ReferenceChoice: Equatable {
  /// Never `auto`.
  let kind: ReferenceKind
  /// A sentence; `nil` where the options decide.
  let reason: String?

  /// What the prediction rests on.
  struct Costs: Equatable {
    var svd: Double
    var svdMemory: Int
    var gram: Double
    var gramMemory: Int
    var iterative: Double
    /// Rows and columns of B.
    var rows: Int
    var columns: Int
  }

  init(_ options: EvaluationOptions, _ costs: Costs) {
    let (memory, wanted) = (options.memory, options.reference)
    guard wanted == .auto else {
      let fallsBack =
        wanted == .dense && costs.svdMemory > memory && costs.gramMemory <= memory
      kind = fallsBack ? .gram : wanted
      reason =
        fallsBack
        ? "B [\(costs.rows), \(costs.columns)] does not fit into the memory, B B^T does" : nil
      return
    }
    var candidates: [(kind: ReferenceKind, cost: Double)] = []
    if costs.svdMemory <= memory { candidates.append((.dense, costs.svd)) }
    if costs.gramMemory <= memory { candidates.append((.gram, costs.gram)) }
    // The conjugate gradients that a preconditioner is asked for, or LSQR.
    let iterative = options.cgPreconditioner == .none ? ReferenceKind.lsqr : .cg
    candidates.append((iterative, costs.iterative))
    let best = candidates.min { $0.cost < $1.cost }!
    kind = best.kind
    let others = candidates.filter { $0.kind != best.kind }.map {
      "\($0.kind.rawValue) \(Self.rounded($0.cost))"
    }
    reason =
      others.isEmpty
      ? "nothing else fits into the memory"
      : "predicted \(Self.rounded(best.cost)) operations, " + others.joined(separator: ", ")
  }

  /// Two digits: more would suggest that the prediction has them.
  private static func rounded(_ cost: Double) -> String { shortened(cost, digits: 2) }
}

extension ReferenceChoice.Costs {
  /// - Parameter rank: Columns of the root of H of full rank, per position.
  init<S: EngineScalar>(
    _ program: Program, samples: Int, rank: Int, options: EvaluationOptions, _: S.Type
  ) {
    let budget = BatchProblem<S>.forwardBudget(program, memory: options.memory)
    // A fixed number of threads: the choice must not depend on the machine.
    let threads = 4
    let positions = program.graph.positions
    rows = samples * program.graph.outputShape.reduce(1, *)
    columns = program.parameterCount
    let counts = ProductCounts(program, samples: samples)
    let (m, p) = (Double(rows), Double(columns))

    // dgesdd: 4 m P k + 22 k^3 (Golub and Van Loan, table 8.6.1), at half the rate; its backward
    // passes are little beside it.
    let k = min(m, p)
    svd = 2 * (4 * m * p * k + 22 * k * k * k)
    let held = ProductNeeds(
      program, samples: samples, threads: threads, budget: budget, Double.self)
    svdMemory =
      DenseLeastSquares.requiredMemory(rows: rows, columns: columns)
      .addingReportingOverflow(held.forward).partialValue
    if svdMemory < 0 { svdMemory = .max }

    // A backward pass per class, the Gram matrix and n^3 / 3 of Cholesky in double on one core of two
    // or more, the direction, its gamma and its residual.
    let draws = positions * rank
    let n = Double(draws * samples)
    gram =
      Double(draws) * counts.inputs + 2 * counts.gram(draws: draws) + 4 * n * n * n / 3
      + counts.weights + 2 * counts.jvp + counts.vjp
    let needs = GramNeeds(
      program, samples: samples, draws: draws, threads: threads, budget: budget, S.self)
    // Layers factor only where the forward values of all samples are kept.
    gramMemory = held.recomputedSamples > 0 ? .max : needs.total + held.forward

    // Some ten passes over vectors of P elements, at the rate of memory, and what it takes to start
    // the threads a few times, 50 microseconds.
    let product = counts.jvp + counts.vjp + 400 * p + 5e6
    iterative = Double(min(options.cgIterations, rows, columns)) * product
  }
}
