// What of an earlier run stays valid in another: each batch depends on seed, number, options and content
// alone, so that a run may grow by checkpoints and batches, and lie elsewhere.

import Checkpoints

extension RunIdentity {
  /// Results of an earlier run as those of this one.
  struct Carried {
    /// By number, with the names of this run.
    var results: [Int: BatchResult] = [:]
    /// Batches that have to be scored again, as more is asked of each.
    var outdated = 0
    /// Why nothing can be carried, clause by clause.
    var differences: [SettingText] = []
  }

  /// Options that say where things lie, or how far a run goes: contents and plans tell what counts.
  static let places = keys([
    .data, .model, .adapter, .updates, .optimizerState, .parameterOrder, .batches, .firstBatch,
    .run,
  ])

  /// Lists of which a run may ask for more.
  private static let lists = keys([.methods, .damping, .mcSamples])

  private static func keys(_ settings: [Setting]) -> Set<String> { Set(settings.map(\.key)) }

  func carried(_ results: [Int: BatchResult], from journal: RunIdentity) -> Carried {
    var asksForMore = false
    var differences =
      [Words.journal.difference("\(.shard)", shard?.text, journal.shard?.text)].compactMap { $0 }
    differences += self.differences(from: journal, .journal) { name in
      if isSame(name, as: journal, results) { return true }
      let isMore = mayGrow(name, from: journal)
      asksForMore = asksForMore || isMore
      return isMore
    }
    let moved = places(results, from: journal)
    differences += moved.differences
    if !differences.isEmpty { return Carried(differences: differences) }
    return asksForMore ? Carried(outdated: results.count) : Carried(results: moved.results)
  }

  /// How two runs that are compared are told apart.
  struct Words {
    var own: String
    var other: String

    static let journal = Words(own: "now", other: "in the journal")
    static let shards = Words(own: "here", other: "there")

    /// As a clause; `nil` where there is none.
    func difference(_ what: SettingText, _ own: String?, _ other: String?) -> SettingText? {
      if own == other { return nil }
      return "\(what) is \(own ?? "not given") \(self.own), \(other ?? "not given") \(self.other)"
    }

    /// Nobody gives this setting: it goes by whether there are methods.
    func storedUpdates(areScored own: Bool) -> SettingText {
      "\(.methods) is given \(own ? other : self.own), and leaves out directions that checkpoints "
        + "carry; they are scored \(own ? self.own : other)"
    }
  }

  /// In what computes, and in settings; where things lie is no difference.
  ///
  /// - Parameter tolerating: Whether a setting, by its key, may be another one.
  func differences(
    from other: RunIdentity, _ words: Words, tolerating: (String) -> Bool = { _ in false }
  ) -> [SettingText] {
    let engine = [
      words.difference("the version of eval-cli", version, other.version),
      words.difference("the set of kernels for the processor", kernels, other.kernels),
      words.difference("the BLAS on the processor", blas, other.blas),
    ]
    let names = Set(settings.keys).union(other.settings.keys).subtracting(Self.places).sorted()
    return
      (engine
      + names.map { name in
        let (own, other) = (settings.text(name), other.settings.text(name))
        if own == other || tolerating(name) { return nil }
        if name == Setting.storedUpdates.key {
          return words.storedUpdates(areScored: own == "true")
        }
        return words.difference("\(Setting(key: name))", own, other)
      }).compactMap { $0 }
  }

  /// Whether an option that is spelt otherwise asks for the same.
  private func isSame(
    _ name: String, as journal: RunIdentity, _ results: [Int: BatchResult]
  ) -> Bool {
    if name == Setting.storedUpdates.key {
      // Directions that checkpoints carry were scored unasked, if there were any.
      return settings.text(name) == "false"
        && !results.values.contains { $0.scores.contains { $0.family == "update" } }
    }
    return Self.lists.contains(name)
      && settings.list(name).sorted() == journal.settings.list(name).sorted()
  }

  /// Whether an option asks for all that it asked for, and more.
  private func mayGrow(_ name: String, from journal: RunIdentity) -> Bool {
    switch name {
    case Setting.perLayer.key, Setting.storedUpdates.key: return settings.text(name) == "true"
    case _ where Self.lists.contains(name):
      let before = journal.settings.list(name)
      // Without a number of draws it is the file's, or one.
      return Set(before).isSubset(of: settings.list(name))
        && (name != Setting.mcSamples.key || !before.isEmpty)
    default: return false
    }
  }

  /// Results under the names of this run, and those that it would lose.
  private func places(
    _ results: [Int: BatchResult], from journal: RunIdentity
  ) -> (results: [Int: BatchResult], differences: [SettingText]) {
    let (steps, before) = (steps, journal.steps)
    var byContent: [String: [Int]] = [:]
    for (index, checkpoint) in checkpoints.enumerated() {
      byContent[checkpoint.content, default: []].append(index)
    }
    // Lists may name the same in another order.
    let rows =
      Self.lists.contains { settings.list($0) != journal.settings.list($0) }
      ? RowOrder(settings) : nil
    var moved: [Int: BatchResult] = [:]
    var lost: [Int: [Int]] = [:]
    for (number, result) in results.sorted(by: { $0.key < $1.key }) {
      let old = before.step(number)!.checkpoint
      // What is given twice with the same contents has a place for each.
      let place = (byContent[journal.checkpoints[old].content] ?? []).lazy.compactMap { index in
        steps.number(ofCheckpoint: index, batch: result.batch).map { (index, $0) }
      }.first { moved[$0.1] == nil }
      guard let (index, found) = place else {
        lost[old, default: []].append(result.batch)
        continue
      }
      var result = result
      let description = checkpoints[index].description
      if description != journal.checkpoints[old].description {
        result.checkpoint = description.path
        (result.epoch, result.step, result.run) = (
          description.epoch, description.step, description.run
        )
      }
      if let rows { result = rows.ordered(result) }
      moved[found] = result
    }
    return (moved, lost.sorted { $0.key < $1.key }.flatMap { loss(of: $0, $1, journal) })
  }

  /// Why a checkpoint of the journal has no place here.
  private func loss(of index: Int, _ batches: [Int], _ journal: RunIdentity) -> [SettingText] {
    let old = journal.checkpoints[index]
    if checkpoints.contains(where: { $0.content == old.content }) {
      return ["batch \(batches[0]) of \(old.path) is in the journal, and no batch of this run"]
    }
    guard checkpoints.contains(where: { $0.path == old.path }) else {
      return ["\(old.path) is in the journal, and no checkpoint of this run"]
    }
    let differences = fileDifferences(from: journal)
    return differences.isEmpty ? ["\(old.path) is read with other files now"] : differences
  }

  /// Of files with the same path.
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
}

extension FileRecord {
  fileprivate var contentText: String {
    "\(bytes) bytes with SHA-256 \(sha256.prefix(12))…"
  }
}
