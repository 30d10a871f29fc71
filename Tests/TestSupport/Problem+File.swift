import Checkpoints
import TensorModule

extension Problem {
  /// The problem of a self-contained checkpoint with a batch.
  ///
  /// - Parameter trainable: Patterns of names; `nil`: the file's own.
  package init(_ file: CheckpointFile, trainable: [String]? = nil) throws {
    let json = file.archive.metadata["model"]!
    let inputs = file.batch["inputs"]!
    let size = inputs.shape.dropFirst().reduce(1, *)
    let values =
      inputs.dtype.isInteger
      ? try inputs.integers().map { Double($0) } : try inputs.vector(of: Double.self).array
    let globs = trainable.map { $0.map { Glob($0) } } ?? file.trainable
    let names = OracleModel(json).parameters.filter { !$0.isBuffer }.map(\.name)
    self.init(
      json: json, loss: file.loss,
      trainable: Set(names.filter { name in globs.contains { $0.matches(name) } }),
      parameters: try file.parameters.mapValues { try $0.vector(of: Double.self).array },
      inputs: stride(from: 0, to: values.count, by: size).map { Array(values[$0..<$0 + size]) },
      labels: try OracleLabels(file.batch["labels"]!, loss: file.loss))
  }

  /// Writes a checkpoint in double, with the samples as its batch. Weights of losses are left out.
  package func write(to path: String) throws {
    var writer = SafetensorsWriter(metadata: [
      "format": "approx-eval/1", "loss": loss, "model": json,
      "trainable": JSONContent.array(trainable.sorted().map { .string($0) }).text,
    ])
    func add(_ name: String, _ shape: [Int], _ values: [Double]) {
      writer.add(name, shape: shape, Vector(values))
    }
    for parameter in model.parameters {
      add("params." + parameter.name, parameter.shape, parameters[parameter.name]!)
    }
    let shape = [samples] + model.inputShape
    let inputs = inputs.flatMap { $0 }
    if model.tokenBound == nil {
      add("batch.inputs", shape, inputs)
    } else {
      writer.add("batch.inputs", shape: shape, integers: inputs.map { Int64($0) })
    }
    let outputs = [samples] + outputShape
    switch labels {
    case .classes(let all):
      writer.add(
        "batch.labels", shape: Array(outputs.dropLast()), integers: all.map { Int64($0) })
    case .real(let all): add("batch.labels", outputs, all)
    }
    try writer.write(to: path)
  }

  /// A direction that the file carries.
  package func update(_ name: String, of file: CheckpointFile) throws -> [Double] {
    try trained.flatMap { try file.updates[name]![$0.name]!.vector(of: Double.self).array }
  }
}

extension OracleLabels {
  package init(_ tensor: StoredTensor, loss: String) throws {
    self =
      loss == "cross_entropy"
      ? .classes(try tensor.integers().map { Int($0) })
      : .real(try tensor.vector(of: Double.self).array)
  }
}
