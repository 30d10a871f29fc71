import Foundation

/// A self-contained checkpoint: a safetensors file with the conventions `approx-eval/1`.
///
/// Metadata say what the model is, as JSON that is not interpreted here; the prefix of a tensor's
/// name says what it is for: `params.`, `batch.`, `updates.<update>.`, or `model.onnx`.
public struct CheckpointFile: Sendable {
  /// What the metadata `format` says.
  public static let format = "approx-eval/1"
  /// What `loss` may be; the first is the default.
  public static let losses = ["cross_entropy", "mse", "bce"]

  /// The file's tensors and metadata.
  public let archive: TensorArchive
  /// The description of the model; paths in its errors begin with `model`.
  public let model: JSONValue
  /// One of `losses`.
  public let loss: String
  /// Whether the file names its loss.
  public let namesLoss: Bool
  /// What else it says of it, for whatever data.
  public let lossSettings: LossSettings
  /// Patterns over names of parameters.
  public let trainable: [Glob]
  /// The metadata `epoch`.
  public let epoch: Int?
  /// The metadata `step`.
  public let step: Int?
  /// By name without `params.`.
  public let parameters: [String: StoredTensor]
  /// By name without `batch.`; empty if the file carries no batch.
  public let batch: [String: StoredTensor]
  /// By update, then by parameter.
  public let updates: [String: [String: StoredTensor]]
  /// The tensor `model.onnx`.
  public let onnx: StoredTensor?
  /// The tensor `model.pt2`: the document of a network by torch.export.
  public let program: StoredTensor?

  /// - Throws: `CheckpointError`: of the file's format, of its metadata, or naming the tensor
  ///   that has no place in a checkpoint.
  public static func open(
    _ path: String, files: InputFiles = InputFiles()
  ) throws(CheckpointError) -> CheckpointFile {
    try CheckpointFile(TensorArchive.open(path, files: files))
  }

  /// - Throws: As `open`.
  public init(_ archive: TensorArchive) throws(CheckpointError) {
    self.archive = archive
    if let advice = archive.format.advice {
      throw CheckpointError(
        .otherFormat(
          found: archive.format.title, expected: "a checkpoint in safetensors format"),
        at: .init(file: archive.path), hint: advice)
    }
    let metadata = Metadata(values: archive.metadata, file: archive.path)
    try metadata.checkKeys()
    model = try JSONValue(
      parsing: metadata.required("model"), name: "model", file: archive.path)
    loss = metadata.values["loss"] ?? Self.losses[0]
    namesLoss = metadata.values["loss"] != nil
    if !Self.losses.contains(loss) {
      throw CheckpointError(
        .unknownName(what: "loss", found: loss, known: Self.losses), at: .init(file: archive.path))
    }
    trainable = try metadata.globs("trainable")
    epoch = try metadata.integer("epoch")
    step = try metadata.integer("step")

    var parameters: [String: StoredTensor] = [:]
    var batch: [String: StoredTensor] = [:]
    var updates: [String: [String: StoredTensor]] = [:]
    var directions: [StoredTensor] = []
    var (onnx, program): (StoredTensor?, StoredTensor?)
    var lossSettings = try LossSettings(metadata: archive.metadata, file: archive.path)
    for (_, tensor) in archive.tensors.sorted(by: { $0.key < $1.key }) {
      switch try Place(tensor) {
      case .parameter(let key): parameters[key] = tensor
      case .batch(let key): batch[key] = tensor
      case .update: directions.append(tensor)
      case .loss(let key):
        lossSettings = try lossSettings.merged(with: LossSettings(key, tensor))
      case .onnx: onnx = tensor
      case .program: program = tensor
      }
    }
    let names = ParameterNames(parameters.keys)
    for tensor in directions {
      guard
        let own = UpdateTensorName(tensor.name.dropFirst("updates.".count), parameters: names)
      else {
        throw CheckpointError(
          .unexpectedTensor(near: []), at: tensor.location,
          hint: "Directions are named updates.<update>.<parameter>.")
      }
      updates[own.update, default: [:]][own.parameter] = tensor
    }
    (self.parameters, self.batch, self.updates) = (parameters, batch, updates)
    (self.onnx, self.program) = (onnx, program)
    self.lossSettings = lossSettings
  }
}

extension CheckpointFile {
  /// The file's path.
  public var path: String { archive.path }

  /// Whether a parameter of this name is trainable by the file's own patterns.
  public func isTrainable(_ parameter: String) -> Bool {
    trainable.contains { $0.matches(parameter) }
  }

