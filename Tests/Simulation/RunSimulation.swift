import ApproxEval
import Checkpoints
import Foundation
import TestSupport

/// Runs of Algorithm 4 over two tiny checkpoints on a simulated disk, which fail, die, are resumed and
/// lose their power, all by a seed. What must hold whatever happens:
///
/// - A table is whole or absent.
/// - run.json names contents that were scored, and no others.
/// - A batch that was reported as done is in the journal from then on.
/// - Whatever is on the disk, a run with `--resume` and the journal's inputs ends with the tables and
///   the record of a run that was left alone, but for times, and leaves nothing else behind.
package struct RunSimulation: Sendable {
  /// Something that must hold and does not.
  package struct Violation: Error, CustomStringConvertible {
    package let seed: UInt64
    package let what: String

    package var description: String { "seed \(seed): \(what)" }
  }

  /// How runs ended, to see that a simulation is one.
  package struct Outcomes: Sendable {
    package var finished = 0
    package var died = 0
    package var failed = 0
    package var foundChanged = 0
    package var refused = 0

    package init() {}

    package static func += (total: inout Outcomes, more: Outcomes) {
      total.finished += more.finished
      total.died += more.died
      total.failed += more.failed
      total.foundChanged += more.foundChanged
      total.refused += more.refused
    }

    package var description: String {
      "\(finished) finished, \(died) died, \(failed) failed, \(foundChanged) found an input "
        + "changed, \(refused) were refused the journal"
    }
  }

  private static let inputs = ["/in/a.bin", "/in/b.bin"]
  private static let folder = "/out/run"
  private static let tables = ["scores.csv", "batches.csv", "cg.csv", "summary.csv"]

  /// Two contents of each input.
  private let contents: [[Content]]
  /// What runs left alone write, by the numbers of the contents.
  private var expected: [[Int]: Expected] = [:]
  /// Calls of a run that is left alone.
  private var calls = 0

  private struct Content: Sendable {
    let bytes: [UInt8]
    let sum: String
  }

  private struct Expected: Sendable {
    /// Of so many batches; all of them last.
    var tables: [[String: String]] = []
    var record = ""
  }

  package init() throws {
    contents = try ["golden/mlp_tanh.bin", "golden/mse_mlp.bin"].map { name in
      let first = [UInt8](try Data(contentsOf: URL(fileURLWithPath: fixture(name))))
      var second = first
      // In the last entry of the last parameter.
      second[second.count - 3] ^= 8
      return try [first, second].map { bytes in
        var disk = SimulatedDisk()
        disk.put("/x", bytes)
        let files = InputFiles(system: SimulatedFileSystem(disk))
        let file = try files.open("/x")
        return Content(bytes: bytes, sum: FileRecord(file).sha256)
      }
    }
    for a in 0..<2 {
      for b in 0..<2 { expected[[a, b]] = try leftAlone([a, b]) }
    }
    let system = SimulatedFileSystem(disk([0, 0]))
    _ = try run(system, resume: true) { _ in }
    calls = system.calls
  }

  private func disk(_ numbers: [Int]) -> SimulatedDisk {
    var disk = SimulatedDisk()
    for (path, content) in zip(Self.inputs, chosen(numbers)) { disk.put(path, content.bytes) }
    return disk
  }

  private func chosen(_ numbers: [Int]) -> [Content] { zip(contents, numbers).map { $0[$1] } }

  private static var options: EvaluationOptions {
    var options = EvaluationOptions()
    options.methods = [.sgd, .ef]
    options.cgIterations = 2
    options.batchSize = 4
    options.batches = 2
    options.threads = 1
    return options
  }

  /// As the command does it.
  private func run(
    _ system: SimulatedFileSystem, resume: Bool, done: (Int) -> Void
  ) throws -> [BatchResult] {
    let start = system.now
    try OutputFiles.requireWritable(folder: Self.folder, system: system)
    let evaluation = Evaluation(Self.options, files: InputFiles(system: system))
    let plan = try evaluation.plan(checkpoints: Self.inputs)
    let record = try RunRecord(
      command: ["simulation"], options: Self.options, files: evaluation.files, start: start)
    var outputs = try RunOutputs(
      plan, record: record, folder: Self.folder, resume ? .resume : .new, system: system)
    do throws(EvaluationError) {
      try evaluation.score(plan, skipping: outputs.finished) {
        number, result throws(EvaluationError) in
        try outputs.add(result, at: number)
        done(outputs.results.count)
      }
    } catch {
      if outputs.canReport(after: error) { _ = try outputs.writeReports() }
      throw error
    }
    _ = try outputs.writeReports()
    return outputs.results.sorted { $0.key < $1.key }.map(\.value)
  }

  private func leftAlone(_ numbers: [Int]) throws -> Expected {
    let system = SimulatedFileSystem(disk(numbers))
    let results = try run(system, resume: true) { _ in }
    let plan = try Evaluation(Self.options, files: InputFiles(system: system))
      .plan(checkpoints: Self.inputs)
    var expected = Expected()
    for count in 1...results.count {
      var tables: [String: String] = [:]
      for table in plan.report(
        Dictionary(uniqueKeysWithValues: results.prefix(count).enumerated().map { ($0, $1) })
      ).tables {
        tables[table.name + ".csv"] = Self.withoutSeconds(table.csv)
      }
      expected.tables.append(tables)
    }
    expected.record = try Self.withoutTimes(system.disk.text(Self.folder + "/run.json") ?? "")
    return expected
  }
}

