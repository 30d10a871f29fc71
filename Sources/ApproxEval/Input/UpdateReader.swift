import Checkpoints
import Curvature
import Foundation
import GraphModule
import TensorModule

/// Where a direction of a user's comes from.
package protocol UpdateSource: Sendable {
  /// What follows `update:` in reports.
  var name: String { get }
  var path: String { get }
  /// Whether it fits the checkpoint, as far as headers tell.
  func check(_ checkpoint: LoadedCheckpoint) throws(CheckpointError)
  /// Memory that it takes until it is a direction in the engine's precision.
  func bytes(_ checkpoint: LoadedCheckpoint) -> ByteCount
  /// Parameters that it has something for.
  func tensorCount(_ checkpoint: LoadedCheckpoint) throws(CheckpointError) -> Int
  /// What a reader of the scores must know.
  func notes(_ checkpoint: LoadedCheckpoint) throws(CheckpointError) -> [SettingText]
  func prepared<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _: S.Type, pool: WorkerPool
  ) throws(CheckpointError) -> PreparedUpdate<S>
}

/// A user's direction, read as far as it is the same for every batch.
package enum PreparedUpdate<S: EngineScalar> {
  /// The numbers of the file, or a vector in the engine's order with a scale that keeps it in range.
  case direction(DirectionForm<S>)
  /// Made from the mean gradient of a batch, `[P]`.
  case step((Vector<Double>) throws(CheckpointError) -> DirectionForm<S>)
}