  /// The parameter of this name.
  ///
  /// - Throws: `missingTensor` with the names that come near.
  public func parameter(_ name: String) throws(CheckpointError) -> StoredTensor {
    if let tensor = parameters[name] { return tensor }
    let near = nearMisses(name, among: parameters.keys).map { "params." + $0 }
    throw CheckpointError(.missingTensor("params." + name, near: near), at: .init(file: path))
  }

  /// The batch in the form of a data file, nil if the checkpoint has none.
  public func batchData() throws(CheckpointError) -> DataFile? {
    if batch.isEmpty { return nil }
    return try DataFile(path: path, arrays: batch, prefix: "batch.")
  }
}

// MARK: - Names

extension CheckpointFile {
  /// What a tensor is for, by its name.
  private enum Place {
    case parameter(String)
    case batch(String)
    case update
    /// A setting of the loss, with the batch or on its own.
    case loss(String)
    case onnx
    case program

    init(_ tensor: StoredTensor) throws(CheckpointError) {
      let parts = tensor.name.split(
        separator: ".", maxSplits: 1, omittingEmptySubsequences: false
      ).map(String.init)
      let rest = parts.count == 2 ? parts[1] : ""
      switch parts[0] {
      case "params" where !rest.isEmpty: self = .parameter(rest)
      case let key where parts.count == 1 && LossSettings.tensorNames.contains(key):
        self = .loss(key)
      case "batch" where LossSettings.tensorNames.contains(rest): self = .loss(rest)
      case "batch" where !rest.isEmpty: self = .batch(rest)
      case "model" where rest == "onnx" || rest == "pt2":
        if tensor.dtype != .u8 {
          throw CheckpointError(
            .wrongDType(found: tensor.dtype, expected: [.u8]), at: tensor.location)
        }
        self = rest == "onnx" ? .onnx : .program
      case "updates": self = .update
      default:
        let near = nearMisses(parts[0], among: ["params", "batch", "updates"])
        throw CheckpointError(
          .unexpectedTensor(near: near.map { $0 + "." + rest }), at: tensor.location,
          hint: near.isEmpty
            ? "Names begin with params., batch. or updates.<update>., or are model.onnx or model.pt2."
            : nil)
      }
    }
  }
}

// MARK: - Metadata

private struct Metadata {
  static let keys =
    ["format", "model", "loss", "trainable", "epoch", "step"] + LossSettings.keys

  let values: [String: String]
  let file: String

  /// The format must be ours. Further keys are free, but one that is a slip of the pen away from
  /// a known key would be dropped in silence, and `trainable` with it; that is an error, as is one
  /// that speaks of the loss.
  func checkKeys() throws(CheckpointError) {
    let format = try required("format")
    if format != CheckpointFile.format {
      throw CheckpointError(
        .unexpectedValue(
          "__metadata__.format", found: quoted(format), expected: quoted(CheckpointFile.format)),
        at: .init(file: file), hint: Self.formatHint(format))
    }
    for key in values.keys.sorted() where !Self.keys.contains(key) {
      let near = nearMisses(key, among: Self.keys)
      if !near.isEmpty {
        throw CheckpointError(
          .unknownKey("__metadata__.\(key)", near: near), at: .init(file: file))
      }
      if LossSettings.isLikelyMeant(by: key) {
        throw LossSettings.refusal("__metadata__.\(key)", at: .init(file: file))
      }
    }
  }

  private static func formatHint(_ format: String) -> String {
    format == "pt"
      ? "This is a bare state_dict of Hugging Face; give the folder with its config.json."
      : "It was written by another version, or for another program."
  }

  func required(_ key: String) throws(CheckpointError) -> String {
    if let value = values[key] { return value }
    let near = nearMisses(key, among: values.keys)
    throw CheckpointError(
      .missingValue("__metadata__.\(key)", near: near), at: .init(file: file),
      hint: near.isEmpty && key == "format"
        ? "A checkpoint has the metadata format = \(CheckpointFile.format) and model = {...}." : nil
    )
  }

  func integer(_ key: String) throws(CheckpointError) -> Int? {
    guard let text = values[key] else { return nil }
    guard let value = Int(text) else {
      throw CheckpointError(
        .unexpectedValue("__metadata__.\(key)", found: quoted(text), expected: "an integer"),
        at: .init(file: file))
    }
    return value
  }

  func globs(_ key: String) throws(CheckpointError) -> [Glob] {
    guard let text = values[key] else { return [Glob("*")] }
    let value = try JSONValue(parsing: text, name: key, file: file)
    let globs = try value.strings().map { Glob($0) }
    // Each is compared with every name.
    let patterns = globs.filter { !$0.isName }
    if patterns.count > 256 || patterns.contains(where: { $0.pattern.utf8.count > 1024 }) {
      throw value.wrong("names, and at most 256 patterns of at most 1024 bytes")
    }
    return globs
  }
}
