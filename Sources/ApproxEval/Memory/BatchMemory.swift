import Curvature
import GraphModule
import HessianFree
import TensorModule
import Training
import Updates

/// Plans the memory of one batch in precision S: what the engine, the methods and the reference will
/// allocate, with a budget for forward values.
struct BatchMemory<S: EngineScalar> {
  let checkpoint: LoadedCheckpoint
  let options: EvaluationOptions
  let samples: Int
  let needs: BatchNeeds<S>
  /// Of the samples that gradients are of: those of the batch, or its scored positions.
  let gradients: BatchNeeds<S>
  let budget: Int
  /// Whether frozen weights that lie in files leave memory once they have been read.
  var releasesPages = false
  /// What an exact reference takes that conjugate gradients are followed by.
  var fallback: ByteCount = 0
  var plan = MemoryPlan()

  var program: Program { checkpoint.program }
  var logits: Int { needs.logitCount }

  init(
    _ checkpoint: LoadedCheckpoint, samples: Int, options: EvaluationOptions, budget: Int
  ) {
    self.checkpoint = checkpoint
    self.options = options
    self.samples = samples
    self.budget = budget
    needs = BatchNeeds(
      checkpoint.program, samples: samples, threads: options.threads, budget: budget)
    gradients = needs.ofGradients(
      checkpoint.tokens, of: samples, threads: options.threads)
  }

  /// Whether directions are combinations of gradients that are not formed.
  var usesCombinations: Bool { needs.usesCombinations && checkpoint.tokens == nil }

  /// All that `BatchEvaluation` takes, in the order in which it does.
  ///
  /// - Parameter updates: Bytes that each update takes on the way to its direction.
  mutating func addScoring(updates: [ByteCount]) {
    addProblem()
    let draws = sampledDraws.max() ?? 0
    plan.keepForAllBatches("updates", updates.total { $0 + needs.vector })
    plan.begin(.gram)
    if checkpoint.tokens != nil { addTokens() }
    plan.keep("sampled labels", drawn(draws))
    addGradients(draws: 1 + draws, isDiagonal: !options.needsGramMatrix)
    plan.begin(.reference)
    addReference()
    plan.begin(.directions)
    addScores(of: addMethods(draws: draws))
  }

  /// The last pass.
  private mutating func addScores(of directions: Int) {
    // They go with what the methods share.
    plan.release("squared gradients")
    plan.release("factors of blocks")
    plan.begin(.jvp)
    let perPass = needs.directionsPerPass
    let together = min(directions, perPass)
    // Where the reference is a combination, tangents of all directions are kept for products with it.
    let isKept = isCombination && !options.reference.needs.isEmpty
    plan.keep(
      "tangents of directions",
      needs.doubles(isKept ? 1 + directions : 0, samples, logits)
        + needs.doubles(directions, samples, 5))
    addPass(tangents: max(together, 1))
    if usesCombinations {
      plan.during([("parts of directions", needs.formedBlocks(together))])
    }
    if !options.perLayer { return }
    let kept = LayerScorer<S>.together(directions, logits: samples * logits)
    if usesCombinations {
      plan.keep(
        "kernels of layer inputs", needs.gramOfTensors(program.trainable, draws: 1).kernels)
    }
    // Of a block, of one of its tensors, and what is found of them.
    plan.during([("tangents of layers", needs.doubles(kept, samples, 2 * logits + 5))])
  }

  /// Whether directions of solvers are combinations, which no preconditioner knows.
  var isCombination: Bool { usesCombinations && options.cgPreconditioner == .none }

  /// Draws of the methods that draw.
  private var sampledDraws: [Int] {
    guard options.methods.contains(where: \.needs.isSampled) else { return [] }
    if !options.monteCarloSamples.isEmpty { return options.monteCarloSamples }
    return [max(checkpoint.data?.sampledLabels?.shape.first ?? 1, 1)]
  }

