import Checkpoints

/// What decides the numbers of a run: a journal is continued only by a run with the same.
///
/// The number of threads is no part of it: results have the same bits for every one. The processor
/// is, as far as it decides which kernels run: they order their sums differently.
struct RunIdentity: Codable, Sendable, Equatable {
  /// A checkpoint and the numbers of its batches.
  struct Checkpoint: Codable, Sendable, Equatable {
    var path: String
    var firstBatch: Int
    var batches: Int
  }

  static let format = "approx-eval-journal/5"

  /// Of the journal.
  var format = RunIdentity.format
  /// Of the package: another one may compute otherwise.
  var version: String
  /// Settings by their keys, as text; those without a value are left out.
  var options: [String: String]
  var checkpoints: [Checkpoint]
  var files: [FileRecord]
  /// Which of our kernels the processor runs, and what OpenBLAS says of its own.
  var kernels: String
  var blas: String

  init(_ record: RunRecord, _ plan: RunPlan) {
    version = packageVersion
    var options: [String: String] = [:]
    for (setting, value) in record.optionValues { options[setting.key] = Self.text(value) }
    options[Setting.seed.key] = String(record.options.seed)
    options[Setting.precision.key] = record.options.precision.rawValue
    self.options = options
    checkpoints = plan.checkpoints.map {
      Checkpoint(
        path: $0.description.path, firstBatch: $0.batches.lowerBound, batches: $0.batches.count)
    }
    files = record.files
    (kernels, blas) = (record.machine.kernels, record.machine.blas)
  }

  private static func text(_ value: ReportJSON) -> String? {
    switch value {
    case .cell(.empty), .list([]): nil
    case .cell(.text(let text)): text
    case .cell(.integer(let number)): String(number)
    case .cell(.number(let number)): ReportCell.spelling(number)
    case .cell(.flag(let value)): String(value)
    case .list(let values): values.map { text($0) ?? "" }.joined(separator: ",")
    case .object: value.document
    }
  }
}

// MARK: - What differs

extension RunIdentity {
  /// One thing that is not as in a journal, as a clause.
  func differences(from journal: RunIdentity) -> [SettingText] {
    var differences: [SettingText] = []
    func compare(_ what: SettingText, _ now: String?, _ before: String?) {
      if now == before { return }
      differences.append(
        "\(what) is \(now ?? "not given") now, \(before ?? "not given") in the journal")
    }
    compare("the version of eval-cli", version, journal.version)
    compare("the set of kernels for this processor", kernels, journal.kernels)
    compare("the BLAS on this processor", blas, journal.blas)
    for name in Set(options.keys).union(journal.options.keys).sorted() {
      compare("\(Setting(key: name))", options[name], journal.options[name])
    }
    let (paths, oldPaths) = (checkpoints.map(\.path), journal.checkpoints.map(\.path))
    if paths != oldPaths {
      compare(
        "the list of checkpoints", paths.joined(separator: " "), oldPaths.joined(separator: " "))
    }
    differences += fileDifferences(from: journal)
    // Whatever decides the number of batches, it is one of the above; a journal may lie.
    if differences.isEmpty && checkpoints != journal.checkpoints {
      compare("the plan", Self.text(checkpoints), Self.text(journal.checkpoints))
    }
    return differences
  }

  /// Of files with the same path; others follow from options and checkpoints.
  private func fileDifferences(from journal: RunIdentity) -> [SettingText] {
    var before: [String: FileRecord] = [:]
    for file in journal.files { before[file.path] = file }
    let now = Set(files.map(\.path))
    let changed: [SettingText] = files.compactMap { file in
      guard let old = before[file.path] else { return "\(file.path) was no input then" }
      if file == old { return nil }
      return "\(file.path) has changed: \(file.contentText) now, \(old.contentText) in the journal"
    }
    return changed
      + journal.files.filter { !now.contains($0.path) }.map { "\($0.path) is no input now" }
  }

  private static func text(_ checkpoints: [Checkpoint]) -> String {
    checkpoints.map { "\($0.path): \($0.batches) batches from \($0.firstBatch)" }
      .joined(separator: ", ")
  }
}

extension FileRecord {
  fileprivate var contentText: String {
    "\(bytes) bytes with SHA-256 \(sha256.prefix(12))…"
  }
}
