import Curvature
import HessianFree
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// Every method of the list over the case list, against its definition in dense loops and Gaussian
/// elimination.
struct FormulaTests {
  /// With one of each family whose directions are made here.
  static let methods = UpdateMethod.named + [.truncated(iterations: 2)]

  @Test(arguments: methods)
  func everyMethodHasAFormula(_ method: UpdateMethod) {
    #expect(denseFormulas[method.name] != nil, "Tests/UpdatesTests/DenseFormulas.swift")
  }

  @Test(arguments: cases + [lowRank, tiedRows], methods)
  func directionsAreTheFormulasInDouble(_ test: Case, _ method: UpdateMethod) throws {
    try check(test, method, Double.self, \.inDouble)
  }

  @Test(arguments: cases + [lowRank, tiedRows], methods)
  func directionsAreTheFormulasInSingle(_ test: Case, _ method: UpdateMethod) throws {
    try check(test, method, Float.self, \.inSingle)
  }

  private func check<S: EngineScalar>(
    _ test: Case, _ method: UpdateMethod, _: S.Type,
    _ tolerance: KeyPath<DenseFormula, DenseFormula.Tolerance>
  ) throws {
    let formula = try #require(denseFormulas[method.name])
    let isSampled = method.needs.isSampled
    for draws in isSampled ? formula.draws : [0] {
      let oracle = DenseOracle(Problem(test))
      let labels = oracle.problem.drawnLabels(draws, seed: test.seed &+ 600)
      // What the definition makes of gradients that are rounded otherwise: in single precision they are off
      // by some 1e-6, in double by 1e-14.
      let rounded =
        formula.liftsRounding
        ? DenseOracle(Problem(test).rounded(S.self == Double.self ? 1e-14 : 1e-6)) : nil
      let (engine, gradients) = try batch(oracle, draws: labels, S.self)
      let context = DirectionContext(gradients, source: EngineSolves(gradients: gradients))
      let largest = isSampled ? oracle.largestSampled(labels) : oracle.largest
      let dampings = method.needs.isDamped ? formula.dampings.map { Damping($0)! } : []
      let found = try method.directions(context, dampings: dampings)
      #expect(found.map(\.damping) == (dampings.isEmpty ? [nil] : dampings))
      for direction in found {
        let lambda = direction.damping.map { $0.isRelative ? $0.value * largest : $0.value }
        let used = direction.lambda ?? 0
        #expect((direction.lambda == nil) == (lambda == nil))
        #expect(mismatch(used, lambda ?? 0, tolerance: 1e-4) == nil)
        var tolerance = formula[keyPath: tolerance](lambda.map { $0 / largest } ?? 1)
        let (own, expected) = (
          engine.direction(direction.scaled), formula.direction(oracle, labels, used)
        )
        if let rounded {
          // One other rounding says the size of the change, of which the largest of many is some times.
          let change = distance(formula.direction(rounded, labels, used), expected)
          tolerance = max(tolerance, 10 * change)
          // What single precision makes of null vectors no change of parameters shows: then it is the
          // direction that has to know.
          if S.self == Float.self { tolerance = max(tolerance, 10 * direction.relativeError) }
        }
        let worst =
          formula.isUpToScale
          ? mismatchUpToScale(own, expected, tolerance: tolerance)
          : mismatch(own, expected, tolerance: tolerance)
        #expect(
          worst == nil, "\(method.name) at \(direction.damping?.text ?? "none"), \(draws) draws")
        if formula.knowsItsError { #expect(direction.relativeError < tolerance) }
      }
    }
  }
}

/// Solves with the engine's products.
private struct EngineSolves<S: EngineScalar>: DirectionSource {
  let gradients: BatchGradients<S>

  func solution(_ metric: OutputMetric, _ damping: Damping) throws -> Direction<S> {
    try direction(metric, damping, iterations: 10 * gradients.linearization.parameterCount)
  }

  func iterate(after iterations: Int, _ damping: Damping) throws -> Direction<S> {
    try direction(.fisher, damping, iterations: iterations)
  }

  func update(_ name: String) -> Direction<S> { preconditionFailure("no update \(name)") }

  private func direction(
    _ metric: OutputMetric, _ damping: Damping, iterations: Int
  ) throws -> Direction<S> {
    let linearization = gradients.linearization
    let lambda = gradients.lambda(damping).value
    let workspace = ConjugateGradient.Workspace<S>(
      VectorOperations(pool: linearization.pool, count: linearization.parameterCount))
    let curvature = DampedOperator(
      FisherOperator(linearization, gradients.output, metric: metric), mu: lambda,
      operations: workspace.operations)
    let gradient = gradients.gradient
    let solver = ConjugateGradient(
      SolveLimits(relativeTolerance: 1e-14, maxIterations: iterations))
    let result = try solver.solve(
      curvature, rhs: gradient.vector, into: Vector(count: gradient.vector.count),
      workspace: workspace)
    return Direction(
      damping: damping, lambda: lambda,
      scaled: ScaledVector(vector: result.x, scale: gradient.scale))
  }
}
