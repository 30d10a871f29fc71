import Curvature
import GraphModule
import HessianFree
import TensorModule

// What solves for the natural gradient.
extension BatchMemory {
  mutating func addConjugateGradient(isCombination: Bool) {
    if isCombination {
      // With right-hand side and solution.
      let count = (2 * ByteCount(samples) * ByteCount(logits)).value
      addIterations("pairs of conjugate gradients", 6, of: count, Double.self)
    } else {
      let isPreconditioned = options.cgPreconditioner != .none
      addIterations(
        "vectors of conjugate gradients", isPreconditioned ? 5 : 4, of: program.parameterCount,
        S.self, keepsResiduals: !isPreconditioned)
    }
    addProduct()
    plan.during(
      [
        ("rows of conjugate gradients", isCombination ? 2 * needs.rows(draws: 1) : 0),
        ("parts of a direction", isCombination ? needs.formedBlocks(1) : 0),
        ("solution", isCombination ? 0 : needs.vector),
      ] + preconditioner)
  }

  /// So many vectors, and the residuals of at least one iteration and at most all.
  private mutating func addIterations<Scalar>(
    _ name: String, _ vectors: Int, of count: Int, _: Scalar.Type, keepsResiduals: Bool = true
  ) {
    let limits = SolveLimits(maxIterations: options.cgIterations)
    let own = vectors * ByteCount(vector: ByteCount(count), of: Scalar.self)
    func kept(_ iterations: Int) -> ByteCount {
      keepsResiduals ? limits.keptBytes(of: count, Scalar.self, after: iterations) : 0
    }
    plan.keepForAllBatches(name, own + kept(.max), expected: own + kept(1))
  }

  private var preconditioner: [(name: String, bytes: ByteCount)] {
    switch options.cgPreconditioner {
    case .none: return []
    case .jacobi:
      return [
        (
          "preconditioner",
          3 * needs.exactVector + needs.squares + needs.rows(draws: 1) + needs.vector
        )
      ]
    case .sf:
      let draws = Preconditioning<S>.draws
      let gram = needs.gram(draws: draws)
      return [
        (
          "preconditioner",
          needs.rows(draws: draws) + gram.kernels + 2 * gram.matrix + gram.workspace
            + needs.arenas(tangents: 0, cotangents: draws) + 2 * needs.vector
        )
      ]
    }
  }

  /// The reference of the options; `auto` and `dense` take what they find room for beside it.
  mutating func addReference() {
    let wanted = options.reference.needs
    if wanted.isEmpty { return }
    if wanted.contains(.conjugateGradients) { addConjugateGradient(isCombination: isCombination) }
    if wanted.contains(.lsqr) { addLSQR() }
    if options.reference == .auto {
      plan.during(
        [("forecast of iterations", IterationForecast.bytes(samples: samples))], isExpected: false)
    }
    let matrices = [
      wanted.contains(.gramMatrix) ? gramReference : nil,
      wanted.contains(.factorMatrix) ? denseReferences.min() : nil,
      wanted.contains(.leadingRows) ? leadingReference(rowsPerPosition: 1) : nil,
    ]
    plan.reserve(
      "matrix of the reference", max(fallback, matrices.compactMap { $0 }.min() ?? 0))
    plan.keep("directions", isCombination ? needs.rows(draws: 1) : needs.vector)
    plan.during([("work space of a direction", 3 * needs.vector)])
  }

  private mutating func addLSQR() {
    let limits = SolveLimits(maxIterations: options.cgIterations)
    let rows = needs.doubles(samples, logits)
    func history(_ iterations: Int) -> ByteCount {
      limits.keptBytes(of: samples * logits, Double.self, after: iterations)
        + limits.keptBytes(of: program.parameterCount, S.self, after: iterations)
    }
    plan.keepForAllBatches(
      "vectors of LSQR", 4 * (needs.vector + rows) + history(.max),
      expected: 4 * (needs.vector + rows) + history(1))
    addProduct()
    plan.during([("work space of LSQR", 2 * needs.vector + 4 * rows)])
  }

  /// Columns of the root of H of full rank, per position.
  private var rank: Int {
    checkpoint.loss == .crossEntropy ? program.graph.classes - 1 : program.graph.classes
  }

  private var gramReference: ByteCount {
    ByteCount(GramNeeds(needs, draws: program.graph.positions * rank).total)
  }

  /// With so many rows of each position at the most.
  private func leadingReference(rowsPerPosition: Int) -> ByteCount {
    let rows = samples * program.graph.positions * min(rank, rowsPerPosition)
    return ByteCount(
      LeadingReference<S>.requiredMemory(needs, rows: rows, threads: options.threads))
  }

  /// The same with a second one in double.
  private var doubleGramReference: ByteCount {
    let exact = inDouble
    return gramReference + doubleProblem + exact.gramReference
  }

  /// What exact references may take.
  var referenceDemands: [Int] {
    ([gramReference, doubleGramReference] + denseReferences).map(\.value)
  }

  /// What conjugate gradients may be followed by takes at the most, of what is left for it.
  func fallback(within budget: MemoryBudget) -> ByteCount {
    let costs = ReferenceChoice.Costs(
      program, samples: samples, rank: rank, options: options, budget: budget, S.self)
    let choice = ReferenceChoice(options, memory: budget.reference, costs)
    let demands = choice.fallbacks.flatMap { fallback in
      switch fallback {
      case .leading: [ByteCount]()
      case .bracket: [gramReference]
      case .exact(let method):
        method.needs.contains(.factorMatrix)
          ? [ByteCount(costs.svdMemory)] : [gramReference, doubleGramReference]
      }
    }
    // How many rows the leading classes have is told by numbers.
    let leading =
      options.reference == .auto && options.cgDamping == 0 && options.cgGap > 0
        && needs.batch.keptSamples == samples
      ? min(
        leadingReference(rowsPerPosition: LeadingReference<S>.mostRowsPerPosition),
        ByteCount(budget.reference)) : 0
    return max(leading, demands.filter { $0.value <= budget.reference }.max() ?? 0)
  }

  /// By the rows of B, and where these are more than its columns by these.
  private var denseReferences: [ByteCount] {
    let counts = ProductCounts(program, samples: samples, scalar: MemoryLayout<S>.stride)
    let exact = inDouble.needs
    return FactorCosts.all(exact, counts).map { $0.memory + doubleProblem }
  }

  private var inDouble: BatchMemory<Double> {
    var exact = BatchMemory<Double>(
      checkpoint, samples: samples, options: options, budget: budget)
    exact.releasesPages = releasesPages
    return exact
  }

  /// The same batch in double beside this one.
  var doubleProblem: ByteCount {
    if S.self == Double.self { return 0 }
    var exact = inDouble
    exact.addProblem()
    exact.addProduct()
    return ByteCount(exact.plan.total) + exact.needs.rows(draws: 1)
  }
}