  /// Per-sample gradients, their Gram matrix and their sum.
  mutating func addGradients(draws: Int, isDiagonal: Bool) {
    let gram = gradients.gram(draws: draws, isDiagonal: isDiagonal)
    plan.keep("per-sample gradients", gradients.rows(draws: draws) + gradients.unfolded)
    addGradientPass(cotangents: draws)
    plan.keep("kernels of layer inputs", gram.kernels)
    plan.keep(isDiagonal ? "gradient norms" : "Gram matrix", gram.matrix)
    plan.during([("work space of the Gram matrix", gram.workspace)])
    plan.keep("directions", usesCombinations ? cotangent : gradients.vector)
    addSum()
  }

  /// That of a combination, where inner products of directions are taken with it.
  private var cotangent: ByteCount {
    options.perLayer || !options.reference.needs.isEmpty
      ? gradients.doubles(gradients.samples, gradients.logitCount) : 0
  }

  /// While a weighted sum of gradients is formed: in double where they cancel.
  private mutating func addSum() {
    let name = "work space of a direction"
    if !usesCombinations { plan.during([(name, gradients.weightedSum(inDouble: false))]) }
    plan.during(
      [(name, gradients.weightedSum(inDouble: true) + gradients.vector)], isExpected: false)
  }

  /// - Returns: How many directions there are.
  private mutating func addMethods(draws: Int) -> Int {
    let dampings = options.dampings.count
    // With the weights of all rows.
    let combination = cotangent + gradients.doubles(1 + draws, gradients.samples)
    var count = 1
    var blocks = Set<[ParameterID]>()
    var squares = Set<MethodNeeds.Squares>()
    if usesCombinations, options.methods.contains(where: \.needs.readsGradient) {
      plan.keep("gradient", gradients.vector)
    }
    plan.keep(
      "statistics that methods share",
      SharedStatistics(options.methods, gradients, layerProgram: sizes(draws: 0).layerProgram).bytes
    )
    for method in options.methods where method != .baseline {
      let own = method.needs
      let variants = own.isSampled ? sampledDraws : [0]
      let groups = own.fisherBlocks?.groups(of: program) ?? []
      if own.usesFisherRows || !groups.isEmpty && sizes(draws: 0).blockSolver(groups) == .matrices {
        addFisherRows()
      } else if !groups.isEmpty {
        addBlockProducts()
      }
      for k in variants { blocks.formUnion(addSystems(of: method, draws: k, all: draws)) }
      let number = variants.count * (own.isDamped ? dampings : 1)
      count += number
      let isCombined = own.solve == nil ? usesCombinations : isCombination
      plan.keep(
        "directions",
        ByteCount(number) * (isCombined && own.isWeightedSum ? combination : gradients.vector))
      if let own = own.squares {
        if squares.insert(own).inserted { plan.keep("squared gradients", gradients.exactVector) }
        // Those of F come from rows of their own.
        let rows = own == .ofFisher ? gradients.rows(draws: 1) : 0
        plan.during([
          ("work space of squared gradients", gradients.squares + gradients.exactVector + rows)
        ])
      }
      if let solve = own.solve {
        addConjugateGradient(isCombination: isCombination && solve == .solution)
      }
      if own.isWeightedSum { addSum() }
    }
    addBlocks(blocks)
    return count
  }

  /// The rows of B, which stay for every method that has them.
  private mutating func addFisherRows() {
    let name = "rows of the Fisher factor"
    if plan.holds(name) { return }
    // Cross-entropy has one column fewer at each position.
    plan.keep(name, gradients.rows(draws: gradients.logitCount))
    addGradientPass(cotangents: gradients.logitCount)
  }

