import Checkpoints
import Curvature
import GraphModule
import Models
import TensorModule

/// Turns samples of a data file into what the engine reads, with every check that needs numbers:
/// types, shapes, ranges.
package struct BatchReader: Sendable {
  package let data: DataFile
  package let graph: Graph
  package let loss: Loss
  /// What is done to the loss of every batch, without the samples' own weights.
  package let weighting: LossWeighting
  package let sequence: SequenceRule?
  /// Draws that the file carries, 0 if none.
  package let storedDraws: Int
  /// What the data hold of the model's inputs, by the model's names for them.
  package let inputs: [String: StoredTensor]

  package init(
    _ data: DataFile, graph: Graph, loss: Loss, weighting: LossWeighting = .none,
    sequence: SequenceRule? = nil
  ) throws(CheckpointError) {
    self.data = data
    self.graph = graph
    self.loss = loss
    self.weighting = weighting
    self.sequence = sequence
    if data.count == 0 {
      throw CheckpointError(
        .unexpectedValue("number of samples", found: "0", expected: "at least one"),
        at: data.labels.location)
    }
    // What a sequence rule makes need not be in the file.
    let made = [sequence?.decoderInput, sequence?.mask]
    let stored = graph.inputs.map(\.name).filter { name in
      !made.contains(name) || data.others[name] != nil
    }
    if sequence != nil, let mask = data.others["decoder_attention_mask"] {
      throw CheckpointError(
        .unexpectedTensor(near: []), at: mask.location,
        hint: "A decoder's positions see all before them: leave out positions by the label -100.")
    }
    inputs = try data.inputs(stored)
    for (name, tensor) in data.others.sorted(by: { $0.key < $1.key })
    where !graph.inputs.contains(where: { $0.name == name })
      && LossSettings.isLikelyMeant(by: name)
    {
      throw LossSettings.refusal(name, at: tensor.location)
    }
    storedDraws = data.sampledLabels.map { $0.shape.first ?? 0 } ?? 0
    try checkShapes()
  }

  /// The samples of one batch.
  package struct Batch<S: EngineScalar>: Sendable {
    package let inputs: BatchInputs<S>
    package let labels: Labels
    package let weighting: LossWeighting
    /// One entry per stored draw.
    package let sampledLabels: [Labels]
  }

  package func read<S: EngineScalar>(
    _ samples: [Int], _: S.Type
  ) throws(CheckpointError) -> Batch<S> {
    var values: [BatchInputs<S>.Values] = []
    for spec in graph.inputs {
      if let sequence, spec.name == sequence.decoderInput, inputs[spec.name] == nil {
        values.append(try readDecoderInput(sequence, samples))
      } else if let sequence, spec.name == sequence.mask {
        values.append(try readMask(spec, sequence, samples))
      } else {
        values.append(try read(spec, inputs[spec.name]!, samples))
      }
    }
    let (labels, weighting) = try scoredLabels(samples)
    return Batch(
      inputs: BatchInputs(samples: samples.count, values: values), labels: labels,
      weighting: weighting, sampledLabels: try readDraws(samples))
  }

  /// Labels and indices of these samples are in range, at least one label is scored.
  package func checkRanges(_ samples: [Int]) throws(CheckpointError) {
    for spec in graph.inputs {
      guard let tensor = inputs[spec.name], case .index(let bound) = spec.kind else { continue }
      let size = tensor.shape.dropFirst().reduce(1, *)
      for sample in samples {
        _ = try indices(
          tensor, sample, size: size, bound: bound,
          what: spec.name == sequence?.mask
            ? "a mask of 0 and 1" : "0 ..< \(bound), the rows of the embedding")
      }
    }
    _ = try scoredLabels(samples)
    _ = try readDraws(samples)
  }

  /// Labels and weights, at least one of which counts.
  private func scoredLabels(
    _ samples: [Int]
  ) throws(CheckpointError) -> (Labels, LossWeighting) {
    let labels = try readLabels(data.labels, samples, areTrue: true)
    var weighting = weighting
    weighting.samples = try readWeights(samples)
    if !weighting.scores(labels, classes: graph.classes) {
      var found = "only -100"
      if loss != .crossEntropy || data.weights != nil || weighting.classes != nil {
        found = "none with a weight above zero"
      }
      throw CheckpointError(
        .unexpectedValue("labels", found: found, expected: "at least one scored position"),
        at: data.labels.location)
    }
    return (labels, weighting)
  }

  private func readDraws(_ samples: [Int]) throws(CheckpointError) -> [Labels] {
    var sampled: [Labels] = []
    if let tensor = data.sampledLabels {
      for draw in 0..<storedDraws {
        sampled.append(try readLabels(tensor, samples, draw: draw, areTrue: false))
      }
    }
    return sampled
  }

  /// Samples of which anything is scored, ascending.
  func scoredSamples() throws(CheckpointError) -> [Int] {
    var scored: [Int] = []
    for sample in 0..<data.count {
      let labels = try readLabels(data.labels, [sample], areTrue: true)
      var weighting = weighting
      weighting.samples = try readWeights([sample])
      if weighting.scores(labels, classes: graph.classes) { scored.append(sample) }
    }
    return scored
  }

  // MARK: - Shapes

  private func checkShapes() throws(CheckpointError) {
    for spec in graph.inputs {
      guard let tensor = inputs[spec.name] else { continue }
      let isMask = spec.name == sequence?.mask
      let shape = isMask ? [spec.shape[0] - sequence!.maskPrefix] : spec.shape
      try tensor.requireShape([data.count] + shape)
      if case .index = spec.kind, !tensor.dtype.isInteger {
        throw CheckpointError(
          .wrongDType(found: tensor.dtype, expected: DType.allCases.filter(\.isInteger)),
          at: tensor.location, hint: "The model begins with an embedding, which reads indices.")
      }
    }
    try checkLabels(data.labels, leading: [data.count], areTrue: true)
    if let weights = data.weights { try checkWeights(weights) }
    if let sampled = data.sampledLabels {
      try checkLabels(sampled, leading: [storedDraws, data.count], areTrue: false)
      if storedDraws == 0 {
        throw CheckpointError(
          .shapeMismatch(found: sampled.shape, expected: [1] + data.labels.shape),
          at: sampled.location)
      }
    }
  }

  /// Columns that class labels have, and weights may have.
  private var columns: [Int] {
    sequence.map { [$0.labelLength] } ?? Array(graph.outputShape.dropLast())
  }

  /// - Parameter areTrue: Draws of cross-entropy are always classes, its labels may be soft.
  private func checkLabels(
    _ tensor: StoredTensor, leading: [Int], areTrue: Bool
  ) throws(CheckpointError) {
    let isClasses = loss == .crossEntropy && !(areTrue && tensor.dtype.isFloatingPoint)
    if tensor.dtype.isInteger != isClasses || tensor.dtype == .bool {
      throw CheckpointError(
        .wrongDType(
          found: tensor.dtype,
          expected: isClasses ? [.i64, .i32] : DType.allCases.filter(\.isFloatingPoint)),
        at: tensor.location,
        hint: isClasses
          ? "cross_entropy reads class numbers." : "\(loss.rawValue) reads numbers, not classes.")
    }
    let expected = leading + (isClasses ? columns : graph.outputShape)
    // One position may be written out or left out.
    let isSingle = columns.reduce(1, *) == 1
    let accepted =
      isSingle && isClasses
      ? [leading, leading + [1], expected]
      : isSingle && loss == .crossEntropy
        ? [expected, leading + [1, graph.classes], leading + [graph.classes]] : [expected]
    if !accepted.contains(tensor.shape) {
      throw CheckpointError(
        .shapeMismatch(found: tensor.shape, expected: expected), at: tensor.location,
        hint: loss == .crossEntropy && !isClasses
          ? "Class numbers are I64 or I32; other numbers are soft labels, a probability for each class."
          : nil)
    }
  }

  private func checkWeights(_ tensor: StoredTensor) throws(CheckpointError) {
    var accepted = [[data.count], [data.count] + columns]
    if columns.reduce(1, *) == 1 { accepted.append([data.count, 1]) }
    if loss != .crossEntropy { accepted.append([data.count] + graph.outputShape) }
    if !accepted.contains(tensor.shape) {
      throw CheckpointError(
        .shapeMismatch(found: tensor.shape, expected: [data.count]), at: tensor.location,
        hint: "Weights are one for each sample, or one for each of its positions"
          + (loss == .crossEntropy ? "." : " or outputs."))
    }
  }

  // MARK: - Numbers

  private func read<S: EngineScalar>(
    _ spec: InputSpec, _ tensor: StoredTensor, _ samples: [Int]
  ) throws(CheckpointError) -> BatchInputs<S>.Values {
    let size = spec.shape.reduce(1, *)
    if case .index(let bound) = spec.kind {
      var indices: [Int32] = []
      for sample in samples {
        indices += try self.indices(
          tensor, sample, size: size, bound: bound,
          what: "0 ..< \(bound), the rows of the embedding")
      }
      return .index(IndexVector(indices))
    }
    let vector = Vector<S>(count: samples.count * size)
    for (place, sample) in samples.enumerated() {
      let target = vector.pointer + place * size
      if tensor.dtype.isFloatingPoint {
        try tensor.read(range(sample, size), into: target)
      } else {
        for (i, value) in try tensor.integers(range(sample, size)).enumerated() {
          target[i] = S(value)
        }
      }
    }
    try tensor.requireFinite(UnsafePointer(vector.pointer), count: vector.count)
    return .real(vector)
  }

  private func readLabels(
    _ tensor: StoredTensor, _ samples: [Int], draw: Int = 0, areTrue: Bool
  ) throws(CheckpointError) -> Labels {
    if loss == .crossEntropy && tensor.dtype.isInteger {
      var classes: [Int64] = []
      for sample in samples {
        let row = try classLabels(tensor, sample, draw: draw)
        if let sequence {
          classes += sequence.labelColumns.map { row[$0] }
        } else {
          classes += row
        }
      }
      return .classes(classes)
    }
    let size = graph.outputShape.reduce(1, *)
    let values = Vector<Double>(count: samples.count * size)
    for (place, sample) in samples.enumerated() {
      let target = values.pointer + place * size
      try tensor.read(range(draw * data.count + sample, size), into: target)
      switch loss {
      case .crossEntropy: try checkSoftLabels(tensor, sample, target)
      case .binaryCrossEntropy:
        for i in 0..<size where !(0...1).contains(target[i]) {
          throw labelError(tensor, sample, "\(target[i])", "a number in [0, 1]")
        }
      case .squaredError: break
      }
    }
    try tensor.requireFinite(UnsafePointer(values.pointer), count: values.count)
    return .real(values.array)
  }

  /// Every position of a sample has probabilities that add up to one, as closely as the type of the
  /// file lets a softmax add up.
  private func checkSoftLabels(
    _ tensor: StoredTensor, _ sample: Int, _ values: UnsafePointer<Double>
  ) throws(CheckpointError) {
    let tolerance = tensor.dtype == .f16 || tensor.dtype == .bf16 ? 1e-2 : 1e-4
    for position in 0..<graph.positions {
      var sum = 0.0
      for c in 0..<graph.classes {
        let value = values[position * graph.classes + c]
        guard value >= 0, value.isFinite else {
          throw labelError(tensor, sample, "\(value)", "a probability, not negative")
        }
        sum += value
      }
      guard abs(sum - 1) <= tolerance else {
        throw CheckpointError(
          .unexpectedValue(
            "label of sample \(sample)", found: "probabilities that add up to \(sum)",
            expected: "1"), at: tensor.location,
          hint: "A position that is not scored has a weight of 0.")
      }
    }
  }

  /// The samples' own weights, `[n O]` or `[n O C]`, `nil` where the data have none.
  private func readWeights(_ samples: [Int]) throws(CheckpointError) -> [Double]? {
    guard let tensor = data.weights else { return nil }
    let size = tensor.shape.dropFirst().reduce(1, *)
    var result: [Double] = []
    for sample in samples {
      let row = try tensor.doubles(range(sample, size))
      for value in row where !(value >= 0 && value.isFinite) {
        throw CheckpointError(
          .unexpectedValue(
            "weight of sample \(sample)", found: "\(value)",
            expected: "a finite number, not negative"), at: tensor.location)
      }
      if size == 1 {
        result += [Double](repeating: row[0], count: graph.positions)
      } else {
        result += sequence?.labelColumns.map { row[$0] } ?? row
      }
    }
    return result
  }

  /// All label columns of one sample.
  private func classLabels(
    _ tensor: StoredTensor, _ sample: Int, draw: Int
  ) throws(CheckpointError) -> [Int64] {
    let columns = sequence?.labelLength ?? graph.positions
    let row = try tensor.integers(range(draw * data.count + sample, columns))
    for value in row where value != -100 && !(0..<Int64(graph.classes)).contains(value) {
      throw labelError(
        tensor, sample, "\(value)", "0 ..< \(graph.classes), or -100 for not scored")
    }
    return row
  }

  private func readDecoderInput<S: EngineScalar>(
    _ rule: SequenceRule, _ samples: [Int]
  ) throws(CheckpointError) -> BatchInputs<S>.Values {
    var tokens: [Int32] = []
    for sample in samples {
      tokens += rule.decoderTokens(try classLabels(data.labels, sample, draw: 0))
    }
    return .index(IndexVector(tokens))
  }

  private func readMask<S: EngineScalar>(
    _ spec: InputSpec, _ rule: SequenceRule, _ samples: [Int]
  ) throws(CheckpointError) -> BatchInputs<S>.Values {
    let length = spec.shape[0] - rule.maskPrefix
    var mask: [Int32] = []
    for sample in samples {
      mask += [Int32](repeating: 1, count: rule.maskPrefix)
      if let tensor = inputs[spec.name] {
        mask += try indices(tensor, sample, size: length, bound: 2, what: "a mask of 0 and 1")
      } else {
        mask += [Int32](repeating: 1, count: length)
      }
    }
    return .index(IndexVector(mask))
  }

  private func indices(
    _ tensor: StoredTensor, _ sample: Int, size: Int, bound: Int, what: String
  ) throws(CheckpointError) -> [Int32] {
    let values = try tensor.integers(range(sample, size))
    for (place, value) in values.enumerated() where value < 0 || value >= bound {
      throw CheckpointError(
        .unexpectedValue(
          "entry \(place) of sample \(sample)", found: "\(value)", expected: what),
        at: tensor.location)
    }
    return values.map { Int32($0) }
  }

  private func labelError(
    _ tensor: StoredTensor, _ sample: Int, _ found: String, _ expected: String
  ) -> CheckpointError {
    CheckpointError(
      .unexpectedValue("label of sample \(sample)", found: found, expected: expected),
      at: tensor.location)
  }

  private func range(_ sample: Int, _ size: Int) -> Range<Int> {
    sample * size..<(sample + 1) * size
  }
}

extension LossWeighting {
  /// Whether anything of these labels has a weight above zero.
  fileprivate func scores(_ labels: Labels, classes count: Int) -> Bool {
    let isWeighted = classes != nil || samples != nil || positives != nil
    switch labels {
    case .classes(let all):
      return all.indices.contains { row in
        guard all[row] >= 0, (samples?[row] ?? 1) > 0 else { return false }
        guard let classes else { return true }
        return classes[Int(all[row])] > 0 || smoothing > 0 && classes.contains { $0 > 0 }
      }
    case .real(let all):
      if !isWeighted { return true }
      return all.indices.contains { i in
        let own = samples.map { $0.count == all.count ? $0[i] : $0[i / count] } ?? 1
        return own * (classes?[i % count] ?? 1) > 0
      }
    }
  }
}
