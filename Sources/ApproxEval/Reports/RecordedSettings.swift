import Checkpoints
import Updates

/// The settings of a run that may change its numbers, as its record tells them and its journal keeps
/// them: whoever reads a journal has them to the letter, also those that came after it.
struct RecordedSettings: Sendable, Equatable, Codable {
  private struct Entry: Sendable, Equatable, Codable {
    var key: String
    /// As JSON.
    var value: String
  }

  /// In the order of the record; seed and precision last, which the record tells by themselves.
  private var entries: [Entry]

  private static let apart: [Setting] = [.seed, .precision]

  init(_ options: EvaluationOptions) {
    entries = Self.values(options).map { setting, value in
      Entry(key: setting.key, value: value.line)
    }
  }

  /// A test counts them.
  private static func values(
    _ options: EvaluationOptions
  ) -> KeyValuePairs<Setting, ReportJSON> {
    [
      .data: .text(options.dataFile),
      .model: .text(options.model),
      .loss: .text(options.loss),
      .classAxis: .integer(options.classAxis),
      .task: .text(options.task?.rawValue),
      .adapter: .text(options.adapter),
      .trainable: .texts(options.trainable),
      .methods: .texts(options.methods.map(\.name)),
      .damping: .texts(options.dampings.map(\.text)),
      .mcSamples: .list(options.monteCarloSamples.map { .integer($0) }),
      .reference: .text(options.reference.name),
      .cgIterations: .integer(options.cgIterations),
      .cgTolerance: .number(options.cgTolerance),
      .cgGap: .number(options.cgGap),
      .cgDamping: .number(options.cgDamping),
      .cgPreconditioner: .text(options.cgPreconditioner.rawValue),
      .batchSize: .integer(options.batchSize),
      .batches: .integer(options.batches),
      .run: .text(options.run),
      .firstBatch: .integer(options.firstBatch),
      .memory: .integer(options.memory),
      .updates: .texts(options.updateFiles),
      .storedUpdates: .bool(options.scoresStoredUpdates),
      .optimizerState: .text(options.optimizerState),
      .parameterOrder: .text(options.parameterOrder),
      .sample: .text(options.sample.rawValue),
      .perLayer: .bool(options.perLayer),
      .dropDuplicates: .number(options.dropDuplicates),
      .seed: ReportJSON(seed: options.seed),
      .precision: .text(options.precision.rawValue),
    ]
  }

  var keys: [String] { entries.map(\.key) }

  /// Null for one that is not there.
  subscript(_ key: String) -> ReportJSON {
    entries.first { $0.key == key }.flatMap { ReportJSON(line: $0.value) } ?? .cell(.empty)
  }

  subscript(_ setting: Setting) -> ReportJSON { self[setting.key] }

  /// What runs had before there was a choice.
  private static let before = [Setting.sample.key: SampleKind.sequence.rawValue]

  /// In words; `nil` where nothing is given.
  func text(_ key: String) -> String? { self[key].words ?? Self.before[key] }

  /// The parts of a list, in their order; none of what is no list.
  func list(_ key: String) -> [String] {
    guard case .list(let values) = self[key] else { return [] }
    return values.map { $0.words ?? "" }
  }

  /// The member `options` of a record.
  var json: ReportJSON {
    let apart = Self.apart.map(\.key)
    return .object(
      entries.filter { !apart.contains($0.key) }.map { .init(key: $0.key, value: self[$0.key]) })
  }

  /// Whether methods or tables go by parameters, so that a record tells them.
  var goByParameters: Bool {
    self[.perLayer] == .bool(true)
      || list(Setting.methods.key).contains {
        UpdateMethod(name: $0)?.needs.hasKroneckerProducts == true
      }
  }

  /// Whether all values are JSON, as those of a file need not be.
  var isPossible: Bool { entries.allSatisfy { ReportJSON(line: $0.value) != nil } }
}

extension ReportJSON {
  /// Without the end of the line; lists of scalars and these alone stay on one.
  fileprivate var line: String { String(document.dropLast()) }

  fileprivate init?(line: String) {
    guard let value = try? JSONValue(parsing: line, name: "setting", file: nil),
      let content = try? value.content()
    else { return nil }
    self.init(content)
  }

  private init(_ content: JSONContent) {
    switch content {
    case .null: self = .cell(.empty)
    case .bool(let value): self = .bool(value)
    case .integer(let value): self = .integer(value)
    case .real(let value): self = .number(value)
    case .string(let value): self = .text(value)
    case .array(let values): self = .list(values.map { ReportJSON($0) })
    case .object(let members):
      self = .object(
        members.sorted { $0.key < $1.key }.map { .init(key: $0.key, value: ReportJSON($0.value)) })
    }
  }

  /// `nil` for what is empty.
  fileprivate var words: String? {
    switch self {
    case .cell(.empty), .list([]): nil
    case .cell(.text(let text)): text
    case .cell(.integer(let number)): String(number)
    case .cell(.number(let number)): ReportCell.spelling(number)
    case .cell(.flag(let value)): String(value)
    case .list(let values): values.map { $0.words ?? "" }.joined(separator: ",")
    case .object: line
    }
  }
}