/// Directions that users bring: one tensor for every trainable parameter.
package struct StoredUpdate: UpdateSource {
  package let name: String
  package let tensors: [String: StoredTensor]
  package let path: String
  /// What precedes the parameters' names in the file.
  package let prefix: String

  /// In the file, and in double where they have to be rounded.
  package func bytes(_: LoadedCheckpoint) -> ByteCount {
    tensors.values.total { tensor in
      tensor.dtype == .f64
        ? tensor.residentBytes + 2 * ByteCount(ByteCount(tensor.count), of: Double.self)
        : tensor.residentBytes
    }
  }

  /// All updates of a checkpoint, by name.
  package static func all(in file: CheckpointFile) -> [StoredUpdate] {
    file.updates.sorted { $0.key < $1.key }.map {
      StoredUpdate(name: $0.key, tensors: $0.value, path: file.path, prefix: "updates.\($0.key).")
    }
  }

  /// The updates of a file of their own: tensors named `updates.<update>.<parameter>` as in a
  /// checkpoint, or one direction with tensors named like the parameters.
  ///
  /// - Parameters:
  ///   - own: The name of one direction; `nil`: that of the file.
  ///   - parameters: The names of the model's, where a dot in an update's name could be read in
  ///     several ways.
  package static func all(
    inFile path: String, named own: String? = nil, parameters: ParameterNames, files: InputFiles
  ) throws(CheckpointError) -> [StoredUpdate] {
    let archive = try TensorArchive.open(path, files: files)
    var updates: [String: [String: StoredTensor]] = [:]
    var others: [String] = []
    for (name, tensor) in archive.tensors {
      if name.hasPrefix("updates."),
        let parts = UpdateTensorName(name.dropFirst("updates.".count), parameters: parameters)
      {
        updates[parts.update, default: [:]][parts.parameter] = tensor
      } else {
        others.append(name)
      }
    }
    if updates.isEmpty {
      let name = own ?? URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
      return [StoredUpdate(name: name, tensors: archive.tensors, path: path, prefix: "")]
    }
    if let other = others.min() {
      throw CheckpointError(
        .unexpectedTensor(near: []), at: archive.tensors[other]!.location,
        hint: "A file of several directions has tensors updates.<update>.<parameter> only.")
    }
    return updates.sorted { $0.key < $1.key }.map {
      StoredUpdate(name: $0.key, tensors: $0.value, path: path, prefix: "updates.\($0.key).")
    }
  }

  /// There is one tensor for every trainable parameter, with its shape, and no other.
  package func check(_ checkpoint: LoadedCheckpoint) throws(CheckpointError) {
    _ = try parts(checkpoint)
  }

  /// The tensors in the order of the trainable parameters, which a script may know by other names than the
  /// checkpoint, as of another version of Transformers.
  private func parts(_ checkpoint: LoadedCheckpoint) throws(CheckpointError) -> [StoredTensor] {
    let program = checkpoint.program
    let specs = program.trainable.map { program.graph.parameters[$0.index] }
    let names = Set(specs.map(\.name))
    var found: [String: StoredTensor] = [:]
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      let own = checkpoint.ownName(of: name)
      guard let own, names.contains(own) else {
        throw CheckpointError(
          .unexpectedTensor(near: nearMisses(own ?? name, among: names)), at: tensor.location,
          hint: "An update has one tensor for every trainable parameter.")
      }
      if let other = found.updateValue(tensor, forKey: own) {
        throw CheckpointError(
          .sameThing("the parameter \(own)", other: other.name), at: tensor.location)
      }
    }
    var parts: [StoredTensor] = []
    for spec in specs {
      guard let tensor = found[spec.name] else {
        throw CheckpointError(
          .missingTensor(prefix + spec.name, near: nearMisses(spec.name, among: tensors.keys)),
          at: .init(file: path))
      }
      try tensor.requireShape(spec.shape)
      try tensor.requireFloatingPoint()
      parts.append(tensor)
    }
    return parts
  }

  package func tensorCount(_: LoadedCheckpoint) -> Int { tensors.count }

  package func notes(_: LoadedCheckpoint) throws(CheckpointError) -> [SettingText] { [] }

  package func prepared<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _: S.Type, pool: WorkerPool
  ) throws(CheckpointError) -> PreparedUpdate<S> {
    .direction(try direction(checkpoint, S.self, pool: pool))
  }

  private func direction<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _: S.Type, pool: WorkerPool
  ) throws(CheckpointError) -> DirectionForm<S> {
    let tensors = try parts(checkpoint)
    // Of all types only double has numbers that single precision would round.
    if S.self == Float.self, tensors.contains(where: { $0.dtype == .f64 }) {
      let exact: StoredDirection<Double> = try read(tensors, checkpoint, pool).stored
      return .explicit(ScaledVector(rounding: exact.vector().vector))
    }
    let (stored, largest): (StoredDirection<S>, Double) = try read(
      tensors, checkpoint, pool)
    let unit = powerOfTwo(near: largest)
    // As it is, unless its size would bring sums of it near the ends of single precision.
    if (0x1p-32...0x1p32).contains(unit) { return .stored(stored) }
    let vector = stored.vector().vector
    pool.forEachRange(vector.count) { _, range in
      let entries = vector.pointer + range.lowerBound
      Kernels.axpby(0, entries, 1 / unit, entries, count: range.count)
    }
    return .explicit(ScaledVector(vector: vector, scale: unit))
  }

  /// All entries, where they lie if the file has them as the engine does, and the largest magnitude.
  private func read<S: EngineScalar>(
    _ tensors: [StoredTensor], _ checkpoint: LoadedCheckpoint, _ pool: WorkerPool
  ) throws(CheckpointError) -> (stored: StoredDirection<S>, largest: Double) {
    let program = checkpoint.program
    var parts: [Vector<S>] = []
    var (largest, square) = (0.0, 0.0)
    for (parameter, tensor) in zip(program.trainable, tensors) {
      let spec = program.graph.parameters[parameter.index]
      let part = try tensor.measuredVector(of: S.self, spec, pool: pool)
      parts.append(part.vector)
      largest = max(largest, part.largest)
      square += part.square
    }
    return (
      StoredDirection(program: program, tensors: parts, norm: square.squareRoot()), largest
    )
  }
}
