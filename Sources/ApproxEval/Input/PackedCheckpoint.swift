import Checkpoints
import Curvature
import Foundation
import TensorModule

/// A model, its adapter and one batch, ready to be written as one checkpoint.bin.
///
/// Only tensors that the model reads go into the file, as they are stored, under the names by
/// which the model knows them. Scoring the file gives the numbers that scoring its sources with
/// the same samples gives, bit for bit. One case agrees to rounding only: where the drawn samples
/// score fewer label positions of a sequence than the whole data, less is computed.
public struct PackedCheckpoint {
  /// What was read: the model, its parameters and its loss.
  public let description: CheckpointDescription
  /// Samples of the batch, `nil` without one.
  public let samples: Int?
  /// Names of the updates that the source carries and the file keeps.
  public let updates: [String]
  private let writer: SafetensorsWriter
  private let files: InputFiles

  /// Opens the sources and checks them; numbers are read when the file is written.
  ///
  /// - Parameters:
  ///   - options: Adapter, data file, batch size, seed and trainable patterns count here. With a batch
  ///     size the samples are those of the first batch that an evaluation would draw; without, all
  ///     samples in their order.
  ///   - epoch, step: In place of what the source or its name says.
  public init(
    checkpoint path: String, options: EvaluationOptions = EvaluationOptions(), epoch: Int? = nil,
    step: Int? = nil
  ) throws(EvaluationError) {
    self = try evaluating {
      try PackedCheckpoint(
        LoadedCheckpoint(path: path, options: options), options, epoch: epoch, step: step)
    }
  }

  init(
    _ checkpoint: LoadedCheckpoint, _ options: EvaluationOptions, epoch: Int? = nil,
    step: Int? = nil
  ) throws {
    let source = checkpoint.source
    var writer = SafetensorsWriter(
      metadata: try Self.metadata(checkpoint, options, epoch: epoch, step: step))
    for spec in checkpoint.program.graph.parameters {
      writer.add("params." + spec.name, try source.parameter(spec.name))
    }
    Self.addProgram(checkpoint, to: &writer)
    if let reader = try checkpoint.reader() {
      let data = reader.data
      let chosen = try Self.samples(data, options)
      try reader.checkRanges(chosen ?? Array(0..<data.count))
      Self.add(reader, chosen, to: &writer)
      samples = chosen?.count ?? data.count
    } else if options.batchSize != nil {
      throw EvaluationError.missingBatch(checkpoint: source.path)
    } else {
      samples = nil
    }
    // A direction has an entry for each trainable parameter: with others it is another direction.
    let kept = options.trainable.isEmpty ? source.updates : []
    for update in kept {
      for (name, tensor) in update.tensors {
        writer.add("updates.\(update.name).\(name)", tensor)
      }
    }
    updates = kept.map(\.name)
    var description = checkpoint.description
    description.epoch = epoch ?? description.epoch
    description.step = step ?? description.step
    self.description = description
    self.writer = writer
    files = checkpoint.files
  }

  /// Writes the file, tensor by tensor: no second copy of the weights comes into memory.
  ///
  /// - Throws: Also where a source has changed since it was opened.
  public func write(to path: String) throws(CheckpointError) {
    try writer.write(to: path, system: files.system, checking: files.requireUnchanged)
  }

  // MARK: - Pieces

  /// A writer of a checkpoint some of whose parameters are not as its source has them. Directions that the
  /// source carries are left out: they belong to its own parameters.
  ///
  /// - Parameters:
  ///   - epoch, step: In place of the source's.
  ///   - carried: Samples that the file is to have, `nil` for all in their order.
  ///   - add: Adds a changed parameter by a name, or returns `false` for one that is as it was.
  static func writer(
    _ checkpoint: LoadedCheckpoint, _ options: EvaluationOptions, epoch: Int? = nil,
    step: Int? = nil, carried: (reader: BatchReader, samples: [Int]?)?,
    adding add: (_ index: Int, _ name: String, inout SafetensorsWriter) -> Bool
  ) throws(CheckpointError) -> SafetensorsWriter {
    var writer = SafetensorsWriter(
      metadata: try metadata(checkpoint, options, epoch: epoch, step: step))
    for (index, spec) in checkpoint.program.graph.parameters.enumerated() {
      let name = "params." + spec.name
      if !add(index, name, &writer) {
        writer.add(name, try checkpoint.source.parameter(spec.name))
      }
    }
    addProgram(checkpoint, to: &writer)
    if let carried { Self.add(carried.reader, carried.samples, to: &writer) }
    return writer
  }

