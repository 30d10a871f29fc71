import Curvature
import GraphModule
import HessianFree
import TensorModule

/// Which solver finds a reference: the one the options name, or for `auto` the rows of leading classes or
/// conjugate gradients and, where these do not converge, the direct solvers that are predicted to be worth it,
/// from shapes, options, probabilities and the Gram matrix of the gradients. No clock and no number of threads
/// has a part in it, so that the same input gives the same bits everywhere.
///
/// Where the iterations that the Gram matrix foretells (`IterationForecast`) cost more than the rows of the
/// leading classes, these come first. How many iterations a solve needs depends on a spectrum that nobody
/// knows beforehand. So `auto` watches what iterations bring (`ReferenceOutlook`): it turns to a direct solver
/// as soon as that is predicted to be there sooner, and goes on beyond the limit of the options for no longer
/// than that solver would take.
struct ReferenceChoice: Equatable {
  /// What follows where conjugate gradients have not converged.
  enum Fallback: Equatable {
    /// The rows of leading classes.
    case leading
    /// A Cholesky factorisation of `B B^T`, which counts only if the certificate proves its result.
    case bracket
    /// One of the exact solvers.
    case exact(ReferenceMethod)
  }

  /// Whether the rows of leading classes come before it.
  var beginsWithLeading = false
  /// The first to try; never `auto`.
  let kind: ReferenceMethod
  /// Iterations that the first may take.
  let iterations: Int
  /// In the order in which they are tried, until one has converged, and after the eigen-decomposition of `B B^T` until
  /// one is proved.
  var fallbacks: [Fallback] = []
  /// For the first, where there is something to turn to and a bound to tell how far it is.
  var outlook: ReferenceOutlook?
  /// What follows "chosen by"; `nil` where the options decide.
  let reason: String?

  /// What the prediction rests on, in operations of a large product in single precision and bytes.
  struct Costs: Equatable {
    var svd: Double
    var svdMemory: Int
    /// How B is formed for it.
    var svdRoute = FactorRoute.rows
    /// With an eigen-decomposition.
    var gram: Double
    var gramMemory: Int
    /// With a Cholesky factorisation in the engine's precision; no memory is enough where B has more rows
    /// than columns.
    var cholesky: Double
    var choleskyMemory: Int
    /// Of one iteration of conjugate gradients, without the vectors that it keeps, and what each of these
    /// adds.
    var iteration: Double
    var growth: Double
    /// `nil` where too many classes lead.
    var leading: Leading?
    /// Whether w is of no use: the factorisations of B B^T and LSQR start from it.
    var missesLabels = false
    /// Rows and columns of B.
    var rows: Int
    var columns: Int

    /// The rows of leading classes that a batch begins with.
    struct Leading: Equatable {
      var rows: Int
      var cost: Double
      var memory: Int
      /// Of iterations of conjugate gradients at least; `nil` where that is not known.
      var forecast: Int?
    }

    /// So many iterations.
    func iterations(_ count: Int) -> Double {
      Double(count) * (iteration + growth * Double(count) / 2)
    }
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
        ? "size: B [\(costs.rows), \(costs.columns)] does not fit into the memory, B B^T does" : nil
      return
    }
    kind = .cg
    // The certificate speaks of F itself, and only if it is asked.
    let hasBound = options.cgDamping == 0 && options.cgGap > 0
    var candidates: [(fallback: Fallback, name: String, cost: Double)] = []
    var forecast = ""
    if hasBound && !costs.missesLabels, let leading = costs.leading, leading.memory <= memory {
      if options.cgPreconditioner == .none, let count = leading.forecast {
        beginsWithLeading = leading.cost <= Self.caution * costs.iterations(count)
        forecast = ", of which the gradients foretell \(count)"
      }
      let name = "leading classes (\(grouped(leading.rows)) rows)"
      candidates.append((.leading, name, (beginsWithLeading ? 1 : Self.later) * leading.cost))
    }
    if hasBound && !costs.missesLabels && costs.choleskyMemory <= memory {
      candidates.append((.bracket, "Cholesky factorisation of B B^T", costs.cholesky))
    }
    if costs.svdMemory <= memory {
      let name = costs.svdRoute == .columns ? "dense by the columns of B" : "dense"
      candidates.append((.exact(.dense), name, costs.svd))
    }
    if costs.gramMemory <= memory && !costs.missesLabels {
      candidates.append((.exact(.gram), "gram", costs.gram))
    }
    reason =
      candidates.isEmpty
      ? "size: nothing else fits into the memory"
      : "predicted operations: an iteration \(Self.rounded(costs.iteration))\(forecast), "
        + candidates.map { "\($0.name) \(Self.rounded($0.cost))" }.joined(separator: ", ")
    // What would take far longer than all the iterations that were asked for is not begun.
    let most = Self.patience * Double(options.cgIterations) * costs.iteration
    let affordable = candidates.filter { $0.cost <= most }
    // On a par the first one.
    let exact = affordable.filter { $0.fallback.isExact }.min { $0.cost < $1.cost }
    let bracket = affordable.first { $0.fallback == .bracket }
    // What has been tried before is not tried again, nor what takes as long as all rows.
    let isTried = beginsWithLeading
    let leading = affordable.first {
      $0.fallback == .leading && !isTried && $0.cost <= (bracket?.cost ?? .infinity) / 2
    }
    let order = [leading, bracket, exact].compactMap { $0 }
    guard let cheapest = order.min(by: { $0.cost < $1.cost }) else {
      iterations = options.cgIterations
      return
    }
    // A proof that costs more than the exact solution is not worth it.
    fallbacks = order.filter { $0.fallback.isExact || $0.cost <= exact?.cost ?? .infinity }
      .map(\.fallback)
    // What an eigen-decomposition loses, singular values keep.
    let dense = Fallback.exact(.dense)
    if hasBound, exact?.fallback == .exact(.gram),
      affordable.contains(where: { $0.fallback == dense })
    {
      fallbacks.append(dense)
    }
    if hasBound {
      iterations = options.cgIterations + Int(min(cheapest.cost / costs.iteration, 0x1p40))
      outlook = ReferenceOutlook(
        target: options.cgGap, iteration: costs.iteration, growth: costs.growth,
        alternative: cheapest.cost)
    } else {
      iterations = options.cgIterations
    }
  }

  /// What share of the iterations that are foretold the rows of leading classes may cost, to come first. Not above 1, as
  /// the classes that lead may turn out too few; not far below, as up to twice as many iterations are taken as are
  /// foretold.
  private static var caution: Double { 0.9 }
  /// How many times as much they cost where they come after iterations: there the classes that lead at first were
  /// found too few, and to add others took two to six times the first rows (digits, epochs 10 and 20).
  private static var later: Double { 4 }
  /// How many times the iterations that were asked for a direct solver may cost.
  private static var patience: Double { 10 }

  /// Two digits: more would suggest that the prediction has them.
  private static func rounded(_ cost: Double) -> String { shortened(cost, digits: 2) }
}

