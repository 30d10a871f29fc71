import ApproxEval
import Checkpoints
import Foundation

/// A short run on a checkpoint of the fixtures, of which inputs for journals and tables are made.
struct FinishedRun: Sendable {
  let record: RunRecord
  let plan: RunPlan
  let results: [BatchResult]
  /// The same with two entries in each list, so that a whole journal of them fits into an input.
  var shortResults: [BatchResult] {
    results.map { result in
      var result = result
      result.trace = Self.ends(result.trace)
      result.scores = Self.ends(result.scores)
      result.layers = Self.ends(result.layers)
      result.costs = Self.ends(result.costs)
      return result
    }
  }

  private static func ends<Element>(_ all: [Element]) -> [Element] {
    Array(all.prefix(1)) + all.dropFirst().suffix(1)
  }

  static let ofTheFixtures = Result { try FinishedRun(Fixtures.ofThePackage) }

  private init(_ fixtures: Fixtures) throws {
    let path = fixtures.path("golden/mse_mlp.bin")
    var options = EvaluationOptions()
    options.methods = [.sgd, .ief, .kfac]
    options.cgIterations = 2
    options.batchSize = 4
    options.batches = 2
    options.threads = 1
    options.perLayer = true
    let evaluation = Evaluation(options)
    var description = try evaluation.describe(checkpoint: path)
    // The same everywhere: inputs name it.
    description.path = "a.bin"
    let batches = 0..<2
    plan = RunPlan([.init(description: description, batches: batches)])
    results = try evaluation.score(checkpoint: path, batches: batches).map { result in
      var result = result
      result.checkpoint = "a.bin"
      return result
    }
    record = try RunRecord(
      command: ["fuzz"], options: options, files: InputFiles(),
      start: Moment(date: Date(timeIntervalSince1970: 0), uptime: 0))
  }

  /// The lines of a journal of the run, with short results.
  func journalLines() throws -> [[UInt8]] {
    Scratch.makeFolder("journal")
    Scratch.remove("journal/" + Journal.name)
    let journal = try Journal(
      folder: Scratch.path("journal"), record: record, plan: plan)
    for (number, result) in shortResults.enumerated() { try journal.append(result, at: number) }
    try journal.markReported()
    let file = FileManager.default.contents(atPath: journal.path) ?? Data()
    return file.split(separator: UInt8(ascii: "\n")).map { Array($0) }
  }
}

extension [BatchResult] {
  /// By their places in a run that has no others.
  var numbered: [Int: BatchResult] {
    Dictionary(uniqueKeysWithValues: enumerated().map { ($0.offset, $0.element) })
  }
}
