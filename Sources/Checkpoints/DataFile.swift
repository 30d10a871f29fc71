/// Samples for a model: inputs and labels with the sample as the first dimension, and optionally
/// sampled labels with the draw before the sample.
public struct DataFile: Sendable {
  /// The file's path.
  public let path: String
  /// Number of samples.
  public let count: Int
  /// `labels`, [N] or [N, ...].
  public let labels: StoredTensor
  /// `sampled_labels`, [K, N, ...].
  public let sampledLabels: StoredTensor?
  /// `weights`, [N] or [N, ...]: of samples, or of their positions.
  public let weights: StoredTensor?
  /// The loss that the file is for, if it names one.
  public let loss: String?
  /// What else it says of the loss.
  public let lossSettings: LossSettings
  /// Everything else, by name.
  public let others: [String: StoredTensor]
  private let prefix: String

  /// Opens an .npz or safetensors file.
  public static func open(
    _ path: String, files: InputFiles = InputFiles()
  ) throws(CheckpointError) -> DataFile {
    let archive = try TensorArchive.open(path, files: files)
    for key in archive.metadata.keys.sorted()
    where !LossSettings.keys.contains(key) && LossSettings.isLikelyMeant(by: key) {
      throw LossSettings.refusal("__metadata__.\(key)", at: .init(file: path))
    }
    return try DataFile(
      path: path, arrays: archive.tensors,
      // Where training has left a number under this key, that is a value and no name.
      loss: archive.metadata["loss"].flatMap { Double($0) == nil ? $0 : nil },
      lossSettings: LossSettings(metadata: archive.metadata, file: path))
  }

  /// - Parameters:
  ///   - arrays: Tensors by name.
  ///   - prefix: What precedes these names in the file, for messages.
  ///   - loss: Its name, if the file says one.
  ///   - lossSettings: What the file says of the loss beside its arrays.
  /// - Throws: `missingTensor` if there are no labels; `sampleCountMismatch`.
  public init(
    path: String, arrays: [String: StoredTensor], prefix: String = "",
    loss: String? = nil, lossSettings: LossSettings = LossSettings()
  ) throws(CheckpointError) {
    self.path = path
    self.prefix = prefix
    var others = arrays
    guard let labels = others.removeValue(forKey: "labels") else {
      throw Self.missing("labels", arrays, prefix, path)
    }
    guard let count = labels.shape.first else {
      throw CheckpointError(
        .shapeMismatch(found: labels.shape, expected: [1]), at: labels.location,
        hint: "The first dimension of the labels counts samples.")
    }
    self.labels = labels
    self.count = count
    sampledLabels = others.removeValue(forKey: "sampled_labels")
    weights = others.removeValue(forKey: "weights")
    var lossSettings = lossSettings
    for key in LossSettings.tensorNames {
      guard let tensor = others.removeValue(forKey: key) else { continue }
      lossSettings = try lossSettings.merged(with: LossSettings(key, tensor))
    }
    self.loss = loss
    self.lossSettings = lossSettings
    self.others = others
    if let sampledLabels { try checkCount(sampledLabels, dimension: 1) }
    if let weights { try checkCount(weights, dimension: 0) }
  }

  /// The inputs of a model with these input names. A single input may also go by `inputs`.
  ///
  /// - Throws: `missingTensor` with near misses; `sameThing` where both are there;
  ///   `sampleCountMismatch`.
  public func inputs(_ names: [String]) throws(CheckpointError) -> [String: StoredTensor] {
    var result: [String: StoredTensor] = [:]
    for name in names {
      let general = names.count == 1 ? others["inputs"] : nil
      guard let tensor = others[name] ?? general else {
        throw Self.missing(name, others, prefix, path)
      }
      if let general, general.name != tensor.name {
        throw CheckpointError(
          .sameThing("the input \(name)", other: tensor.name), at: general.location,
          hint: "Leave one of them out.")
      }
      try checkCount(tensor, dimension: 0)
      result[name] = tensor
    }
    return result
  }

  private func checkCount(_ tensor: StoredTensor, dimension: Int) throws(CheckpointError) {
    let found = tensor.shape.count > dimension ? tensor.shape[dimension] : 0
    if found != count || tensor.shape.count <= dimension {
      throw CheckpointError(
        .sampleCountMismatch(found: found, expected: count, reference: labels.name),
        at: tensor.location,
        hint: dimension == 1 ? "Sampled labels are draws x samples: [K, \(count), ...]." : nil)
    }
  }

  private static func missing(
    _ name: String, _ arrays: [String: StoredTensor], _ prefix: String, _ path: String
  ) -> CheckpointError {
    let near = nearMisses(name, among: arrays.keys).map { prefix + $0 }
    let present = arrays.keys.sorted().prefix(10).map { prefix + $0 }.joined(separator: ", ")
    return CheckpointError(
      .missingTensor(prefix + name, near: near), at: .init(file: path),
      hint: near.isEmpty ? "There are: \(present.isEmpty ? "none" : present)." : nil)
  }
}
