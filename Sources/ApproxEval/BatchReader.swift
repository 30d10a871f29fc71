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
  package let sequence: SequenceRule?
  /// Draws that the file carries, 0 if none.
  package let storedDraws: Int
  /// What the data hold of the model's inputs, by the model's names for them.
  package let inputs: [String: StoredTensor]

  package init(
    _ data: DataFile, graph: Graph, loss: Loss, sequence: SequenceRule? = nil
  ) throws(CheckpointError) {
    self.data = data
    self.graph = graph
    self.loss = loss
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
    storedDraws = data.sampledLabels.map { $0.shape.first ?? 0 } ?? 0
    try checkShapes()
  }

  /// The samples of one batch.
  package struct Batch<S: EngineScalar>: Sendable {
    package let inputs: BatchInputs<S>
    package let labels: Labels
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
      } else if let tensor = inputs[spec.name] {
        values.append(try read(spec, tensor, samples))
      } else {
        preconditionFailure("BatchReader: init has found all inputs that are not made")
      }
    }
    let labels = try checkedLabels(samples)
    var sampled: [Labels] = []
    if let tensor = data.sampledLabels {
      for draw in 0..<storedDraws {
        sampled.append(try readLabels(tensor, samples, draw: draw))
      }
    }
    return Batch(
      inputs: BatchInputs(samples: samples.count, values: values), labels: labels,
      sampledLabels: sampled)
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
    // In pieces: as wide integers, all labels may be eight times as large as the file.
    var isScored = false
    for first in stride(from: 0, to: samples.count, by: Self.piece) {
      let some = Array(samples[first..<min(first + Self.piece, samples.count)])
      isScored = try isAnyScored(readLabels(data.labels, some, draw: 0)) || isScored
      guard let sampled = data.sampledLabels else { continue }
      for draw in 0..<storedDraws { _ = try readLabels(sampled, some, draw: draw) }
    }
    try requireScored(isScored)
  }

  /// Samples whose labels are checked at a time.
  private static let piece = 4096

  private func checkedLabels(_ samples: [Int]) throws(CheckpointError) -> Labels {
    let labels = try readLabels(data.labels, samples, draw: 0)
    try requireScored(isAnyScored(labels))
    return labels
  }

  private func isAnyScored(_ labels: Labels) -> Bool {
    if case .classes(let classes) = labels { classes.contains { $0 >= 0 } } else { true }
  }

  private func requireScored(_ isScored: Bool) throws(CheckpointError) {
    if isScored { return }
    throw CheckpointError(
      .unexpectedValue("labels", found: "only -100", expected: "at least one scored position"),
      at: data.labels.location)
  }

  // MARK: - Shapes

  private func checkShapes() throws(CheckpointError) {
    for spec in graph.inputs {
      guard let tensor = inputs[spec.name] else { continue }
      let isMask = spec.name == sequence?.mask
      let shape = isMask ? [spec.shape[0] - (sequence?.maskPrefix ?? 0)] : spec.shape
      try tensor.requireShape([data.count] + shape)
      if case .index = spec.kind, !tensor.dtype.isInteger {
        throw CheckpointError(
          .wrongDType(found: tensor.dtype, expected: DType.allCases.filter(\.isInteger)),
          at: tensor.location, hint: "The model begins with an embedding, which reads indices.")
      }
    }
    try checkLabels(data.labels, leading: [data.count])
    if let sampled = data.sampledLabels {
      try checkLabels(sampled, leading: [storedDraws, data.count])
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

  private func checkLabels(_ tensor: StoredTensor, leading: [Int]) throws(CheckpointError) {
    let isClasses = loss == .crossEntropy
    if tensor.dtype.isInteger != isClasses || tensor.dtype == .bool {
      throw CheckpointError(
        .wrongDType(
          found: tensor.dtype,
          expected: isClasses ? [.i64, .i32] : DType.allCases.filter(\.isFloatingPoint)),
        at: tensor.location,
        hint: isClasses
          ? "cross_entropy reads class numbers." : "\(loss.rawValue) reads numbers, not classes.")
    }
    let columns = sequence.map { [$0.labelLength] } ?? Array(graph.outputShape.dropLast())
    let expected = leading + (isClasses ? columns : graph.outputShape)
    // One position may be written out or left out.
    let isSingle = isClasses && columns.reduce(1, *) == 1
    let accepted = isSingle ? [leading, leading + [1], expected] : [expected]
    if !accepted.contains(tensor.shape) {
      throw CheckpointError(
        .shapeMismatch(found: tensor.shape, expected: expected), at: tensor.location)
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
    _ tensor: StoredTensor, _ samples: [Int], draw: Int
  ) throws(CheckpointError) -> Labels {
    switch loss {
    case .crossEntropy:
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
    case .squaredError, .binaryCrossEntropy:
      let size = graph.outputShape.reduce(1, *)
      let values = Vector<Double>(count: samples.count * size)
      for (place, sample) in samples.enumerated() {
        let target = values.pointer + place * size
        try tensor.read(range(draw * data.count + sample, size), into: target)
        for i in 0..<size where loss == .binaryCrossEntropy && !(0...1).contains(target[i]) {
          throw labelError(tensor, sample, "\(target[i])", "a number in [0, 1]")
        }
      }
      try tensor.requireFinite(UnsafePointer(values.pointer), count: values.count)
      return .real(values.array)
    }
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
