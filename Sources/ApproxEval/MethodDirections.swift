import Curvature
import HessianFree
import TensorModule
import Updates

/// A direction with what a report tells of how it came about.
struct FoundDirection<S: EngineScalar> {
  var direction: Direction<S>
  /// What it took to find it.
  var seconds = 0.0
  /// Monte-Carlo labels per sample that went into it, `nil` where the method draws none.
  var draws: Int?
}

/// The directions of one batch, method by method; what several methods need is made once, when the
/// first of them asks.
final class MethodDirections<S: EngineScalar> {
  private let options: EvaluationOptions
  private let problem: BatchProblem<S>
  private let gradients: BatchGradients<S>
  private let solver: BatchReference<S>
  /// By name.
  private let updates: [String: DirectionForm<S>]
  /// By number of draws.
  private var blocks: [Int: TensorBlocks<S>] = [:]
  private var squares: Diagonal.Squares<S>?

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

  /// One direction for each damping, or the only one of a method without; where lambda or what it takes
  /// to find a direction is beyond the range of numbers, that there is none.
  ///
  /// - Parameter draws: Monte-Carlo labels per sample, of those that the gradients have; `nil` for
  ///   methods that draw none.
  func directions(_ method: Method, draws: Int? = nil) throws -> [Direction<S>] {
    if !method.isDamped { return try directions(method, draws, []) }
    let dampings = options.dampings
    let usable = dampings.filter { isNumber(lambda(method, draws, $0)) }
    var found = try unlessBeyondNumbers { try directions(method, draws, usable) }?[...] ?? []
    return dampings.map { damping in
      if found.first?.damping == damping { return found.removeFirst() }
      return beyondNumbers(method, damping, isOfEngine: usable.contains(damping))
    }
  }

  private func beyondNumbers(
    _ method: Method, _ damping: Damping, isOfEngine: Bool
  ) -> Direction<S> {
    .beyondNumbers(
      method: method, damping: damping, count: problem.linearization.parameterCount,
      isOfEngine: isOfEngine)
  }

  private func unlessBeyondNumbers<Result>(_ find: () throws -> Result) throws -> Result? {
    do { return try find() } catch  where error.isOfNumbers { return nil }
  }

  private func lambda(
    _ method: Method, _ draws: Int?, _ damping: Damping
  ) -> BatchGradients<S>.Lambda {
    method.isSampled ? blocks(draws).gradients.sampledLambda(damping) : gradients.lambda(damping)
  }

  private func isNumber(_ lambda: BatchGradients<S>.Lambda) -> Bool {
    lambda.value.isFinite && lambda.scaled.isFinite
  }

  private func directions(
    _ method: Method, _ draws: Int?, _ dampings: [Damping]
  ) throws -> [Direction<S>] {
    switch method {
    case .sgd: return [gradients.gradientDirection]
    case .ef, .ief:
      return try EmpiricalFisher.directions(gradients, method: method, dampings: dampings)
    case .sf:
      return try SampledFisher.directions(blocks(draws).gradients, dampings: dampings)
    case .blockEF, .blockIEF, .blockSF:
      return try BlockDiagonal.directions(blocks(draws), method: method, dampings: dampings)
    case .kfac, .ekfac, .iekfac:
      return try KFAC.directions(blocks(draws), method: method, dampings: dampings)
    case .diagonalEF, .adam, .diagonalIEF:
      return Diagonal.directions(
        gradients, summedSquares(method), method: method, dampings: dampings)
    case .ng, .gn: return try dampings.map { try solved(method, $0) }
    case .truncated: preconditionFailure("\(method.name): iterates come from one solve for all")
    case .update(let name): return [Direction(method: method, form: updates[name]!)]
    }
  }

  /// `ng@k` for every k and damping: the iterates of one solve per damping.
  func truncated() throws -> [FoundDirection<S>] {
    let counts = options.methods.compactMap { method in
      if case .truncated(let iterations) = method { iterations } else { nil }
    }
    if counts.isEmpty { return [] }
    return try options.dampings.flatMap { damping in
      let lambda = gradients.lambda(damping)
      let isUsable = isNumber(lambda) && problem.scaled(damping: lambda.value) != nil
      guard isUsable,
        let iterates = try unlessBeyondNumbers({
          try solver.iterates(gradients, after: counts, damping: lambda.value)
        })
      else {
        return counts.map {
          FoundDirection(
            direction: beyondNumbers(
              .truncated(iterations: $0), damping, isOfEngine: isUsable))
        }
      }
      return zip(counts, iterates).map { count, iterate in
        FoundDirection(
          direction: Direction(
            method: .truncated(iterations: count), damping: damping, lambda: lambda.value,
            scaled: iterate.direction), seconds: iterate.seconds)
      }
    }
  }

  private func solved(_ method: Method, _ damping: Damping) throws -> Direction<S> {
    let lambda = gradients.lambda(damping).value
    let solution = try solver.solve(
      gradients, damping: lambda, metric: method == .ng ? .fisher : .identity)
    return solution.direction(method, damping: damping, lambda: lambda)
  }

  private func blocks(_ draws: Int?) -> TensorBlocks<S> {
    let draws = draws ?? gradients.draws
    if let known = blocks[draws] { return known }
    let made = TensorBlocks(
      draws == gradients.draws ? gradients : BatchGradients(gradients, draws: draws))
    blocks[draws] = made
    return made
  }

  /// `diag-ef` and `adam` share theirs; those of `diag-ief` nobody else needs.
  private func summedSquares(_ method: Method) -> Diagonal.Squares<S> {
    if method == .diagonalIEF { return Diagonal.Squares(gradients, method: method) }
    if let squares { return squares }
    let made = Diagonal.Squares(gradients, method: method)
    squares = made
    return made
  }
}
