import Checkpoints
import Curvature
import GraphModule
import TensorModule

/// Parameters, batch and passes.
extension BatchMemory {
  /// Parameters as `LoadedCheckpoint.parameters` has them.
  mutating func addParameters(areRead: Bool = true) {
    var (files, bytes): (ByteCount, ByteCount) = (0, 0)
    // Those that leave memory again.
    var passing: [Int] = []
    for (index, spec) in program.graph.parameters.enumerated() {
      guard let tensor = try? checkpoint.source.parameter(spec.name) else { continue }
      let isFrozen = checkpoint.readsInPlace[index]
      if isFrozen, releasesPages, tensor.pages != nil, tensor.dtype.isReadInPlace(S.self) {
        passing.append(min(tensor.byteCount, BLAS.mostOfPassingWeight))
        continue
      }
      files += tensor.residentBytes
      let isInPlace =
        isFrozen
        ? tensor.dtype.isReadInPlace(S.self)
        : spec.storage == .plain && (areRead || program.offsets[index] == nil)
          && tensor.dtype == .of(S.self)
      if !isInPlace { bytes += needs.scalars(spec.count) }
    }
    // Each worker reads one and fetches another.
    files += passing.sorted(by: >).prefix(2 * needs.batch.workers).total { ByteCount($0) }
    plan.keepForAllBatches(MemoryPlan.files, files)
    plan.keepForAllBatches("parameters", bytes)
  }

  /// Inputs, labels and what is known of the outputs.
  mutating func addBatch() {
    var (files, bytes): (ByteCount, ByteCount) = (0, 0)
    for spec in program.graph.inputs {
      let count = spec.shape.reduce(1, *)
      // Whole numbers are gathered before they are moved.
      bytes += spec.kind == .real ? needs.scalars(samples, count) : needs.doubles(samples, count, 2)
    }
    if let data = checkpoint.data {
      for tensor in [data.labels] + [data.weights].compactMap({ $0 }) + data.others.values {
        files += tensor.residentBytes(runs: samples, of: tensor.byteCount / max(data.count, 1))
      }
      if let sampled = data.sampledLabels {
        files += sampled.residentBytes(
          runs: samples * (sampled.shape.first ?? 0), of: sampled.byteCount / max(data.count, 1))
      }
    }
    let draws = checkpoint.data?.sampledLabels?.shape.first ?? 0
    let settings = checkpoint.lossSettings
    for weights in [settings.classWeights, settings.positiveWeights] {
      bytes += needs.doubles(weights?.value.count ?? 0)
    }
    plan.keep(MemoryPlan.files, files)
    plan.keep("batch", bytes + labels(needs))
    plan.keep("sampled labels", drawn(draws))
    plan.keep("output distribution", distribution(needs))
  }

  /// Labels of samples and their weights, with what turns them into gradients.
  func labels(_ needs: BatchNeeds<S>) -> ByteCount {
    let (samples, logits) = (needs.samples, needs.logitCount)
    // The samples' own as they are read and kept, and those of the loss.
    let weights = isWeighted ? 4 : 0
    guard checkpoint.loss == .crossEntropy else {
      return needs.doubles(samples, logits, 4 + weights)
    }
    // Soft labels as they are read and kept; of these and of smoothed ones a gradient of all classes.
    let ofClasses = (checkpoint.hasSoftLabels ? 2 : 0) + (isSpread ? 1 : 0)
    return needs.doubles(samples, needs.program.graph.positions, 6 + weights)
      + needs.doubles(samples, logits, ofClasses)
  }

  func distribution(_ needs: BatchNeeds<S>) -> ByteCount {
    needs.doubles(needs.samples, needs.logitCount, checkpoint.loss == .crossEntropy ? 1 : 3)
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

  /// Gradients of sampled labels w.r.t. the outputs, of scored positions beside those of the batch.
  func drawn(_ draws: Int) -> ByteCount {
    drawn(draws, needs) + (checkpoint.tokens == nil ? 0 : drawn(draws, gradients))
  }

  private func drawn(_ draws: Int, _ needs: BatchNeeds<S>) -> ByteCount {
    checkpoint.loss == .crossEntropy
      ? needs.doubles(
        isWeighted ? 4 : 3, draws, needs.samples, needs.program.graph.positions)
      : needs.doubles(2, draws, needs.samples, needs.logitCount)
  }

  /// Parameters, batch and forward pass.
  mutating func addProblem() {
    addParameters()
    addBatch()
    plan.begin(.forward)
    plan.keep("forward values", needs.forward)
    addPass(tangents: 0, cotangents: 0)
  }

  /// What passes of so many directions compute in: it stays for the next one.
  mutating func addPass(tangents: Int = 0, cotangents: Int = 0) {
    plan.grow("work space of operations", to: needs.scratch(max(tangents, cotangents)))
    let (own, other) = (needs.tangents(tangents), needs.cotangents(cotangents))
    let hasBoth = tangents > 0 && cotangents > 0
    plan.grow("tangents or cotangents", to: hasBoth ? own : max(own, other))
    if hasBoth { plan.grow("cotangents beside tangents", to: other) }
  }

  /// One product with F, or with J^T.
  mutating func addProduct() {
    addPass(tangents: 1, cotangents: 1)
    plan.grow("sums of gradients", to: needs.accumulators)
  }
}

extension LoadedCheckpoint {
  /// Numbers of frozen parameters that nobody widens.
  var countInHalves: Int {
    program.graph.parameters.indices.reduce(0) { sum, index in
      let spec = program.graph.parameters[index]
      guard readsInPlace[index], let tensor = try? source.parameter(spec.name), tensor.dtype.isHalf
      else { return sum }
      return sum + spec.count
    }
  }
}