// MARK: - One seed

extension RunSimulation {
  /// Lives the life of one output folder.
  ///
  /// - Throws: `Violation`.
  package func live(seed: UInt64) throws -> Outcomes {
    var random = SeededGenerator(seed: seed)
    var disk = disk([0, 0])
    var outcomes = Outcomes()
    var acknowledged = 0
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      let fate = fate(&random)
      let system = SimulatedFileSystem(disk, fate: fate, seed: random.next())
      let resume = random.uniform() < 0.8
      var begun = 0
      do {
        _ = try run(system, resume: resume) { count in
          (begun, acknowledged) = (count, count)
        }
        if !system.isDead { outcomes.finished += 1 }
      } catch {
        try judge(error, system, fate, seed, &outcomes)
      }
      if system.isDead { outcomes.died += 1 }
      if !system.isDead && system.openFiles > 0 {
        throw Violation(seed: seed, what: "\(system.openFiles) files were left open")
      }
      disk = system.disk
      if system.isDead && random.uniform() < 0.7 {
        disk.losePower(&random)
      } else {
        disk.endProcess()
      }
      let kept = Self.finished(in: disk)
      // A run that does not resume begins anew where nothing is unfinished.
      if kept < acknowledged && (resume || begun > 0) {
        throw Violation(seed: seed, what: "\(acknowledged) batches were done, \(kept) are kept")
      }
      acknowledged = min(acknowledged, kept)
      try checkTables(disk, seed)
    }
    try checkResumed(disk, seed)
    return outcomes
  }

  private func fate(_ random: inout SeededGenerator) -> SimulatedFileSystem.Fate {
    var fate = SimulatedFileSystem.Fate()
    fate.errors = [0, 0, 0.002, 0.02].randomElement(using: &random)!
    fate.shortness = [0, 0.3].randomElement(using: &random)!
    fate.clockSteps = [0, 0.5].randomElement(using: &random)!
    if random.uniform() < 0.6 { fate.death = Int.random(in: 1...calls + 5, using: &random) }
    guard random.uniform() < 0.3 else { return fate }
    let input = Int.random(in: 0..<2, using: &random)
    let path = Self.inputs[input]
    let content = contents[input].randomElement(using: &random)!.bytes
    let length = Int.random(in: 0..<content.count, using: &random)
    let kind = Int.random(in: 0..<4, using: &random)
    fate.meanwhile = (
      Int.random(in: 1...calls, using: &random),
      { disk in
        switch kind {
        case 0: disk.replace(path, content)
        case 1: disk.overwrite(path, content)
        case 2: disk.overwrite(path, Array(content[..<length]))
        default: disk.removeFile(path)
        }
      }
    )
    return fate
  }

  /// Whether an error has a cause in what happened.
  private func judge(
    _ error: any Error, _ system: SimulatedFileSystem, _ fate: SimulatedFileSystem.Fate,
    _ seed: UInt64, _ outcomes: inout Outcomes
  ) throws {
    if system.isDead { return }
    switch error {
    case EvaluationError.journal(.damaged), EvaluationError.journal(.foreign),
      EvaluationError.journal(.removed):
      throw Violation(seed: seed, what: "our own journal is refused: \(error)")
    case EvaluationError.journal: outcomes.refused += 1
    case EvaluationError.checkpoint(let error):
      if case .changed = error.problem {
        outcomes.foundChanged += 1
      } else {
        outcomes.failed += 1
      }
    case is CheckpointError: outcomes.failed += 1
    case is EvaluationError: outcomes.failed += 1
    default: throw Violation(seed: seed, what: "an error of no known kind: \(error)")
    }
  }
}

// MARK: - What must hold

