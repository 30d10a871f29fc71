import Checkpoints
import Curvature
import GraphModule
import Models
import TensorModule

// Inputs that follow from others: masks with what an adapter puts in front, decoder inputs, positions.
extension BatchReader {
  /// What a sequence rule makes for one of the graph's inputs; `nil` for what the data hold.
  func made<S: EngineScalar>(
    _ spec: InputSpec, _ samples: [Int], _: S.Type
  ) throws(CheckpointError) -> BatchInputs<S>.Values? {
    guard let sequence else { return nil }
    var values: [Int32] = []
    if let decoder = sequence.decoder, spec.name == decoder.input, inputs[spec.name] == nil {
      for sample in samples {
        values += decoder.tokens(try classLabels(data.labels, sample, draw: 0))
      }
    } else if spec.name == sequence.mask {
      for sample in samples { values += try mask(sample, length: spec.shape[0]) }
    } else if let rule = sequence.positions, spec.name == rule.input {
      for sample in samples {
        values += rule.numbers(counts: try counts(rule, sample, length: spec.shape[0]))
      }
    } else {
      return nil
    }
    return .index(IndexVector(values))
  }

  /// Of one sample, with what is put in front.
  private func mask(_ sample: Int, length: Int) throws(CheckpointError) -> [Int32] {
    guard let name = sequence?.mask, let tensor = inputs[name] else {
      return [Int32](repeating: 1, count: length)
    }
    let prefix = sequence?.maskPrefix ?? 0
    return [Int32](repeating: 1, count: prefix)
      + (try indices(
        tensor, sample, size: length - prefix, bound: 2, what: "a mask of 0 and 1"))
  }

  /// Which tokens of a sample have a position of their own.
  private func counts(
    _ rule: SequenceRule.Positions, _ sample: Int, length: Int
  ) throws(CheckpointError) -> [Bool] {
    switch rule.source {
    case .mask: return try mask(sample, length: length).map { $0 == 1 }
    case .tokens(let name, let padding):
      guard let tensor = inputs[name] else {
        preconditionFailure("BatchReader: init has found all inputs that are not made")
      }
      let own = entries(of: tensor, sample).prefix(length)
      return try tensor.integers(own).map { $0 != Int64(padding) }
    }
  }
}
