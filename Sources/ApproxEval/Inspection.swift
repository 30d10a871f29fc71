import Checkpoints
import Foundation
import GraphModule

/// What is in a checkpoint, as far as its headers and its model tell; no number is read.
public struct Inspection: Sendable, Equatable {
  /// A tensor of the file.
  public struct Tensor: Sendable, Equatable {
    /// As in the file.
    public var name: String
    /// Row-major.
    public var shape: [Int]
    /// As in safetensors: `F32`.
    public var dtype: String
    /// Its elements.
    public var count: Int
  }

  /// A tensor that the model reads.
  public struct Parameter: Sendable, Equatable {
    /// Where its numbers are.
    public var tensor: Tensor
    /// Whether an evaluation would take it into P.
    public var isTrainable: Bool
    /// Stored statistics: read, never trained.
    public var isBuffer: Bool
  }

  /// One step of the model's program.
  public struct Layer: Sendable, Equatable {
    /// By the place in the model.
    public var name: String
    /// What it computes: `linear`, `attention`, `low rank update`.
    public var operation: String
    /// Scalars of its output for one sample.
    public var outputs: Int
    /// The shape of these, as the engine has them: images with their channels last.
    public var shape: [Int]
    /// Names of the parameters that it reads.
    public var parameters: [String]
  }

  /// A direction that the file carries, or that the options add.
  public struct Update: Sendable, Equatable {
    /// As `methods` name it, without `update:`.
    public var name: String
    /// How many tensors it has, one for each trainable parameter.
    public var tensors: Int
  }

  /// The line above the table.
  public var description: CheckpointDescription
  /// Bytes.
  public var fileSize: Int
  /// Samples of the batch, `nil` if the file carries none.
  public var samples: Int?
  /// Tensors of the batch, by name.
  public var batch: [Tensor]
  /// The steps of the model's program, in its order.
  public var layers: [Layer]
  /// In the order of the model.
  public var parameters: [Parameter]
  /// Those of the file, and of the files of the options.
  public var updates: [Update]
  /// What a batch will take, `nil` without samples.
  public var resources: ResourceEstimate?
  /// How far logits are from saved ones, where that was asked for.
  public var logits: LogitComparison?

  /// - Parameter options: Its adapter, data file, trainable patterns, files of updates, batch size,
  ///   precision, memory and number of threads count here.
  public init(
    checkpoint path: String, options: EvaluationOptions = EvaluationOptions()
  ) throws(EvaluationError) {
    self = try evaluating {
      try Inspection(LoadedCheckpoint(path: path, options: options), options)
    }
  }

  private init(_ checkpoint: LoadedCheckpoint, _ options: EvaluationOptions) throws {
    let (source, program) = (checkpoint.source, checkpoint.program)
    description = checkpoint.description
    fileSize = source.bytes
    samples = checkpoint.data?.count
    batch = source.batch.sorted { $0.key < $1.key }.map { Tensor($0.key, $0.value) }
    let specs = program.graph.parameters
    layers = program.graph.nodes.map { node in
      Layer(
        name: node.name, operation: Self.words(of: node.operation), outputs: node.size,
        shape: node.type.shape,
        parameters: node.parameters.map { specs[$0.index].name })
    }
    var parameters: [Parameter] = []
    for (spec, offset) in zip(specs, program.offsets) {
      parameters.append(
        Parameter(
          tensor: Tensor(spec.name, try source.parameter(spec.name)), isTrainable: offset != nil,
          isBuffer: spec.isBuffer))
    }
    self.parameters = parameters
    updates = []
    let wanted = try options.updates(of: checkpoint)
    for update in wanted {
      // Its own are told as they are, files that were asked for must fit.
      if !source.updates.contains(where: { $0.name == update.name }) {
        try update.check(checkpoint)
        description.notes += try update.notes(checkpoint)
      }
      updates.append(Update(name: update.name, tensors: try update.tensorCount(checkpoint)))
    }
    resources = try Self.batchSize(checkpoint, options).map {
      ResourceEstimate(checkpoint, samples: $0, options: options, updates: wanted)
    }
  }

