import Curvature
import HessianFree
import TensorModule
import Updates

/// A direction with what a report tells of it and of how it came about.
struct FoundDirection<S: EngineScalar> {
  let method: UpdateMethod
  var role = RowRole.method
  var direction: Direction<S>
  /// What it took to find it.
  var seconds = 0.0
  /// Monte-Carlo labels per sample that went into it, `nil` where the method draws none.
  var draws: Int?

  var identity: RowIdentity {
    RowIdentity(
      method: method.name, role: role, damping: direction.damping?.text, monteCarloSamples: draws)
  }
}

/// The directions of one batch, method by method; what several methods need is made once, when the
/// first of them asks.
struct MethodDirections<S: EngineScalar> {
  private let options: EvaluationOptions
  private let gradients: BatchGradients<S>
  /// By number of draws.
  private let contexts: [Int: DirectionContext<S>]
  private let source: SolvedDirections<S>

  /// - Parameters:
  ///   - draws: Monte-Carlo labels per sample of the methods that draw, for each of which there is a
  ///     direction.
  ///   - updates: By name.
  init(
    options: EvaluationOptions, problem: BatchProblem<S>, samples: SampleProblem<S>, batch: Int,
    gradients: BatchGradients<S>, draws: [Int], solver: BatchReference<S>,
    updates: [String: DirectionForm<S>]
  ) {
    self.options = options
    self.gradients = gradients
    let draw = { (count: Int) in
      samples.sampledGradients(draws: count, seed: options.seed, batch: batch)
    }
    source = SolvedDirections(
      options: options, problem: problem, gradients: gradients, solver: solver, updates: updates)
    let source = source
    func context(
      _ gradients: BatchGradients<S>, shared: SharedStatistics = .none
    ) -> DirectionContext<S> {
      DirectionContext(
        gradients, source: source, blockLimits: options.blockLimits, shared: shared, draw: draw)
    }
    let linearization = gradients.linearization
    let shared = SharedStatistics(
      options.methods,
      BatchNeeds<S>(
        linearization.program, samples: linearization.samples,
        threads: linearization.pool.threads, budget: linearization.budget),
      layerProgram: linearization.layerProgram)
    var contexts = [gradients.draws: context(gradients, shared: shared)]
    for count in draws where contexts[count] == nil {
      contexts[count] = context(BatchGradients(gradients, draws: count))
    }
    self.contexts = contexts
  }

  /// One direction for each damping, or the only one of a method without; where lambda or what it takes
  /// to find a direction is beyond the range of numbers, that there is none.
  ///
  /// - Parameter draws: `nil` for methods that draw none.
  func found(_ method: UpdateMethod, draws: Int?) throws -> [FoundDirection<S>] {
    let clock = ContinuousClock()
    let start = clock.now
    let directions = try directions(method, contexts[draws ?? gradients.draws]!)
    let share = (clock.now - start).seconds / Double(max(directions.count, 1))
    return directions.map {
      FoundDirection(
        method: method, direction: $0, seconds: source.seconds(method, $0) ?? share, draws: draws)
    }
  }

  private func directions(
    _ method: UpdateMethod, _ context: DirectionContext<S>
  ) throws -> [Direction<S>] {
    if !method.needs.isDamped { return try method.directions(context, dampings: []) }
    let dampings = options.dampings
    let usable = dampings.filter {
      isNumber(context.gradients.lambda($0, method.needs))
    }
    var found =
      try unlessBeyondNumbers { try method.directions(context, dampings: usable) }?[...] ?? []
    return dampings.map { damping in
      if found.first?.damping == damping { return found.removeFirst() }
      return .beyondNumbers(
        damping: damping, count: gradients.linearization.parameterCount,
        isOfEngine: usable.contains(damping))
    }
  }
}

extension EvaluationOptions {
  /// Of solves of blocks: those of the reference. The certificate does not end them: it speaks of all
  /// parameters together.
  var blockLimits: SolveLimits {
    SolveLimits(relativeTolerance: cgTolerance, maxIterations: cgIterations)
  }
}

private func isNumber(_ lambda: (value: Double, scaled: Double)) -> Bool {
  lambda.value.isFinite && lambda.scaled.isFinite
}

private func unlessBeyondNumbers<Result>(_ find: () throws -> Result) throws -> Result? {
  do { return try find() } catch  where error.isOfNumbers { return nil }
}

/// Directions of solvers, and the user's.
private final class SolvedDirections<S: EngineScalar>: DirectionSource {
  private let options: EvaluationOptions
  private let problem: BatchProblem<S>
  private let gradients: BatchGradients<S>
  private let solver: BatchReference<S>
  private let updates: [String: DirectionForm<S>]
  /// By damping, of all methods that ask for them by number of iterations; `nil` where a solve is
  /// beyond the range of numbers.
  private var iterates: [Damping: [Int: ReferenceSolver<S>.Iterate]?] = [:]

  init(
    options: EvaluationOptions, problem: BatchProblem<S>, gradients: BatchGradients<S>,
    solver: BatchReference<S>, updates: [String: DirectionForm<S>]
  ) {
    self.options = options
    self.problem = problem
    self.gradients = gradients
    self.solver = solver
    self.updates = updates
  }

  func solution(_ metric: OutputMetric, _ damping: Damping) throws -> Direction<S> {
    let lambda = gradients.lambda(damping).value
    let solution = try solver.solve(gradients, damping: lambda, metric: metric)
    return solution.direction(damping: damping, lambda: lambda)
  }

  func iterate(after iterations: Int, _ damping: Damping) throws -> Direction<S> {
    let lambda = gradients.lambda(damping).value
    let isUsable = problem.scaled(damping: lambda) != nil
    guard isUsable, let iterate = try iterates(damping, lambda)?[iterations] else {
      return .beyondNumbers(
        damping: damping, count: problem.linearization.parameterCount, isOfEngine: isUsable)
    }
    return Direction(damping: damping, lambda: lambda, scaled: iterate.direction)
  }

  private func iterates(
    _ damping: Damping, _ lambda: Double
  ) throws -> [Int: ReferenceSolver<S>.Iterate]? {
    if let known = iterates[damping] { return known }
    let counts = options.methods.compactMap(\.needs.iterations)
    let made = try unlessBeyondNumbers {
      try solver.iterates(gradients, after: counts, damping: lambda)
    }
    let byCount = made.map { Dictionary(zip(counts, $0)) { first, _ in first } }
    iterates[damping] = .some(byCount)
    return byCount
  }

  func update(_ name: String) -> Direction<S> { Direction(form: updates[name]!) }

  /// What a direction has taken of a solve that it shares with others.
  func seconds(_ method: UpdateMethod, _ direction: Direction<S>) -> Double? {
    guard let iterations = method.needs.iterations, let damping = direction.damping else {
      return nil
    }
    return iterates[damping]??[iterations]?.seconds ?? 0
  }
}
