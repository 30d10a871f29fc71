import TensorModule

/// What a file says of its loss beside the loss's name, in its metadata or as small tensors, under
/// the names of the options of torch's losses. Values are checked as far as the file alone can tell.
public struct LossSettings: Sendable {
  /// A value and where it stands.
  public struct Entry<Value: Sendable & Equatable>: Sendable {
    /// The value.
    public let value: Value
    /// What it is called there.
    public let name: String
    /// Where it stands, for messages.
    public let location: CheckpointError.Location
  }

  /// `label_smoothing`, in [0, 1).
  public private(set) var labelSmoothing: Entry<Double>?
  /// `class_weights`: torch's `weight`.
  public private(set) var classWeights: Entry<[Double]>?
  /// `pos_weight`, of the binary loss.
  public private(set) var positiveWeights: Entry<[Double]>?
  /// `reduction`: how the training run has turned the sum into one number, `mean` or `sum`.
  public private(set) var reduction: Entry<String>?

  /// Keys of metadata.
  static let keys = ["label_smoothing", "class_weights", "pos_weight", "reduction", "ignore_index"]
  /// Names of tensors.
  static let tensorNames = ["label_smoothing", "class_weights", "pos_weight"]

  /// Of a file that says nothing.
  public init() {}

  /// What metadata say.
  init(metadata: [String: String], file: String) throws(CheckpointError) {
    let location = CheckpointError.Location(file: file)
    func name(_ key: String) -> String { "__metadata__.\(key)" }
    func json(_ key: String) throws(CheckpointError) -> JSONValue? {
      guard let text = metadata[key] else { return nil }
      return try JSONValue(parsing: text, name: name(key), file: file)
    }
    if let value = try json("label_smoothing") {
      labelSmoothing = try Self.smoothing(
        value.double(), name: name("label_smoothing"), at: location)
    }
    if let value = try json("class_weights") {
      classWeights = try Self.weights(value.doubles(), name: name("class_weights"), at: location)
    }
    if let value = try json("pos_weight") {
      positiveWeights = try Self.weights(value.doubles(), name: name("pos_weight"), at: location)
    }
    if let value = metadata["reduction"] {
      guard ["mean", "sum"].contains(value) else {
        throw CheckpointError(
          .unknownName(what: "reduction", found: value, known: ["mean", "sum"]), at: location)
      }
      reduction = Entry(value: value, name: name("reduction"), location: location)
    }
    if let value = metadata["ignore_index"], value != "-100" {
      throw CheckpointError(
        .unexpectedValue(name("ignore_index"), found: quoted(value), expected: "-100"),
        at: location, hint: "Write the labels with -100 where a position is not scored.")
    }
  }

  /// What a tensor says whose name, without prefixes, is one of `tensorNames`.
  init(_ key: String, _ tensor: StoredTensor) throws(CheckpointError) {
    if key == "label_smoothing" && tensor.count != 1 {
      throw CheckpointError(
        .shapeMismatch(found: tensor.shape, expected: [1]), at: tensor.location)
    }
    // How many there must be is not known here; what no model has need not be read.
    guard tensor.count <= 1 << 20 else {
      throw CheckpointError(
        .unexpectedValue(
          tensor.name, found: "\(tensor.count) numbers", expected: "one for each logit"),
        at: tensor.location)
    }
    let values = try tensor.doubles()
    switch key {
    case "label_smoothing":
      labelSmoothing = try Self.smoothing(values[0], name: tensor.name, at: tensor.location)
    case "class_weights":
      classWeights = try Self.weights(values, name: tensor.name, at: tensor.location)
    default: positiveWeights = try Self.weights(values, name: tensor.name, at: tensor.location)
    }
  }

  /// What both say.
  ///
  /// - Throws: An error that names both places where they contradict each other.
  public func merged(with other: LossSettings) throws(CheckpointError) -> LossSettings {
    var result = self
    result.labelSmoothing = try Self.one(labelSmoothing, other.labelSmoothing)
    result.classWeights = try Self.one(classWeights, other.classWeights)
    result.positiveWeights = try Self.one(positiveWeights, other.positiveWeights)
    result.reduction = try Self.one(reduction, other.reduction)
    return result
  }

  private static func one<Value>(
    _ a: Entry<Value>?, _ b: Entry<Value>?
  ) throws(CheckpointError) -> Entry<Value>? {
    guard let a, let b else { return a ?? b }
    if a.value == b.value { return a }
    let place = a.location.file == b.location.file ? "" : " of \(a.location.file ?? "")"
    throw CheckpointError(
      .unexpectedValue(b.name, found: "another value", expected: "that of \(a.name)\(place)"),
      at: .init(file: b.location.file), hint: "Say it in one place.")
  }

  // MARK: - Checks

  private static func smoothing(
    _ value: Double, name: String, at location: CheckpointError.Location
  ) throws(CheckpointError) -> Entry<Double> {
    guard value >= 0, value < 1 else {
      throw CheckpointError(
        .unexpectedValue(name, found: "\(value)", expected: "a number from 0 to below 1"),
        at: location)
    }
    return Entry(value: value, name: name, location: location)
  }

  private static func weights(
    _ values: [Double], name: String, at location: CheckpointError.Location
  ) throws(CheckpointError) -> Entry<[Double]> {
    for (index, value) in values.enumerated() where !(value >= 0 && value.isFinite) {
      throw CheckpointError(
        .unexpectedValue(
          "\(name)[\(index)]", found: "\(value)", expected: "a finite number, not negative"),
        at: location)
    }
    return Entry(value: values, name: name, location: location)
  }

  // MARK: - What is not known

  /// Whether a name that no reader knows speaks of the loss: to pass over it would score another
  /// loss than the one that was trained.
  public static func isLikelyMeant(by name: String) -> Bool {
    let name = name.lowercased().replacing("-", with: "_")
    if ["weight", "weights", "objective", "smoothing", "pos_weights"].contains(name) {
      return true
    }
    return [
      "label_smooth", "smoothing", "reduction", "class_weight", "sample_weight", "pos_weight",
      "loss_weight", "label_weight", "token_weight", "positive_weight", "ignore_index",
      "problem_type", "criterion", "loss_fn", "loss_func", "loss_type", "loss_name", "loss_mask",
      "label_mask", "focal", "size_average", "soft_label", "soft_target",
    ].contains { name.contains($0) }
  }

  /// The error for such a name.
  public static func refusal(
    _ name: String, at location: CheckpointError.Location
  ) -> CheckpointError {
    CheckpointError(
      .unknownKey(name, near: []), at: location,
      hint: "It seems to speak of the loss. Known are loss, label_smoothing, class_weights, "
        + "pos_weight and reduction, and weights beside the labels.")
  }
}

extension StoredTensor {
  /// All numbers in double, integers included.
  public func doubles() throws(CheckpointError) -> [Double] { try doubles(0..<count) }

  /// The numbers of the range, counted in row-major order.
  public func doubles(_ elements: Range<Int>) throws(CheckpointError) -> [Double] {
    if dtype.isInteger { return try integers(elements).map { Double($0) } }
    let values = Vector<Double>(count: elements.count)
    try read(elements, into: values.pointer)
    return values.array
  }
}
