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
  let budget: Int
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
  }

  // MARK: - The batch itself

  /// Parameters as `LoadedCheckpoint.parameters` has them.
  mutating func addParameters(areRead: Bool = true) {
    var bytes: ByteCount = 0
    for (spec, offset) in zip(program.graph.parameters, program.offsets) {
      guard let tensor = try? checkpoint.source.parameter(spec.name) else { continue }
      bytes += tensor.residentBytes
      let stored = tensor.dtype == .f32 ? 4 : tensor.dtype == .f64 ? 8 : 0
      let isInPlace =
        stored == MemoryLayout<S>.stride && spec.storage == .plain && (areRead || offset == nil)
      if !isInPlace { bytes += needs.scalars(spec.count) }
    }
    plan.keep("parameters", bytes)
  }

  /// Inputs, labels and what is known of the outputs.
  mutating func addBatch() {
    var bytes: ByteCount = 0
    for spec in program.graph.inputs {
      let count = spec.shape.reduce(1, *)
      // Whole numbers are gathered before they are moved.
      bytes += spec.kind == .real ? needs.scalars(samples, count) : needs.doubles(samples, count, 2)
    }
    if let data = checkpoint.data {
      for tensor in [data.labels] + [data.weights].compactMap({ $0 }) + data.others.values {
        bytes += tensor.residentBytes(runs: samples, of: tensor.byteCount / max(data.count, 1))
      }
      if let sampled = data.sampledLabels {
        bytes += sampled.residentBytes(
          runs: samples * (sampled.shape.first ?? 0), of: sampled.byteCount / max(data.count, 1))
      }
    }
    let draws = checkpoint.data?.sampledLabels?.shape.first ?? 0
    let settings = checkpoint.lossSettings
    for weights in [settings.classWeights, settings.positiveWeights] {
      bytes += needs.doubles(weights?.value.count ?? 0)
    }
    plan.keep("batch", bytes + labels(samples))
    plan.keep("sampled labels", drawn(draws))
    plan.keep("output distribution", distribution(samples))
  }

  /// Labels of so many samples and their weights, with what turns them into gradients.
  func labels(_ samples: Int) -> ByteCount {
    // The samples' own as they are read and kept, and those of the loss.
    let weights = isWeighted ? 4 : 0
    guard checkpoint.loss == .crossEntropy else {
      return needs.doubles(samples, logits, 4 + weights)
    }
    // Soft labels as they are read and kept; of these and of smoothed ones a gradient of all classes.
    let ofClasses = (checkpoint.hasSoftLabels ? 2 : 0) + (isSpread ? 1 : 0)
    return needs.doubles(samples, program.graph.positions, 6 + weights)
      + needs.doubles(samples, logits, ofClasses)
  }

  private func distribution(_ samples: Int) -> ByteCount {
    needs.doubles(samples, logits, checkpoint.loss == .crossEntropy ? 1 : 3)
  }

  /// Whether a label of cross-entropy may speak of several classes.
  private var isSpread: Bool {
    checkpoint.hasSoftLabels || (checkpoint.lossSettings.labelSmoothing?.value ?? 0) > 0
  }

  /// Whether each position or output has a number that multiplies its loss.
  private var isWeighted: Bool {
    let settings = checkpoint.lossSettings
    return isSpread || checkpoint.data?.weights != nil || settings.classWeights != nil
      || settings.positiveWeights != nil
  }

  /// Gradients of sampled labels w.r.t. the outputs.
  func drawn(_ draws: Int) -> ByteCount {
    checkpoint.loss == .crossEntropy
      ? needs.doubles(isWeighted ? 4 : 3, draws, samples, program.graph.positions)
      : needs.doubles(2, draws, samples, logits)
  }

  /// Parameters, batch and forward pass.
  mutating func addProblem() {
    addParameters()
    addBatch()
    plan.keep("forward values", needs.forward)
  }

  mutating func keepArenas(tangents: Int, cotangents: Int) {
    plan.keep(
      "tangents and cotangents",
      needs.arenas(tangents: tangents, cotangents: cotangents) + needs.accumulators)
  }

  // MARK: - Scoring

  /// All that `BatchEvaluation` takes.
  ///
  /// - Parameter updates: Bytes that each update takes on the way to its direction.
  mutating func addScoring(updates: [ByteCount]) {
    addProblem()
    let draws = sampledDraws.max() ?? 0
    let isSolved = options.needsGramMatrix
    addGradients(draws: 1 + draws, isDiagonal: !isSolved)
    plan.keep("sampled labels", drawn(draws))
    for update in updates { plan.keep("updates", update + needs.vector) }
    let directions = addMethods(draws: draws)
    plan.keep("directions", directions.bytes)
    addReference()
    let perPass = needs.directionsPerPass
    var tangents = min(directions.count, perPass)
    if options.perLayer {
      let width = min(perPass, max(1, LayerScorer<S>.copyBytes / max(needs.vector.value, 1)))
      let tensors = min(program.trainable.count, max(width, LayerScorer<S>.widestBlock(program)))
      tangents = max(tangents, tensors)
      plan.during([
        ("directions restricted to tensors", ByteCount(tensors) * needs.vector),
        ("directions", needs.vector),
      ])
    }
    keepArenas(tangents: max(tangents, 1), cotangents: 1 + draws)
    plan.during([
      // With what each sample adds to gamma, and how gamma answers to it.
      ("tangents of directions", needs.doubles(min(directions.count, perPass), samples, logits + 5))
    ])
  }

  /// Draws of the methods that draw.
  private var sampledDraws: [Int] {
    guard options.methods.contains(where: \.needs.isSampled) else { return [] }
    if !options.monteCarloSamples.isEmpty { return options.monteCarloSamples }
    return [max(checkpoint.data?.sampledLabels?.shape.first ?? 1, 1)]
  }

  /// Per-sample gradients, their Gram matrix and their sum.
  mutating func addGradients(draws: Int, isDiagonal: Bool) {
    let gram = needs.gram(draws: draws, isDiagonal: isDiagonal)
    plan.keep("per-sample gradients", needs.rows(draws: draws) + needs.unfolded)
    plan.keep("kernels of layer inputs", gram.kernels)
    plan.keep(isDiagonal ? "gradient norms" : "Gram matrix", gram.matrix)
    plan.during([("work space of the Gram matrix", gram.workspace)])
    plan.keep("directions", needs.usesCombinations ? needs.doubles(samples, logits) : needs.vector)
    plan.during([("work space of a direction", needs.weightedSum(inDouble: false) + needs.vector)])
  }

  /// - Returns: How many directions there are, and what they take.
  private mutating func addMethods(draws: Int) -> (count: Int, bytes: ByteCount) {
    let dampings = options.dampings.count
    let combined = needs.usesCombinations
    // Weights of all rows, and the cotangent.
    let combination = needs.doubles(samples, logits) + needs.doubles(1 + draws, samples)
    var (count, bytes): (Int, ByteCount) = (1, 0)
    var tensorBlocks = Set<ParameterID>()
    var squares = Set<MethodNeeds.Squares>()
    for method in options.methods {
      let own = method.needs
      let variants = own.isSampled ? sampledDraws : [0]
      let number = variants.count * (own.isDamped ? dampings : 1)
      count += number
      let isCombination =
        combined && own.isWeightedSum && options.cgPreconditioner == .none
      bytes += ByteCount(number) * (isCombination ? combination : needs.vector)
      for k in variants { tensorBlocks.formUnion(addSystems(of: method, draws: k, all: draws)) }
      if let own = own.squares {
        if squares.insert(own).inserted { plan.keep("squared gradients", needs.exactVector) }
        // Those of F come from rows of their own.
        let rows = own == .ofFisher ? needs.rows(draws: 1) : 0
        plan.during([("work space of squared gradients", needs.squares + needs.exactVector + rows)])
      }
      if let solve = own.solve {
        addConjugateGradient(isCombination: isCombination && solve == .solution)
      }
    }
    addTensorBlocks(tensorBlocks)
    return (count, bytes)
  }

  /// What a method has of its own, and the systems that it solves.
  ///
  /// - Parameters:
  ///   - draws: Of the method; 0 where it has none.
  ///   - all: Of the gradients.
  /// - Returns: Tensors whose blocks of true labels it needs.
  mutating func addSystems(
    of method: UpdateMethod, draws: Int, all: Int
  ) -> [ParameterID] {
    let layerProgram = checkpoint.layerProgram ?? program
    let sizes = MethodSizes(
      batch: needs, layerProgram: layerProgram, draws: draws, workers: options.threads)
    if let workspace = method.workspace(sizes) { plan.during([workspace]) }
    let tensors: [ParameterID]
    switch method.needs.gram {
    case nil: return []
    case .whole:
      if method.needs.isSampled {
        addSampledFisher(draws: draws, of: all)
      } else {
        addSolver(draws: all)
      }
      return []
    case .tensors, .modules: tensors = program.trainable
    case .exceptions: tensors = KroneckerPlan(layerProgram).exact.map(\.parameter)
    }
    if !method.needs.isSampled { return tensors }
    addSampledBlocks(tensors, draws: draws)
    return []
  }

  /// Both solvers of `BatchGradients` at once.
  private mutating func addSolver(draws: Int) {
    let name = "factors of the Gram matrix"
    let (own, sampled) = (needs.doubles(samples, samples), square(draws * samples))
    if plan.bytes(of: name) == 0 { plan.keep(name, 2 * (own + sampled)) }
    plan.during([("work space of its factorisation", 2 * (own + sampled))])
    plan.during([("work space of a direction", needs.weightedSum(inDouble: true) + needs.vector)])
  }

  private func square(_ count: Int) -> ByteCount { needs.doubles(count, count) }

  private mutating func addSampledFisher(draws: Int, of all: Int) {
    let rows = draws * samples
    let isPart = draws < all
    if isPart { plan.keep("Gram matrix", square((1 + draws) * samples)) }
    if rows >= program.parameterCount {
      plan.during([
        (
          "work space of the singular values",
          needs.singularValues(rows: rows, columns: program.parameterCount)
        )
      ])
    } else if isPart {
      plan.keep(
        "factors of the Gram matrix", 2 * (square(samples) + square(rows)))
    } else {
      addSolver(draws: all)
    }
  }

  /// Blocks of true labels, which stay for every method that has them.
  mutating func addTensorBlocks(_ tensors: Set<ParameterID>) {
    if tensors.isEmpty { return }
    let gram = needs.gramOfTensors(tensors.sorted { $0.index < $1.index }, draws: 1)
    plan.keep("kernels of layer inputs", gram.kernels)
    plan.keep("factors of blocks", 2 * tensors.count * square(samples))
    plan.during([
      ("Gram matrix of a block", gram.matrix + gram.workspace + 2 * square(samples)),
      ("work space of a direction", needs.weightedSum(inDouble: true)),
    ])
  }

  /// Blocks of sampled labels, one after another.
  private mutating func addSampledBlocks(_ tensors: [ParameterID], draws: Int) {
    if tensors.isEmpty { return }
    let rows = draws * samples
    let gram = needs.gramOfTensors(tensors, draws: 1 + draws)
    plan.keep("kernels of layer inputs", gram.kernels)
    let decomposed = tensors.map { program.graph.parameters[$0.index].count }.filter {
      $0 <= rows
    }.max()
    let singular = decomposed.map { needs.singularValues(rows: rows, columns: $0) } ?? 0
    plan.during([
      (
        "Gram matrix of a block", max(gram.matrix + max(gram.workspace, 4 * square(rows)), singular)
      ),
      ("work space of a direction", needs.weightedSum(inDouble: true)),
    ])
  }
}