extension ReferenceChoice.Fallback {
  var isExact: Bool { if case .exact = self { true } else { false } }
}

extension ReferenceChoice.Costs {
  /// - Parameters:
  ///   - rank: Columns of the root of H of full rank, per position.
  ///   - leading: Rows of leading classes; `nil` where there are too many, or none.
  ///   - leadingHoldsGradients: Whether gradients stand for one of each sample.
  init<S: EngineScalar>(
    _ program: Program, samples: Int, rank: Int, leading: Int? = nil,
    leadingHoldsGradients: Bool = true, options: EvaluationOptions,
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
    let batch = BatchNeeds<S>(
      program, samples: samples, threads: threads, budget: budget.forward)
    let usesCombinations = options.cgPreconditioner == .none && batch.usesCombinations
    // A backward pass per class, the Gram matrix, the direction, its gamma and its residual. On one
    // core of two or more, in double: n^3 / 3 of Cholesky, and the eigen-decomposition that follows
    // where B has not full rank to rounding, which was found to take ten times as long. Nobody knows
    // beforehand whether it will.
    let draws = positions * rank
    let n = Double(draws * samples)
    let formed =
      Double(draws) * counts.inputs.operations + 2 * counts.gram(draws: draws).operations
      + (counts.weights + counts.jvp + counts.jvp + counts.vjp).operations
      + counts.elementwise(passes: Double(draws), inStacks: true) + counts.elementwise(passes: 4)
    gram = formed + 12 * n * n * n
    // A factorisation, and two or three products with the matrix, at the rate of memory; what the matrix is formed
    // from runs at half the rate (a ViT of width 64 with 20 classes).
    cholesky = 2 * formed + 1.2 * n * n * n + 300 * n * n
    let exact = BatchNeeds<Double>(
      program, samples: samples, threads: threads, budget: budget.forward)
    let factor = FactorCosts.best(
      exact, counts, memory: ByteCount(budget.reference) - ByteCount(budget.doubleProblem))
    (svd, svdRoute) = (factor.operations, factor.route)
    svdMemory = (factor.memory + ByteCount(budget.doubleProblem)).value
    // Layers factor only where the forward values of all samples are kept.
    gramMemory =
      exact.batch.keptSamples < samples
      ? .max
      : (ByteCount(GramNeeds(batch, draws: draws).total) + ByteCount(budget.doubleProblem)).value
    choleskyMemory =
      batch.batch.keptSamples < samples || draws * samples > columns
      ? .max : GramNeeds(batch, draws: draws).total

    let product = counts.fisherVectorProduct(usesCombinations: usesCombinations)
    // Some ten passes over vectors of P elements, at the rate of memory, and what it takes to start
    // the threads a few times, 50 microseconds.
    iteration =
      product.operations + (usesCombinations ? 0 : 400 * p) + 5e6 + counts.elementwise(passes: 2)
    // Twice a multiplication and an addition for each element of an earlier vector, from the caches;
    // combinations are pairs of vectors over the logits in double.
    growth = usesCombinations ? 48 * m : 12 * p
    self.leading =
      batch.batch.keptSamples < samples
      ? nil
      : leading.map { rows in
        // A backward pass of its sample for each row that the gradients do not leave, its products with all, and the
        // direction with its residual, whose tangent is scored. Matrices of products are formed for each tensor,
        // copied and factorised at the rate of memory (Benchmarks/reference-suite.sh).
        let known = leadingHoldsGradients ? min(samples, rows) : 0
        let formed = rows - known
        let own = ProductCounts(program, samples: formed, scalar: MemoryLayout<S>.stride)
        let m = Double(rows)
        let work =
          own.inputs + counts.gramBorder(rows: formed, besides: known) + counts.weights + counts.vjp
        return Leading(
          rows: rows,
          cost: work.operations + own.elementwise(passes: 2) + counts.elementwise(passes: 1)
            + 1.2 * m * m * m + 6000 * m * m + 1200 * p + 1e8,
          memory: LeadingReference<S>.requiredMemory(batch, rows: rows, threads: threads))
      }
  }
}
