import Foundation
import HessianFree
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// What a solve is told of its iterates, and of the vectors that a run makes for its solves.
@Suite struct GammaObserverTests {
  private func observer(
    bound: Double?, gap: Double = 1e-3, outlook: ReferenceOutlook? = nil, mu: Double = 0
  ) -> GammaObserver<Double> {
    GammaObserver(
      SolveUnits(phi: 1, mu: mu, gamma: 4, bound: bound), gap: gap, outlook: outlook, mu: mu,
      rounding: .ulpOfOne, VectorOperations(pool: WorkerPool(threads: 1), count: 2))
  }

  private func step(_ iteration: Int, gamma: Double) throws -> SolveStep {
    // One step of conjugate gradients on `A = gamma^2` and `b = 1`: x^T b = x^T A x = gamma^-2.
    struct Scale: LinearOperator {
      let factor: Double
      let dimension = 1
      let isPositiveSemidefinite = true
      func apply(_ v: Vector<Double>, into product: Vector<Double>) throws(SolveError) -> Double {
        product[0] = factor * v[0]
        return product[0] * v[0]
      }
    }
    let space = VectorOperations<Double>(pool: WorkerPool(threads: 1), count: 1)
    let result = try ConjugateGradient().solve(
      Scale(factor: gamma * gamma), rhs: Vector([1.0]), into: Vector(count: 1),
      workspace: ConjugateGradient.Workspace(space))
    var step = result.steps[0]
    step.iteration = iteration
    return step
  }

  private let x = Vector([3.0, 4])

  @Test func aGammaWithinTheGapOfItsBoundIsAccepted() throws {
    let found = observer(bound: 1)
    #expect(found.accept(try step(1, gamma: 1.002), x) == nil)
    let stop = try #require(found.accept(try step(2, gamma: 1.0009), x))
    #expect(stop.label == "certificate")
    #expect(stop.description.hasPrefix("Converged: gamma 4.0036"))
    #expect(stop.description.hasSuffix("of 4.0, the least that any direction can have."))
    // In the units of the gradient.
    #expect(found.trace.map(\.iteration) == [1, 2])
    #expect(abs(found.trace[0].gamma / 4.008 - 1) <= 1e-12)
    #expect(observer(bound: nil).accept(try step(1, gamma: 1), x) == nil)
    #expect(observer(bound: 1, gap: 0).accept(try step(1, gamma: 1), x) == nil)
  }

  @Test func gammaIsThatOfTheOperatorWithoutItsDamping() throws {
    // x^T A x = 1 at mu |x|^2 = 25 mu.
    let terms = try step(1, gamma: 1).terms
    #expect(observer(bound: nil).gamma(terms, x) == 1)
    #expect(abs(observer(bound: nil, mu: 0.02).gamma(terms, x) - 0.5.squareRoot()) <= 1e-15)
    // Nothing but rounding is left.
    #expect(observer(bound: nil, mu: 0.04).gamma(terms, x).isNaN)
  }

  @Test func itIsAbandonedWhereTheOutlookIsPoor() throws {
    let outlook = ReferenceOutlook(target: 1e-3, iteration: 1, growth: 0, alternative: 500)
    func end(_ excess: (Int) -> Double) throws -> Int? {
      let found = observer(bound: 1, outlook: outlook)
      for k in 1...64 {
        let step = try step(k, gamma: 1 + excess(k))
        #expect(found.accept(step, x) == nil)
        if let stop = found.abandon(step) {
          #expect(stop.label == "abandoned" && stop.description.contains("iteration \(k):"))
          return k
        }
      }
      return nil
    }
    // No rate before 24 iterations, and a look at it every eight.
    #expect(try end { _ in 0.3 } == ReferenceOutlook.fewest)
    #expect(try end { exp(-Double($0) / 10) } == nil)
    let late = try #require(try end { exp(-Double(min($0, 28)) / 10) })
    #expect(late % 8 == 0 && (32...56).contains(late))
  }

  @Test func missingErrorLowersGamma() {
    // 1 / sqrt(1 / 4 + 3 / 4)
    #expect(GammaObserver<Double>.least(below: 2, missing: 0.75) == 1)
    #expect(GammaObserver<Double>.least(below: .nan, missing: 1) == nil)
    #expect(GammaObserver<Double>.least(below: 1e200, missing: 1) == nil)
  }

  // MARK: - Workspace

  /// The second batch of a run, and every damping of either, make no vector for their solves.
  @Test(arguments: [ReferenceMethod.cg, .lsqr], [PreconditionerKind.none, .jacobi])
  func solvesOfARunUseTheVectorsOfTheFirst(
    _ kind: ReferenceMethod, preconditioner: PreconditionerKind
  ) throws {
    var options = EvaluationOptions()
    options.dataFile = fixture("digits/digits.safetensors")
    options.batchSize = 16
    options.batches = 3
    options.methods = [.sgd, .ng, .gn, .truncated(iterations: 4)]
    options.dampings = [Damping("1e-2")!, Damping("1")!]
    options.reference = kind
    options.cgPreconditioner = preconditioner
    options.cgIterations = 12
    options.precision = .float32
    let evaluation = Evaluation(options, pool: WorkerPool(threads: options.threads))
    let checkpoint = try LoadedCheckpoint(path: fixture("digits/epoch-03.bin"), options: options)
    let source = try evaluation.source(checkpoint)
    let scorer = try BatchScorer<Float>(
      evaluation, checkpoint, source,
      evaluation.budget(checkpoint, source, .score(updates: []), Float.self))
    let made = try (0..<3).map { batch in
      _ = try scorer.score(batch)
      return scorer.workspace.vectorsMade
    }
    #expect(made[0] > 0 && made[1] == made[0] && made[2] == made[0], "\(made)")
  }
}