  /// What a method has of its own, and the systems that it solves.
  ///
  /// - Parameters:
  ///   - draws: Of the method; 0 where it has none.
  ///   - all: Of the gradients.
  /// - Returns: Groups of tensors whose blocks of true labels it needs.
  mutating func addSystems(
    of method: UpdateMethod, draws: Int, all: Int
  ) -> Set<[ParameterID]> {
    let sizes = sizes(draws: draws)
    if let workspace = method.workspace(sizes) { plan.during([workspace]) }
    let own = method.needs
    if own.gram == .whole {
      if own.isSampled {
        addSampledFisher(draws: draws, of: all)
      } else {
        addSolver(draws: all)
      }
    }
    let groups = own.gram?.groups(of: sizes.layerProgram) ?? []
    if !own.isSampled { return Set(groups) }
    addSampledBlocks(groups, draws: draws)
    return []
  }

  private func sizes(draws: Int) -> MethodSizes<S> {
    MethodSizes(
      batch: gradients, layerProgram: layerProgram, draws: draws,
      workers: options.threads, blockLimits: options.blockLimits)
  }

  /// Both solvers of `BatchGradients` at once.
  private mutating func addSolver(draws: Int) {
    let name = "factors of the Gram matrix"
    let (own, sampled) = (
      gradients.doubles(gradients.samples, gradients.samples), square(draws * gradients.samples)
    )
    if !plan.holds(name) { plan.keep(name, 2 * (own + sampled)) }
    // One damping is solved for by a Cholesky factorisation, where that keeps enough digits.
    plan.during(
      [("work space of its factorisation", 2 * (own + sampled))],
      isExpected: options.dampings.count > 1)
  }

  private func square(_ count: Int) -> ByteCount { gradients.doubles(count, count) }

  private mutating func addSampledFisher(draws: Int, of all: Int) {
    let rows = draws * gradients.samples
    let isPart = draws < all
    if isPart { plan.keep("Gram matrix", square((1 + draws) * gradients.samples)) }
    if rows >= program.parameterCount {
      plan.during([
        (
          "work space of the singular values",
          LAPACK.singularValuesMemory(rows: rows, columns: program.parameterCount)
        )
      ])
    } else if isPart {
      plan.keep(
        "factors of the Gram matrix", 2 * (square(gradients.samples) + square(rows)))
    } else {
      addSolver(draws: all)
    }
  }

  /// Blocks of true labels, which stay for every method that has them.
  mutating func addBlocks(_ groups: Set<[ParameterID]>) {
    if groups.isEmpty { return }
    let gram = gram(of: groups, draws: 1)
    plan.keep("kernels of layer inputs", gram.kernels)
    plan.keep("factors of blocks", 2 * groups.count * square(gradients.samples))
    plan.during([
      ("Gram matrix of a block", gram.matrix + gram.workspace + 2 * square(gradients.samples)),
      ("work space of a direction", gradients.weightedSum(inDouble: true)),
    ])
  }

  /// The largest Gram matrix of one of these groups, and the kernels of all their tensors.
  private func gram(
    of groups: some Collection<[ParameterID]>, draws: Int
  ) -> BatchNeeds<S>.Gram {
    gradients.gramOfTensors(
      Set(groups.joined()).sorted { $0.index < $1.index }, draws: draws)
  }

  /// Blocks of sampled labels, one after another.
  private mutating func addSampledBlocks(_ groups: [[ParameterID]], draws: Int) {
    if groups.isEmpty { return }
    let rows = draws * gradients.samples
    let gram = gram(of: groups, draws: 1 + draws)
    plan.keep("kernels of layer inputs", gram.kernels)
    let decomposed = groups.map { program.count(of: $0) }.filter { $0 <= rows }.max()
    let singular = decomposed.map { LAPACK.singularValuesMemory(rows: rows, columns: $0) } ?? 0
    plan.during([
      (
        "Gram matrix of a block", max(gram.matrix + max(gram.workspace, 4 * square(rows)), singular)
      ),
      ("work space of a direction", gradients.weightedSum(inDouble: true)),
    ])
  }
}
