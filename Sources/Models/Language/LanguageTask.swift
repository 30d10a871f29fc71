import Checkpoints

extension Setting {
  static let task = Setting("task")
}

/// What the head of a language model is for.
public enum LanguageTask: String, Sendable, CaseIterable {
  /// Classes of whole sequences.
  case sequenceClassification = "sequence-classification"
  /// Classes of single tokens.
  case tokenClassification = "token-classification"
  /// The next token at every position.
  case causal = "causal-lm"
  /// Hidden tokens where they stand.
  case masked = "masked-lm"

  /// Whether labels belong to positions.
  var isByPosition: Bool { self != .sequenceClassification }

  /// What a class of Transformers with such a head is called behind the name of its model.
  private var classEnding: String {
    switch self {
    case .sequenceClassification: "ForSequenceClassification"
    case .tokenClassification: "ForTokenClassification"
    case .causal: "ForCausalLM"
    case .masked: "ForMaskedLM"
    }
  }

  /// Classes of Transformers for a model of this name and these tasks, those of most decoders.
  static func heads(
    _ model: String,
    _ tasks: [LanguageTask] = [.causal, .sequenceClassification, .tokenClassification]
  ) -> [String: LanguageTask] {
    Dictionary(uniqueKeysWithValues: tasks.map { (model + $0.classEnding, $0) })
  }
}

extension ModelFamily {
  /// The name of the first of a configuration's `architectures`.
  static let architectures = "architectures"

  /// The task of the class that a configuration names.
  func task(_ config: JSONValue) throws(CheckpointError) -> LanguageTask {
    let names = config[Self.architectures]
    guard names.exists, let first = try names.array().first else {
      throw CheckpointError(
        .missingValue(names.path, near: []), at: .init(file: config.file),
        hint: "Say what the head is for with \(.task): \(taskNames).")
    }
    let name = try first.string()
    guard let task = heads[name] else {
      throw CheckpointError(
        .unsupportedName(what: first.path, found: name, supported: heads.keys.sorted()),
        at: .init(file: config.file),
        hint: "Say another with \(.task): \(taskNames).")
    }
    return task
  }

  /// The task that PEFT was given for an adapter, where it needs a head and the family has it: its base
  /// is mostly saved with another one, or none.
  package func task(ofAdapter config: JSONValue) -> LanguageTask? {
    let task: LanguageTask? =
      switch try? config["task_type"].string() {
      case "SEQ_CLS": .sequenceClassification
      case "TOKEN_CLS": .tokenClassification
      case "CAUSAL_LM": .causal
      default: nil
      }
    return task.flatMap { tasks.contains($0) ? $0 : nil }
  }

  /// Tasks that it has heads for.
  package var tasks: [LanguageTask] { LanguageTask.allCases.filter(heads.values.contains) }

  private var taskNames: String { tasks.map(\.rawValue).joined(separator: ", ") }

  /// The configuration, naming the class that has the head of a task.
  package func config(_ config: JSONValue, for task: LanguageTask) throws(CheckpointError)
    -> JSONValue
  {
    guard let name = heads.first(where: { $0.value == task })?.key else {
      let known = tasks.map(\.rawValue)
      throw CheckpointError(
        .unexpectedSetting(
          .task, found: task.rawValue,
          expected: known.isEmpty
            ? "nothing: \(type) has one head" : known.joined(separator: " or ")),
        at: .init(file: config.file))
    }
    guard case .object(var members) = try config.content() else { throw config.wrong("an object") }
    members[Self.architectures] = .array([.string(name)])
    return JSONValue(.object(members), name: config.path, file: config.file)
  }

  /// Weights whose rows are classes.
  private static let classHeads = [
    "classifier.weight", "classifier.out_proj.weight", "score.weight",
  ]

  /// The configuration with as many classes as the head that an adapter has saved. Whoever trained it told
  /// Transformers their number when the base was loaded; the base's own file has none, or that of another head.
  package static func config(
    _ config: JSONValue, withHeadOf adapter: [String: StoredTensor]
  ) throws(CheckpointError) -> JSONValue {
    guard let head = classHeads.lazy.compactMap({ adapter[$0] }).first,
      let count = head.shape.first, try classCount(config) != count,
      case .object(var members) = try config.content()
    else { return config }
    members["id2label"] = nil
    members["num_labels"] = .integer(count)
    return JSONValue(.object(members), name: config.path, file: config.file)
  }

  /// The loss of a language model of this configuration; see `loss`.
  func languageLoss(_ config: JSONValue) throws(CheckpointError) -> String? {
    if try task(config).isByPosition { return "cross_entropy" }
    return try Self.classificationLoss(config)
  }

  /// What Transformers makes of `problem_type`, and of a single label where there is none.
  static func classificationLoss(_ config: JSONValue) throws(CheckpointError) -> String? {
    let problem = config["problem_type"]
    guard problem.exists else { return try classCount(config) == 1 ? "mse" : nil }
    switch try problem.string() {
    case "single_label_classification": return "cross_entropy"
    case "multi_label_classification": return "bce"
    case "regression": return "mse"
    default:
      throw problem.wrong(
        "\"single_label_classification\", \"multi_label_classification\" or \"regression\"")
    }
  }

  static func classCount(_ config: JSONValue) throws(CheckpointError) -> Int {
    if config["id2label"].exists { return max(1, try config["id2label"].keys().count) }
    return try config["num_labels"].size(default: 2)
  }
}
