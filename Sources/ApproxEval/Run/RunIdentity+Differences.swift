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
    var carried = Carried()
    var differences = engineDifferences(from: journal)
    var asksForMore = false
    for name in Set(options.keys).union(journal.options.keys).sorted()
    where !Self.places.contains(name) {
      let (now, before) = (options[name], journal.options[name])
      if now == before { continue }
      if mayGrow(name, now, before, results) {
        asksForMore = true
      } else {
        differences.append(Self.difference("\(Setting(key: name))", now, before))
      }
    }
    let moved = places(results, from: journal)
    differences += moved.differences
    carried.differences = differences
    if !differences.isEmpty { return carried }
    if asksForMore {
      carried.outdated = results.count
    } else {
      carried.results = moved.results
    }
    return carried
  }

  private static func difference(
    _ what: SettingText, _ now: String?, _ before: String?
  ) -> SettingText {
    "\(what) is \(now ?? "not given") now, \(before ?? "not given") in the journal"
  }

  private func engineDifferences(from journal: RunIdentity) -> [SettingText] {
    let parts: [(SettingText, String?, String?)] = [
      ("the version of eval-cli", version, journal.version),
      ("the set of kernels for this processor", kernels, journal.kernels),
      ("the BLAS on this processor", blas, journal.blas),
      ("\(.shard)", shard?.text, journal.shard?.text),
    ]
    return parts.filter { $0.1 != $0.2 }.map { Self.difference($0.0, $0.1, $0.2) }
  }

  /// Whether an option asks for all that it asked for, and more.
  private func mayGrow(
    _ name: String, _ now: String?, _ before: String?, _ results: [Int: BatchResult]
  ) -> Bool {
    switch name {
    case Setting.perLayer.key: return now == "true"
    case Setting.storedUpdates.key:
      // Directions that checkpoints carry were scored unasked, if there were any.
      return now == "true"
        || !results.values.contains { $0.scores.contains { $0.family == "update" } }
    case _ where Self.lists.contains(name):
      let (now, before) = (Self.items(now), Self.items(before))
      // Without a number of draws it is the file's, or one.
      return before.isSubset(of: now) && (name != Setting.mcSamples.key || !before.isEmpty)
    default: return false
    }
  }

  private static func items(_ list: String?) -> Set<Substring> {
    Set((list ?? "").split(separator: ","))
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
