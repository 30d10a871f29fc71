import Curvature
import TensorModule
import Training

// What other commands than `score` do with a batch.
extension BatchMemory {
  /// The natural gradient written to a file.
  mutating func addReferenceFile() {
    addProblem()
    addGradients(draws: 1, isDiagonal: true)
    addReference()
    plan.during([("tensors to write", 2 * needs.vector)])
  }

  /// `Evaluation.selfCheck`.
  mutating func addSelfCheck() {
    addProblem()
    plan.keep("the batch in double", doubleProblem)
    addProduct()
    // The parameters moved along a direction, and the forward pass there.
    plan.during([
      ("moved parameters", 2 * needs.exactVector + needs.vector),
      ("the batch at moved parameters", doubleProblem + needs.forward),
      ("logits", needs.doubles(4, samples, logits)),
    ])
    let gram = needs.gram(draws: 1)
    plan.during([
      ("per-sample gradients", needs.rows(draws: 1) + needs.unfolded + gram.kernels),
      ("Gram matrix", gram.matrix + gram.workspace), ("directions", 5 * needs.vector),
    ])
    addConjugateGradient(isCombination: false)
  }

  /// Steps of training, and measuring in between.
  ///
  /// - Parameter settings: Of the optimiser.
  mutating func addTraining(_ settings: OptimizerSettings) {
    addParameters(areRead: false)
    addBatch()
    plan.keep("forward values", needs.forward)
    addMeasuring()
    plan.during([("a checkpoint to write", 2 * needs.vector)])
    // Parameters, direction, what they were before, and the moments of the optimiser.
    plan.keep("state of the optimiser", 5 * needs.exactVector + needs.vector)
    if let method = settings.kind.method {
      let draws = method.needs.isSampled ? settings.monteCarloSamples : 0
      addGradients(draws: 1 + draws, isDiagonal: false)
      plan.keep("sampled labels", drawn(draws))
      addBlocks(addSystems(of: method, draws: draws, all: draws))
      addProduct()
    } else {
      addPass(cotangents: 1)
      plan.grow("sums of gradients", to: needs.accumulators)
      plan.during([("directions", needs.vector)])
    }
  }

  /// The loss of all samples, some at a time.
  private mutating func addMeasuring() {
    let measured = BatchNeeds<S>(
      program, samples: min(LossMeasure.together, checkpoint.data?.count ?? samples),
      threads: options.threads, budget: 0)
    plan.during([
      (
        "forward values while measuring",
        measured.forward + measured.doubles(measured.samples, logits, 4)
          + labels(measured)
      )
    ])
  }

  /// Removing weights: what is kept of them, and the blocks of the inverse that there are at a time.
  ///
  /// - Parameter settings: Of the removal.
  mutating func addPruning(_ weights: PrunableWeights, _ settings: PruningOptions) {
    addProblem()
    let all = needs.doubles(weights.count)
    plan.keep("weights", all + needs.scalars(weights.count))
    let usesGradients = settings.methods.contains { $0.rows != nil }
    if usesGradients { addGradientRows() }
    let sparsities = settings.sparsities.count
    // For every sparsity which weights go and what the others are.
    plan.keep("weights after removal", sparsities * (all + ByteCount(weights.count)))
    // A statistic, and its numbers in order.
    plan.during([("statistic", 3 * all)])
    if usesGradients {
      let blocks = inverseBlocks(weights, isJoint: settings.update == .joint)
      plan.during([("blocks of the inverse", blocks)])
    }
    addMeasuring()
    plan.during([("a checkpoint to write", 2 * all)])
  }

  private mutating func addGradientRows() {
    plan.keep("per-sample gradients", needs.rows(draws: 1) + needs.unfolded)
    addPass(cotangents: 1)
    let gram = needs.gram(draws: 1, isDiagonal: true)
    plan.keep("kernels of layer inputs", gram.kernels)
    plan.during([("gradient norms", gram.matrix + gram.workspace)])
  }

  /// Those that there are at a time, each with the gradients that it is made of.
  private func inverseBlocks(_ weights: PrunableWeights, isJoint: Bool) -> ByteCount {
    let piece = weights.tensors.indices.reduce(0) {
      max($0, WeightColumns<S>.scratch(weights.largestBlock, of: weights.spec($1)))
    }
    let doubles = FisherBlock.doubles(
      samples: samples, size: weights.largestBlock, isJoint: isJoint)
    return min(options.threads, weights.blocks.count)
      * (ByteCount(doubles, of: Double.self) + needs.scalars(piece))
  }
}
