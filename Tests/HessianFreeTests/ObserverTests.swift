import Foundation
import HessianFree
import TensorModule
import Testing

/// Writes down what it sees, and ends the solve after so many steps.
private final class Recorder: SolveObserver {
  var accepts = Int.max
  var abandons = Int.max
  private(set) var steps: [SolveStep] = []
  private(set) var iterates: [[Double]] = []
  private(set) var asked: [Int] = []

  func accept(_ step: SolveStep, _ x: Vector<Double>) -> ObserverStop? {
    steps.append(step)
    iterates.append(x.array)
    return step.iteration == accepts ? ObserverStop(label: "enough", description: "It is.") : nil
  }

  func abandon(_ step: SolveStep) -> ObserverStop? {
    asked.append(step.iteration)
    return step.iteration == abandons ? ObserverStop(label: "hopeless", description: "It is.") : nil
  }
}

@Suite struct ObserverTests {
  /// Both solvers on `B^T B x = B^T w`.
  private func solve(
    _ problem: Problem, _ observer: Recorder, _ limits: SolveLimits
  ) throws -> [SolveResult<Double>] {
    let (b, w, rows) = leastSquares(problem)
    let n = problem.dimension
    let gradients = try ConjugateGradient(limits).solve(
      problem.factored(Double.self), rhs: Vector(transposedProduct(b, w, n)),
      workspace: workspace(n), observer: observer)
    let paige = try LSQR(limits).solve(
      DenseFactor<Double>(b, rows: rows, columns: n), target: Vector(w),
      workspace: LSQR.Workspace(rows: rows, columns: n), observer: observer)
    return [gradients, paige]
  }

  private let limits = SolveLimits(relativeTolerance: 1e-10, maxIterations: 200)

  @Test func everyStepIsSeenWithItsIterate() throws {
    let problem = Problem.spd
    let recorder = Recorder()
    let results = try solve(problem, recorder, limits)
    #expect(recorder.steps == results.flatMap(\.steps))
    for result in results {
      let times = result.steps.map(\.seconds)
      #expect(times == times.sorted() && times.allSatisfy { $0 >= 0 })
    }
    let (b, w, _) = leastSquares(problem)
    let right = transposedProduct(b, w, problem.dimension)
    for (step, x) in zip(recorder.steps, recorder.iterates) {
      let (linear, quadratic) = (dot(x, right), pow(gamma(problem, x), 2))
      // A few dozen roundings; those of conjugate gradients cancel to some hundred times that.
      #expect(abs(step.terms.linear / linear - 1) <= 1e-11)
      let expected = quadratic * pow(dot(x, problem.rightHandSide), 2)
      #expect(abs(step.terms.quadratic / expected - 1) <= 1e-11)
      #expect(abs(step.terms.norm / expected.squareRoot() - 1) <= 1e-11)
    }
    // Not asked after the step that has converged.
    let counts = results.map { $0.iterations - 1 }
    #expect(recorder.asked == Array(1...counts[0]) + Array(1...counts[1]))
  }

  @Test func whatItAcceptsIsTheResultAndConverged() throws {
    let recorder = Recorder()
    recorder.accepts = 5
    for result in try solve(.spd, recorder, limits) {
      #expect(result.stop.label == "enough" && result.stop.isConverged)
      #expect(result.iterations == 5 && result.iterate == 5 && result.products == 6)
    }
    #expect(!recorder.asked.contains(5))
  }

  @Test func whatItAbandonsIsNotConverged() throws {
    let recorder = Recorder()
    recorder.abandons = 7
    for result in try solve(.spd, recorder, limits) {
      #expect(result.stop.label == "hopeless" && !result.stop.isConverged)
      #expect(result.iterations == 7 && result.iterate == 7)
      #expect(result.errorEstimate != nil)
    }
  }

  @Test func errorIsEstimatedWhereItIsAskedFor() throws {
    var limits = SolveLimits(maxIterations: 6)
    #expect(try solve(.spd, Recorder(), limits).allSatisfy { $0.errorEstimate != nil })
    limits.estimatesError = false
    #expect(try solve(.spd, Recorder(), limits).allSatisfy { $0.errorEstimate == nil })
  }
}
