import Checkpoints

/// The settings of one group, read and checked when a step asks for them.
struct GroupSettings: Sendable {
  enum Domain: String, Sendable {
    case any = "a finite number"
    case notNegative = "a finite number that is at least 0"
    case share = "a number in [0, 1)"
  }

  let archive: TensorArchive
  /// `optimizer.param_groups.0`
  let place: String
  /// The step has the size of this rate; 1 in every group where all rates are zero, as at the end
  /// of a schedule.
  let learningRate: Double

  init(_ file: OptimizerFile, group: Int, learningRate: Double = 0) {
    archive = file.archive
    place = "\(file.prefix)param_groups.\(group)"
    self.learningRate = learningRate
  }

  func isGiven(_ key: String) -> Bool {
    let name = "\(place).\(key)"
    return archive.tensors[name] != nil || archive.metadata[name].map { $0 != "null" } ?? false
  }

  /// A number in the pickle, or a tensor of one number.
  func number(_ key: String, _ domain: Domain = .any) throws(CheckpointError) -> Double {
    try archive.number("\(place).\(key)", domain)
  }

  func number(_ key: String, default value: Double, _ domain: Domain = .any)
    throws(CheckpointError) -> Double
  { isGiven(key) ? try number(key, domain) : value }

  func pair(_ key: String) throws(CheckpointError) -> (Double, Double) {
    (try number("\(key).0", .share), try number("\(key).1", .share))
  }

  /// Off where it is missing or None.
  func flag(_ key: String) throws(CheckpointError) -> Bool {
    switch archive.metadata["\(place).\(key)"] {
    case "true": return true
    case nil, "false", "null": return false
    case let text?:
      throw CheckpointError(
        .unexpectedValue("\(place).\(key)", found: text, expected: "True or False"),
        at: .init(file: archive.path))
    }
  }

  func text(_ key: String, among known: [String]) throws(CheckpointError) -> String {
    let text = archive.metadata["\(place).\(key)"] ?? ""
    if known.contains(text) { return text }
    throw CheckpointError(
      .unknownName(what: key, found: text, known: known),
      at: .init(file: archive.path, place: place))
  }
}

extension TensorArchive {
  /// A number in the pickle, or a tensor of one number.
  func number(_ name: String, _ domain: GroupSettings.Domain) throws(CheckpointError) -> Double {
    var value = metadata[name].flatMap(Double.init)
    if let tensor = tensors[name], tensor.count == 1 {
      value =
        tensor.dtype.isInteger
        ? Double(try tensor.integers()[0]) : try tensor.vector(of: Double.self)[0]
    }
    guard let value else {
      if let text = metadata[name] {
        throw CheckpointError(
          .unexpectedValue(name, found: text, expected: domain.rawValue), at: .init(file: path))
      }
      throw CheckpointError(.missingValue(name, near: []), at: .init(file: path))
    }
    let isInside =
      switch domain {
      case .any: value.isFinite
      case .notNegative: value.isFinite && value >= 0
      case .share: (0..<1).contains(value)
      }
    if !isInside {
      throw CheckpointError(
        .unexpectedValue(name, found: "\(value)", expected: domain.rawValue), at: .init(file: path))
    }
    return value
  }
}
