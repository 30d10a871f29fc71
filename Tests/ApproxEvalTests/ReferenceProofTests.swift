import Curvature
import HessianFree
import TensorModule
import TestSupport
import Testing

@testable import ApproxEval

/// What is said to be proved of a reference, against directions that try to beat it.
struct ReferenceProofTests {
  private static let names = [
    "golden/tokens_ignore", "golden/mlp_trained", "golden/layers_tokens", "golden/mse_mlp",
    "golden/layers_recurrent",
  ]

  @Test(arguments: names)
  func noDirectionBeatsWhatIsProved(_ name: String) throws {
    let problem: BatchProblem<Double> = try fixtureProblem(name)
    let gradient = ScaledVector(vector: problem.gradient(), scale: 1)
    let natural = try DenseReference(problem, memory: 1 << 30).solve(damping: 0, Double.self)
    var proofs = 0
    for solution in try solutions(problem, gradient) + [natural] {
      let solution = problem.proved(solution, gradient: gradient, gap: 1e-6)
      let x = solution.direction
      let lengthOfX = length(x, problem, gradient)
      for d in directions(problem, gradient, x, natural.direction) {
        let gamma = problem.quadratics([d])[0].unscaled.gamma
        if gamma.isNaN { continue }
        // Products in double, and gamma from a sum of squares: some digits of 16.
        if let least = solution.record.leastGamma {
          proofs += 1
          #expect(gamma >= least * (1 - 1e-9), "\(solution.record): \(gamma / least - 1)")
        }
        if let least = solution.record.leastGammaOfShort,
          length(d, problem, gradient) <= 2 * lengthOfX
        {
          proofs += 1
          #expect(gamma >= least * (1 - 1e-9), "\(solution.record): \(gamma / least - 1)")
        }
      }
    }
    // Where the certificate proves all that is asked for, the residual is not asked.
    let isTight = natural.record.gamma <= (1 + 1e-6) * problem.output.gammaBound
    #expect(proofs > 0 || isTight)
  }

  /// The certificate is 35 % off, as 60 of the 80 rows depend on the others; the residual, and the
  /// singular values that are left, are not.
  @Test(arguments: [ReferenceMethod.cg, .lsqr, .gram, .dense])
  func wideBracketsGetNarrow(_ kind: ReferenceMethod) throws {
    var options = EvaluationOptions()
    options.reference = kind
    options.precision = .float64
    options.cgTolerance = 1e-9
    options.cgIterations = 300
    let found = try Evaluation(options, pool: WorkerPool(threads: 2)).reference(
      checkpoint: fixture("golden/tokens_ignore.bin"))
    #expect(found.record.isConverged)
    #expect(found.record.gamma / found.gammaBound - 1 > 0.3)
    let short = try #require(found.excess.ofShort)
    let bound = try #require(found.excess.bound)
    #expect((0...1e-6).contains(short) && bound >= short)
    // Iterations know nothing of the singular values, and B B^T has lost the small ones.
    #expect(kind == .dense ? bound <= 1e-3 : bound > 0.3, "\(bound)")
  }

  /// 2 parameters, 2 logits, by hand: x is half of what it should be, in one of the two.
  @Test func theFormulas() throws {
    // B = diag(2, 1), w = (1, 1), g = (2, 1); x = (0.5, 0.5) leaves r = (0, 0.5).
    let proof = ReferenceProof(image: (1 + 0.25).squareRoot())
    // The least gamma is 1 / sqrt(2) = 0.7071.
    let all = try #require(proof.least(residual: 0.5, leastSingularValue: 1))
    #expect(abs(all - 1 / (1.25.squareRoot() + 0.5)) <= 1e-15 && all < 0.5.squareRoot())
    // |x| / x^T g = sqrt(0.5) / 1.5, and the natural gradient (0.5, 1) is 1.12 / 2 for its slope.
    let cosine = 1.5 / (0.5.squareRoot() * 5.0.squareRoot())
    let short = try #require(
      proof.least(residual: 0.5 / 5.0.squareRoot(), cosine: cosine, reach: 2))
    let expected = (1 - 0.5 * 2 * 0.5.squareRoot() / 1.5) / 1.25.squareRoot()
    #expect(abs(short - expected) <= 1e-15)
    #expect(proof.least(residual: 1, cosine: 0.1, reach: 2) == nil)
  }

  // MARK: -

  private func solutions(
    _ problem: BatchProblem<Double>, _ gradient: ScaledVector<Double>
  ) throws -> [ReferenceSolution<Double>] {
    var options = EvaluationOptions()
    options.cgGap = 0
    options.cgTolerance = 1e-10
    var found: [ReferenceSolution<Double>] = []
    for iterations in [3, 10, 40, 400] {
      options.cgIterations = iterations
      let solver = ReferenceSolver<Double>(options)
      found.append(try solver.conjugateGradient(problem, gradient: gradient))
      found.append(try solver.lsqr(problem))
    }
    let gram = try GramReference(problem, memory: 1 << 30)
    found.append(try gram.solve(gradient: gradient, damping: 0, gap: 1e-6, tolerance: 1e-9))
    for gap in [1e-2, 1e-3, 1e-5] {
      found += gram.bracketedSolution(gradient: gradient, gap: gap).map { [$0] } ?? []
    }
    let leading = LeadingReference(problem, memory: 1 << 30)
    for gap in [0.3, 1e-2] {
      found.append(try leading.solve(gradient: gradient, damping: 0, gap: gap, tolerance: 0))
    }
    return found
  }

  /// Random ones, the reference perturbed, steps from it along what its residual leaves, which gain
  /// the most, and the way to the natural gradient and beyond.
  private func directions(
    _ problem: BatchProblem<Double>, _ gradient: ScaledVector<Double>, _ x: ScaledVector<Double>,
    _ natural: ScaledVector<Double>
  ) -> [ScaledVector<Double>] {
    var random = SeededGenerator(seed: 7)
    func vector(_ scaled: ScaledVector<Double>) -> [Double] {
      scaled.vector.array.map { $0 * scaled.scale }
    }
    let (own, g, best) = (vector(x), vector(gradient), vector(natural))
    let product = Vector<Double>(count: own.count)
    _ = try? FisherOperator(problem.linearization, problem.output).apply(
      Vector(own), into: product)
    let residual = zip(g, product.array).map { $0 - $1 }
    let noise = (0..<4).map { _ in random.normals(own.count) }
    let size = dot(own, own).squareRoot()
    var found = noise + [g, own, best]
    for other in noise + [residual, g, zip(best, own).map { $0 - $1 }] {
      let length = dot(other, other).squareRoot()
      guard length > 0 else { continue }
      for step in [1e-8, 1e-5, 1e-3, 1e-2, 0.1, 0.3, 1, 1.7] {
        for sign in [1.0, -1] {
          found.append(zip(own, other).map { $0 + sign * step * size / length * $1 })
          found.append(zip(best, other).map { $0 + sign * step * size / length * $1 })
        }
      }
    }
    return found.map { ScaledVector(vector: Vector($0), scale: 1) }
  }

  /// `|d| / |d^T g|`
  private func length(
    _ d: ScaledVector<Double>, _ problem: BatchProblem<Double>, _ gradient: ScaledVector<Double>
  ) -> Double {
    let operations = problem.operations
    return operations.norm(d.vector) / abs(operations.dot(d.vector, gradient.vector))
  }
}