extension RunSimulation {
  /// Tables are whole, and those that the record vouches for are of the contents that it names.
  private func checkTables(_ disk: SimulatedDisk, _ seed: UInt64) throws {
    var possible = Array(expected.values)
    if let text = disk.text(Self.folder + "/run.json") {
      guard let record = Self.object(text), let seconds = record["seconds"] as? Double else {
        throw Violation(seed: seed, what: "run.json is no JSON: \(text)")
      }
      if seconds < 0 { throw Violation(seed: seed, what: "the run took \(seconds) s") }
      guard let numbers = numbers(record["files"]), let claimed = expected[numbers] else {
        throw Violation(seed: seed, what: "run.json vouches for no content: \(text)")
      }
      possible = [claimed]
    }
    for name in Self.tables {
      guard let text = disk.text("\(Self.folder)/\(name)") else { continue }
      let found = Self.withoutSeconds(text)
      if !possible.contains(where: { $0.tables.contains { $0[name] == found } }) {
        throw Violation(seed: seed, what: "\(name) is of no run that run.json tells of:\n\(text)")
      }
    }
  }

  /// With the inputs of the journal, or any if there is none, a run goes on to the right end.
  private func checkResumed(_ disk: SimulatedDisk, _ seed: UInt64) throws {
    let numbers = Self.journalFiles(disk).flatMap(numbers) ?? [0, 1]
    var disk = disk
    for (path, content) in zip(Self.inputs, chosen(numbers)) { disk.put(path, content.bytes) }
    let system = SimulatedFileSystem(disk)
    do {
      _ = try run(system, resume: true) { _ in }
    } catch {
      throw Violation(seed: seed, what: "it cannot be resumed: \(error)")
    }
    disk = system.disk
    let all = expected[numbers]!
    for (name, table) in all.tables.last!.sorted(by: { $0.key < $1.key }) {
      let found = disk.text("\(Self.folder)/\(name)").map(Self.withoutSeconds)
      if found != table {
        throw Violation(seed: seed, what: "\(name) after resuming:\n\(found ?? "absent")")
      }
    }
    let record = try Self.withoutTimes(disk.text(Self.folder + "/run.json") ?? "")
    if record != all.record {
      throw Violation(seed: seed, what: "run.json after resuming:\n\(record)")
    }
    let names = disk.content(of: Self.folder)
    if names != (Self.tables + ["journal.jsonl", "run.json"]).sorted() {
      throw Violation(seed: seed, what: "left in the folder: \(names)")
    }
    for folder in ["/", "/out"] where disk.content(of: folder).contains(where: Self.isTemporary) {
      throw Violation(seed: seed, what: "left in \(folder): \(disk.content(of: folder))")
    }
  }

  private static func isTemporary(_ name: String) -> Bool { name.hasPrefix(".tmp-") }

  /// Which content each input has by its sum.
  private func numbers(_ files: Any?) -> [Int]? {
    guard let files = files as? [[String: Any]], files.count == Self.inputs.count else {
      return nil
    }
    let numbers = files.enumerated().compactMap { index, file in
      contents[index].firstIndex { $0.sum == file["sha256"] as? String }
    }
    return numbers.count == files.count ? numbers : nil
  }

  // MARK: - Reading what is there

  private static func object(_ text: String) -> [String: Any]? {
    (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any]
  }

  private static func journalLines(_ disk: SimulatedDisk) -> [[String: Any]] {
    let bytes = disk.bytes(folder + "/journal.jsonl") ?? []
    return bytes.split(separator: UInt8(ascii: "\n")).compactMap {
      object(String(decoding: $0, as: UTF8.self))
    }
  }

  private static func finished(in disk: SimulatedDisk) -> Int {
    journalLines(disk).count { $0["batch"] != nil }
  }

  /// Of the run as it went on last: what was not scored yet may have changed before.
  private static func journalFiles(_ disk: SimulatedDisk) -> Any? {
    journalLines(disk).compactMap { $0["run"] as? [String: Any] }.last?["files"]
  }

  private static func withoutSeconds(_ table: String) -> String {
    let lines = table.components(separatedBy: "\r\n").map { $0.components(separatedBy: ",") }
    guard let column = lines[0].firstIndex(of: "seconds") else { return table }
    return lines.map { cells in
      var cells = cells
      if cells.count > column { cells.remove(at: column) }
      return cells.joined(separator: ",")
    }.joined(separator: "\n")
  }

  private static func withoutTimes(_ record: String) throws -> String {
    var object = object(record) ?? [:]
    for key in ["start", "end", "seconds", "batches_resumed"] { object[key] = nil }
    let data = try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys])
    return String(decoding: data, as: UTF8.self)
  }
}

extension SimulatedDisk {
  fileprivate func text(_ path: String) -> String? {
    bytes(path).map { String(decoding: $0, as: UTF8.self) }
  }
}
