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
  /// Of these, bytes that nothing scales.
  let bytes: [String]

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
    let made = [sequence?.decoder?.input, sequence?.mask, sequence?.positions?.input]
    let stored = graph.inputs.map(\.name).filter { name in
      !made.contains(name) || data.others[name] != nil
    }
    if sequence?.decoder != nil, let mask = data.others["decoder_attention_mask"] {
      throw CheckpointError(
        .unexpectedTensor(near: []), at: mask.location,
        hint: "A decoder's positions see all before them: leave out positions by the label -100.")
    }
    inputs = try data.inputs(stored)
    bytes = Self.bytes(graph, inputs)
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
    let bytes: ByteInputs?
  }

  package func read<S: EngineScalar>(
    _ samples: [Int], _: S.Type
  ) throws(CheckpointError) -> Batch<S> {
    var values: [BatchInputs<S>.Values] = []
    for spec in graph.inputs {
      if let value = try made(spec, samples, S.self) {
        values.append(value)
      } else if let tensor = inputs[spec.name] {
        values.append(try read(spec, tensor, samples))
      } else {
        preconditionFailure("BatchReader: init has found all inputs that are not made")
      }
    }
    let (labels, weighting) = try scoredLabels(samples)
    return Batch(
      inputs: BatchInputs(samples: samples.count, values: values), labels: labels,
      weighting: weighting, sampledLabels: try readDraws(samples), bytes: byteInputs(values))
  }

  /// Labels and indices of these samples are in range, at least one label is scored.
  package func checkRanges(_ samples: [Int]) throws(CheckpointError) {
    for spec in graph.inputs {
      guard let tensor = inputs[spec.name], let bound = spec.kind.bound else { continue }
      let size = tensor.shape.dropFirst().reduce(1, *)
      for sample in samples {
        _ = try indices(
          tensor, sample, size: size, bound: bound,
          what: spec.name == sequence?.mask
            ? "a mask of 0 and 1" : "0 ..< \(bound), the rows of the embedding")
      }
    }
    // In pieces: as wide integers, all labels may be eight times as large as the file.
    var isScored = false
    for first in stride(from: 0, to: samples.count, by: Self.piece) {
      let some = Array(samples[first..<min(first + Self.piece, samples.count)])
      isScored = try isAnyScored(labelsAndWeights(some)) || isScored
      guard let sampled = data.sampledLabels else { continue }
      for draw in 0..<storedDraws {
        _ = try readLabels(sampled, some, draw: draw, areTrue: false)
      }
    }
    try requireScored(isScored)
  }

  /// Samples whose labels are checked at a time.
  private static let piece = 4096

  /// Labels and weights, at least one of which counts.
  private func scoredLabels(
    _ samples: [Int]
  ) throws(CheckpointError) -> (Labels, LossWeighting) {
    let found = try labelsAndWeights(samples)
    try requireScored(isAnyScored(found))
    return found
  }

  func labelsAndWeights(
    _ samples: [Int]
  ) throws(CheckpointError) -> (Labels, LossWeighting) {
    let labels = try readLabels(data.labels, samples, areTrue: true)
    var weighting = weighting
    weighting.samples = try readWeights(samples)
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
    for sample in 0..<data.count where try isAnyScored(labelsAndWeights([sample])) {
      scored.append(sample)
    }
    return scored
  }

  private func isAnyScored(_ found: (labels: Labels, weighting: LossWeighting)) -> Bool {
    found.weighting.scores(found.labels, classes: graph.classes)
  }

  private func requireScored(_ isScored: Bool) throws(CheckpointError) {
    if isScored { return }
    let isWeighted = loss != .crossEntropy || data.weights != nil || weighting.classes != nil
    throw CheckpointError(
      .unexpectedValue(
        "labels", found: isWeighted ? "none with a weight above zero" : "only -100",
        expected: "at least one scored position"),
      at: data.labels.location)
  }

  // MARK: - Shapes

  private func checkShapes() throws(CheckpointError) {
    for spec in graph.inputs {
      guard let tensor = inputs[spec.name] else { continue }
      let isMask = spec.name == sequence?.mask
      let shape = isMask ? [spec.shape[0] - (sequence?.maskPrefix ?? 0)] : spec.shape
      try tensor.requireShape([data.count] + (sequence?.tokens.map { [$0] } ?? shape))
      if spec.kind.bound != nil, !tensor.dtype.isInteger {
        throw CheckpointError(
          .wrongDType(found: tensor.dtype, expected: DType.allCases.filter(\.isInteger)),
          at: tensor.location, hint: "The model begins with an embedding, which reads indices.")
      }
    }
    try checkLabels(data.labels, leading: [data.count], areTrue: true)
    if let weights = data.weights { try checkWeights(weights) }
    if let sampled = data.sampledLabels {
      try checkLabels(sampled, leading: [storedDraws, data.count], areTrue: false)
      // As many as the option can ask for.
      if storedDraws > 10_000 {
        throw CheckpointError(
          .unexpectedValue(
            "the number of draws", found: "\(storedDraws)", expected: "at most 10000"),
          at: sampled.location)
      }
      if storedDraws == 0 {
        throw CheckpointError(
          .shapeMismatch(found: sampled.shape, expected: [1] + data.labels.shape),
          at: sampled.location)
      }
    }
  }

  // MARK: - Numbers

  private func read<S: EngineScalar>(
    _ spec: InputSpec, _ tensor: StoredTensor, _ samples: [Int]
  ) throws(CheckpointError) -> BatchInputs<S>.Values {
    let size = spec.shape.reduce(1, *)
    if let bound = spec.kind.bound {
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

  func indices(
    _ tensor: StoredTensor, _ sample: Int, size: Int, bound: Int, what: String
  ) throws(CheckpointError) -> [Int32] {
    // Of samples with more tokens than are read all are looked at.
    let values = try tensor.integers(entries(of: tensor, sample))
    for (place, value) in values.enumerated() where value < 0 || value >= bound {
      throw CheckpointError(
        .unexpectedValue(
          "entry \(place) of sample \(sample)", found: "\(value)", expected: what),
        at: tensor.location, hint: ofTokens(bound))
    }
    return values.prefix(size).map { Int32($0) }
  }

  func labelError(
    _ tensor: StoredTensor, _ sample: Int, _ found: String, _ expected: String
  ) -> CheckpointError {
    CheckpointError(
      .unexpectedValue("label of sample \(sample)", found: found, expected: expected),
      at: tensor.location, hint: ofTokens(graph.classes))
  }

  /// What to do about numbers that are tokens of a language model with so many.
  private func ofTokens(_ count: Int) -> String? {
    let vocabulary = graph.inputs.compactMap(\.kind.bound).max()
    return sequence == nil || count != vocabulary
      ? nil
      : "Tokenise with the model's own tokenizer; if tokens were added to it, give the model as it was "
        + "saved with them."
  }

  /// All that the data have of a sample, of which the graph may read the first ones.
  func entries(of tensor: StoredTensor, _ sample: Int) -> Range<Int> {
    range(sample, tensor.shape.dropFirst().reduce(1, *))
  }

  func range(_ sample: Int, _ size: Int) -> Range<Int> {
    sample * size..<(sample + 1) * size
  }
}