  /// `low rank update` of an operation `LowRankUpdate`.
  private static func words(of operation: any GraphModule.Operation) -> String {
    var words = ""
    for character in String(describing: Swift.type(of: operation)) {
      if character.isUppercase, !words.isEmpty { words += " " }
      words += character.lowercased()
    }
    return words
  }

  /// Samples of a batch that `score` would take, `nil` if there are none.
  private static func batchSize(
    _ checkpoint: LoadedCheckpoint, _ options: EvaluationOptions
  ) throws(EvaluationError) -> Int? {
    guard let data = checkpoint.data, data.count > 0 else {
      if options.batchSize != nil { throw .missingBatch(checkpoint: checkpoint.path) }
      return nil
    }
    let size = options.batchSize(of: data.count)
    if size > data.count {
      throw .batchTooLarge(requested: size, available: data.count, file: data.path)
    }
    return size
  }
}

extension Inspection.Tensor {
  fileprivate init(_ name: String, _ tensor: StoredTensor) {
    self.init(
      name: name, shape: tensor.shape, dtype: tensor.dtype.rawValue, count: tensor.count)
  }
}

// MARK: - As JSON

extension Inspection {
  /// All of it as JSON.
  public var json: ReportJSON {
    .members([
      "path": .text(description.path),
      "bytes": .integer(fileSize),
      "model": .text(description.model),
      "loss": .text(description.loss),
      "loss_settings": .texts(description.lossSettings),
      "epoch": .integer(description.epoch),
      "step": .integer(description.step),
      "trainable_parameters": .integer(description.trainableParameters),
      "all_parameters": .integer(description.allParameters),
      "positions": .integer(description.positions),
      "classes": .integer(description.classes),
      "samples": .integer(samples),
      "batch": .list(batch.map { .object($0.members) }),
      "layers": .list(
        layers.map {
          .members([
            "name": .text($0.name), "operation": .text($0.operation),
            "outputs": .integer($0.outputs), "shape": .list($0.shape.map { .integer($0) }),
            "parameters": .texts($0.parameters),
          ])
        }),
      "parameters": .list(
        parameters.map {
          .object(
            $0.tensor.members + [
              .init(key: "trainable", value: .bool($0.isTrainable)),
              .init(key: "buffer", value: .bool($0.isBuffer)),
            ])
        }),
      "updates": .list(
        updates.map { .members(["name": .text($0.name), "tensors": .integer($0.tensors)]) }),
      "notes": .texts(description.allNotes.map(\.description)),
      "logits": logits.map {
        .members([
          "samples": .integer($0.samples), "largest_difference": .number($0.largestDifference),
          "largest_logit": .number($0.largestLogit), "worst_sample": .integer($0.worstSample),
        ])
      } ?? .text(nil),
      "resources": resources.map(\.json) ?? .text(nil),
    ])
  }
}

extension ResourceEstimate {
  fileprivate var json: ReportJSON {
    .members([
      "samples": .integer(samples),
      "forward_operations_per_sample": .integer(forwardOperations),
      "product_operations": .number(productOperations),
      "phases": .list(
        phases.map {
          .members([
            "phase": .text($0.phase.rawValue), "operations": .number($0.work.operations),
            "operand_bytes": .number($0.work.bytes),
          ])
        }),
      "memory": buffers(memory.buffers),
      "total_bytes": .integer(memory.total),
      "expected_memory": buffers(memoryWithoutReference.expectedBuffers),
      "expected_bytes": .integer(memoryWithoutReference.expected),
      "recomputed_samples": .integer(recomputedSamples),
    ])
  }
}

private func buffers(_ buffers: [MemoryPlan.Buffer]) -> ReportJSON {
  .list(buffers.map { .members(["name": .text($0.name), "bytes": .integer($0.bytes)]) })
}

extension Inspection.Tensor {
  fileprivate var members: [ReportJSON.Member] {
    [
      .init(key: "name", value: .text(name)),
      .init(key: "shape", value: .list(shape.map { .integer($0) })),
      .init(key: "dtype", value: .text(dtype)),
      .init(key: "count", value: .integer(count)),
    ]
  }
}
