import Crypto
import Foundation

/// What one line of a journal says.
enum JournalEntry: Sendable {
  /// The first line, and one where a run has grown.
  case run(RunIdentity)
  /// A finished batch by its number, counted through all checkpoints.
  case batch(Int, BatchResult)
  /// A checkpoint of the plan whose other batches are left out.
  case failed(FailureRecord)
  /// The reports of the whole run have been written.
  case reported
}

/// A line of a journal: `{"sha256":"<64 digits>","<kind>":<content>}` and a line feed, where the
/// sum is of the bytes of the content.
///
/// Contents are encoded from the result types themselves, so that a field that is added to one is
/// in the journal. Numbers read back to the same bits, infinities too; a NaN stays a NaN.
enum JournalLine {
  private static let opening = Array(#"{"sha256":""#.utf8)
  private static let digits = 64

  /// - Returns: The line with its line feed.
  static func encoded(_ entry: JournalEntry) -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    // Texts, whole numbers, and numbers that all have a spelling: nothing here is without an encoding.
    func content(_ value: some Encodable) -> Data { try! encoder.encode(value) }
    let content =
      switch entry {
      case .run(let identity): content(identity)
      case .batch(let number, let result): content(NumberedBatch(number: number, result: result))
      case .failed(let failure): content(failure)
      case .reported: content(true)
      }
    var line = Data(opening)
    line.append(contentsOf: sum(content))
    line.append(contentsOf: "\",\"\(entry.kind)\":".utf8)
    line.append(content)
    line.append(contentsOf: "}\n".utf8)
    return line
  }

  /// - Parameter line: Without its line feed.
  static func decoded(_ line: Data) throws(JournalError.Defect) -> JournalEntry {
    let start = line.startIndex + opening.count
    guard line.starts(with: opening), line.last == UInt8(ascii: "}"),
      line.count > opening.count + digits
    else { throw .form }
    let rest = line[(start + digits)...].dropLast()
    for kind in ["run", "batch", "failed", "reported"] {
      let separator = Data("\",\"\(kind)\":".utf8)
      guard rest.starts(with: separator) else { continue }
      let content = rest.dropFirst(separator.count)
      guard line[start..<start + digits].elementsEqual(sum(content)) else { throw .checksum }
      return try decoded(kind, content)
    }
    throw .form
  }

  private static func decoded(
    _ kind: String, _ content: Data
  ) throws(JournalError.Defect) -> JournalEntry {
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    if kind == "run" {
      guard let format = try? decoder.decode(Format.self, from: content).format else {
        throw .content
      }
      if format != RunIdentity.format { throw .format(format) }
    }
    do {
      switch kind {
      case "run":
        let identity = try decoder.decode(RunIdentity.self, from: content)
        if identity.isPossible { return .run(identity) }
      case "batch":
        let batch = try decoder.decode(NumberedBatch.self, from: content)
        if batch.number >= 0 && batch.result.isPossible {
          return .batch(batch.number, batch.result)
        }
      case "failed": return .failed(try decoder.decode(FailureRecord.self, from: content))
      default: return .reported
      }
    } catch {}
    throw .content
  }

  /// The content of a batch's line.
  private struct NumberedBatch: Codable {
    var number: Int
    var result: BatchResult
  }

  /// What every version of the first line has.
  private struct Format: Decodable {
    var format: String
  }

  /// Whether these bytes may be the beginning of a line that was cut off.
  static func isBeginning(_ bytes: Data) -> Bool {
    bytes.starts(with: opening.prefix(bytes.count))
  }

  private static func sum(_ content: Data) -> [UInt8] {
    Array(SHA256.hash(data: content).hexadecimal.utf8)
  }
}

extension JournalEntry {
  fileprivate var kind: String {
    switch self {
    case .run: "run"
    case .batch: "batch"
    case .failed: "failed"
    case .reported: "reported"
    }
  }
}

// MARK: - Numbers that a file may claim

extension RunIdentity {
  /// Whether its counts are those of a run: none negative, and their sum a number.
  fileprivate var isPossible: Bool {
    var total = 0
    for checkpoint in checkpoints {
      let (_, overflow) = checkpoint.firstBatch.addingReportingOverflow(checkpoint.batches)
      let (sum, isTooMany) = total.addingReportingOverflow(checkpoint.batches)
      if checkpoint.firstBatch < 0 || checkpoint.batches < 0 || overflow || isTooMany {
        return false
      }
      if !checkpoint.description.isPossible { return false }
      total = sum
    }
    if let shard, Shard(shard.index, of: shard.count) == nil { return false }
    return settings.isPossible && files.allSatisfy { $0.bytes >= 0 }
  }
}

extension CheckpointDescription {
  /// Whether its counts are those of a model: none negative, and their sums numbers.
  fileprivate var isPossible: Bool {
    let counts =
      [trainableParameters, allParameters, positions, classes, data?.samples ?? 0]
      + parameters.map(\.count)
    return counts.count < 1 << 20 && counts.allSatisfy { (0...1 << 40).contains($0) }
  }
}

extension BatchResult {
  /// Whether its counts are those of a batch: none is negative.
  fileprivate var isPossible: Bool {
    let counts: [Int?] =
      [batch, samples, recomputedSamples, reference?.iterations, sampledLabels?.changed]
      + [sampledLabels?.all, duplicates?.samples, duplicates?.sampled, duplicates?.draws]
      + [sequences, bytes?.largest, reference?.iterationsBefore]
      + trace.map(\.iteration)
      + scores.map(\.monteCarloSamples) + layers.flatMap { [$0.parameters, $0.monteCarloSamples] }
    return counts.allSatisfy { $0 ?? 0 >= 0 }
  }
}
