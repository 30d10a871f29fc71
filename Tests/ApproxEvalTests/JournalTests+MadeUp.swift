import Checkpoints
import Crypto
import Foundation
import TestSupport
import Testing

@testable import ApproxEval

/// Made-up runs.
extension JournalTests {
  static func plan(batches: Int, paths: [String] = ["run/a.bin"]) -> RunPlan {
    RunPlan(
      paths.map { path in
        RunPlan.Checkpoint(
          description: CheckpointDescription(
            path: path, epoch: 3, step: nil, model: "sequential", loss: "mse",
            trainableParameters: 10, allParameters: 12, positions: 1, classes: 2),
          batches: 0..<batches)
      })
  }

  static func file(_ path: String, _ sum: String) -> FileRecord {
    FileRecord(path: path, bytes: 5, sha256: sum)
  }

  static func record(
    _ options: EvaluationOptions, _ files: [String]
  ) throws -> RunRecord {
    var record = try RunRecord(
      command: [], options: options, files: InputFiles(), start: POSIXFileSystem().now)
    record.files = files.map { file($0, "aa") }
    return record
  }

  static func results(_ count: Int, traceRows: Int = 3) -> [BatchResult] {
    var random = MadeUp(seed: 5)
    return (0..<count).map { random.result(batch: $0, traceRows: traceRows) }
  }

  static func lines(_ results: some Sequence<BatchResult>) -> [Data] {
    results.enumerated().map { JournalLine.encoded(.batch($0, $1)) }
  }

  static func lines(_ results: [Int: BatchResult]) -> [Data] {
    results.sorted { $0.key < $1.key }.map { JournalLine.encoded(.batch($0.key, $0.value)) }
  }

  /// From 0 on.
  static func numbered(_ results: [BatchResult]) -> [Int: BatchResult] {
    Dictionary(uniqueKeysWithValues: results.enumerated().map { ($0, $1) })
  }

  final class Folder {
    let url: URL

    init() throws {
      url = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    var file: String { url.appendingPathComponent(Journal.name).path }
    var exists: Bool { FileManager.default.fileExists(atPath: file) }
    var bytes: Data { get throws { try Data(contentsOf: URL(fileURLWithPath: file)) } }

    func journal(
      resume: Bool, _ options: EvaluationOptions = EvaluationOptions(),
      plan: RunPlan = JournalTests.plan(batches: 3)
    ) throws -> Journal {
      try Journal(
        folder: url.path, record: JournalTests.record(options, ["a.bin"]),
        plan: plan, resume ? .resume : .new)
    }

    func error(resume: Bool, _ options: EvaluationOptions = EvaluationOptions()) -> String? {
      do {
        _ = try journal(resume: resume, options)
        return nil
      } catch {
        return "\(error)"
      }
    }

    /// A new file with these batches.
    func write(_ results: [BatchResult], isReported: Bool = false) throws {
      try? FileManager.default.removeItem(at: url)
      let journal = try journal(resume: false)
      for (number, result) in results.enumerated() {
        try journal.append(result, at: number)
      }
      if isReported { try journal.markReported() }
    }

    /// The first line of the error that a field of a line gives, with a checksum that fits.
    func errorAfterReplacing(line: Int, field: String) throws -> String? {
      var lines = try bytes.split(separator: UInt8(ascii: "\n")).map {
        String(decoding: $0, as: UTF8.self)
      }
      let key = field.prefix { $0 != ":" }
      let content = try #require(
        lines[line].range(of: #"","(run|batch)":"#, options: .regularExpression))
      var text = String(lines[line][content.upperBound...].dropLast())
      let old = try #require(text.range(of: "\(key):-?[0-9]+", options: .regularExpression))
      text.replaceSubrange(old, with: field)
      let kind = String(lines[line][content]).dropFirst(3).dropLast(2)
      let sum = SHA256.hash(data: Data(text.utf8)).hexadecimal
      lines[line] = "{\"sha256\":\"\(sum)\",\"\(kind)\":\(text)}"
      try replace(Data(lines.map { $0 + "\n" }.joined().utf8))
      return error(resume: true)?.split(separator: "\n").first.map(String.init)
    }

    func replace(_ bytes: Data) throws { try bytes.write(to: URL(fileURLWithPath: file)) }
  }
}

/// Results with numbers of every kind.
struct MadeUp {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }

  /// splitmix64 (Steele, Lea and Flood 2014).
  private mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  private mutating func number() -> Double {
    let special: [Double] = [
      0, -0.0, .infinity, -.infinity, .nan, .leastNonzeroMagnitude, -.leastNormalMagnitude,
      .greatestFiniteMagnitude, 1, 0.1, 1e23, 0x1.8p-1040, -0x1p53, 1e22,
    ]
    let choice = next() % 20
    if choice < UInt64(special.count) { return special[Int(choice)] }
    // All bit patterns are as likely, NaNs with a payload too.
    return Double(bitPattern: next())
  }

  private mutating func optional() -> Double? { next() % 3 == 0 ? nil : number() }

  private mutating func text() -> String {
    let texts = [
      "ef", "update:a \"b\"\\", "über/路径.bin", "\u{1F600}\n\t\u{7}", "", "/a/b", "\u{2028}",
    ]
    return texts[Int(next() % UInt64(texts.count))]
  }

  private mutating func settingText() -> SettingText { "\(text())\(.memory)\(text())" }

  mutating func result(batch: Int, traceRows: Int = 20) -> BatchResult {
    var result = BatchResult(
      checkpoint: "run/a.bin", epoch: next() % 2 == 0 ? nil : Int.max, step: nil, batch: batch,
      precision: next() % 2 == 0 ? .float32 : .float64, isRepeated: next() % 2 == 0,
      overflowsInSingle: next() % 2 == 0, samples: 8, recomputedSamples: 0, loss: number(),
      meanLoss: number(), gradientNorm: number(),
      gradientNormRatio: number(), logitGradientNormRatio: number(), gammaBound: number(),
      reference: nil, trace: [], scores: [], seconds: number())
    result.reference = ReferenceRecord(
      kind: .cg, gamma: number(), iterations: next() % 2 == 0 ? nil : 3, residual: number(),
      stop: text(), explanation: settingText(),
      status: ReferenceStatus.allCases[Int(next() % 4)],
      advice: next() % 2 == 0 ? nil : settingText(),
      replacement: next() % 2 == 0 ? nil : text())
    for index in 0..<traceRows {
      result.trace.append(
        TraceRow(
          iteration: index, relativeResidual: number(), gamma: number(), seconds: number()))
    }
    for index in 0..<6 {
      result.scores.append(
        Score(
          method: text(), family: text(), role: [.method, .baseline, .reference][Int(next() % 3)],
          damping: index % 2 == 0 ? nil : text(), lambda: optional(),
          gamma: number(), gammaRelativeToSGD: optional(), gammaRelativeToReference: optional(),
          efficiency: optional(), efficiencyLow: number(), fisherQuadratic: number(),
          gradientDot: number(), updateNorm: number(), cosineGradient: number(),
          cosineReference: optional(), seconds: number(), gammaError: optional(),
          defect: [nil, .flat, .underflow, .invalid][Int(next() % 4)]))
    }
    return result
  }
}