  /// - Parameter epoch, step: In place of the source's.
  static func metadata(
    _ checkpoint: LoadedCheckpoint, _ options: EvaluationOptions, epoch: Int? = nil,
    step: Int? = nil
  ) throws(CheckpointError) -> [String: String] {
    let source = checkpoint.source
    var metadata = [
      "format": CheckpointFile.format, "model": try source.modelDescription().text,
      "loss": source.loss,
    ]
    metadata.merge(lossMetadata(checkpoint.lossSettings)) { $1 }
    let patterns =
      options.trainable.isEmpty
      ? source.trainable?.map(\.pattern) ?? trainedNames(checkpoint) : options.trainable
    if let patterns { metadata["trainable"] = JSONContent.array(patterns.map { .string($0) }).text }
    if let epoch = epoch ?? source.epoch { metadata["epoch"] = String(epoch) }
    if let step = step ?? source.step { metadata["step"] = String(step) }
    return metadata
  }

  private static func lossMetadata(_ settings: LossSettings) -> [String: String] {
    func list(_ values: [Double]) -> String { JSONContent.array(values.map { .real($0) }).text }
    var metadata: [String: String] = [:]
    metadata["label_smoothing"] = settings.labelSmoothing.map { String($0.value) }
    metadata["class_weights"] = settings.classWeights.map { list($0.value) }
    metadata["pos_weight"] = settings.positiveWeights.map { list($0.value) }
    metadata["reduction"] = settings.reduction?.value
    return metadata
  }

  /// What trains, by name, where the model's description alone would not tell: which tensors came
  /// with the adapter's file is not to be seen in the packed one.
  private static func trainedNames(_ checkpoint: LoadedCheckpoint) -> [String]? {
    guard let adapted = checkpoint.model.adapted else { return nil }
    let program = checkpoint.program
    let names = program.trainable.map { program.graph.parameters[$0.index].name }
    // An archive by torch.export says it of every weight, which a tensor does not.
    return checkpoint.source.program == nil && Set(names) == adapted ? nil : names
  }

  /// The drawn samples, `nil` for all of them in their order.
  private static func samples(
    _ data: DataFile, _ options: EvaluationOptions
  ) throws(EvaluationError) -> [Int]? {
    guard let size = options.batchSize else { return nil }
    if size > data.count {
      throw .batchTooLarge(requested: size, available: data.count, file: data.path)
    }
    if size == data.count { return nil }
    return sampleWithoutReplacement(count: size, from: data.count, seed: options.seed, batch: 0)
  }

  /// The graph of a network by torch.export, and the tensors that shape it.
  static func addProgram(_ checkpoint: LoadedCheckpoint, to writer: inout SafetensorsWriter) {
    guard let program = checkpoint.source.program else { return }
    writer.add("model.pt2", program.document)
    for name in checkpoint.model.constants.sorted() {
      if let tensor = checkpoint.source.constant(name) { writer.add("params." + name, tensor) }
    }
  }

  static func add(
    _ reader: BatchReader, _ samples: [Int]?, to writer: inout SafetensorsWriter
  ) {
    let data = reader.data
    for (name, tensor) in reader.inputs {
      writer.add("batch." + name, tensor.rows(samples, of: data.count))
    }
    writer.add("batch.labels", data.labels.rows(samples, of: data.count))
    if let weights = data.weights {
      writer.add("batch.weights", weights.rows(samples, of: data.count))
    }
    if let sampled = data.sampledLabels {
      writer.add(
        "batch.sampled_labels", sampled.rows(samples, of: data.count, draws: reader.storedDraws))
    }
  }
}

extension StoredTensor {
  /// The tensor with only these samples, in this order; all of them are the tensor itself.
  ///
  /// - Parameter draws: The dimension before the samples, if there is one.
  fileprivate func rows(_ samples: [Int]?, of count: Int, draws: Int? = nil) -> StoredTensor {
    guard let samples else { return self }
    let row = byteCount / ((draws ?? 1) * count)
    var shape = shape
    shape[draws == nil ? 0 : 1] = samples.count
    return StoredTensor(
      name: name, dtype: dtype, shape: shape, file: file,
      owner: GatheredRows(
        source: self,
        ranges: (0..<(draws ?? 1)).flatMap { draw in
          samples.map { (draw * count + $0) * row..<(draw * count + $0 + 1) * row }
        }))
  }
}

/// Some of the bytes of a tensor, one range after the other, copied when they are first asked for.
private final class GatheredRows: ByteOwner {
  private let source: StoredTensor
  private let ranges: [Range<Int>]
  private let bytes = FetchedOnce()

  init(source: StoredTensor, ranges: [Range<Int>]) {
    self.source = source
    self.ranges = ranges
  }

  func load() throws(CheckpointError) -> UnsafeRawBufferPointer {
    try bytes.load { () throws(CheckpointError) in try gathered() }
  }

  private func gathered() throws(CheckpointError) -> OwnedBytes {
    try source.withBytes { all throws(CheckpointError) in
      OwnedBytes(count: ranges.reduce(0) { $0 + $1.count }) { target in
        var end = 0
        for range in ranges {
          UnsafeMutableRawBufferPointer(rebasing: target[end..<end + range.count]).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: all[range]))
          end += range.count
        }
      }
    }
  }
}
