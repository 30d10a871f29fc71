import Foundation

/// What a journal file holds, up to the last line that was written whole.
///
/// Every line was on the disk before the next one was begun. So a machine that lost its power can
/// have left half of the last line only: cut short, or with zeros where blocks did not reach the
/// disk. No line holds a zero byte otherwise, and whatever else is wrong is damage.
struct JournalContents: Sendable {
  /// `nil` if not even the first line is whole.
  var identity: RunIdentity?
  var results: [BatchResult] = []
  var isReported = false
  /// Bytes of whole lines; what follows was cut off while it was written.
  var length = 0

  /// - Throws: The first line that is whole and wrong.
  init(_ bytes: Data, file: String) throws(JournalError) {
    var line = 0
    while let end = bytes[(bytes.startIndex + length)...].firstIndex(of: UInt8(ascii: "\n")) {
      line += 1
      let start = bytes.startIndex + length
      do throws(JournalError.Defect) {
        try add(JournalLine.decoded(bytes[start..<end]))
      } catch {
        if end + 1 == bytes.endIndex, isHalfWritten(bytes[start..<end], isFirst: line == 1) {
          return
        }
        if line == 1 && error == .form { throw .foreign(file: file) }
        throw .damaged(file: file, line: line, byte: length, error)
      }
      length = end + 1 - bytes.startIndex
    }
    // What a run leaves behind begins like a line.
    if line == 0, !JournalLine.isBeginning(bytes), !isHalfWritten(bytes, isFirst: true) {
      throw .foreign(file: file)
    }
  }

  /// Whether a power cut explains these bytes. A first line shows by its beginning that it is ours,
  /// or is without its first block.
  private func isHalfWritten(_ line: Data, isFirst: Bool) -> Bool {
    guard let zero = line.firstIndex(of: 0) else { return false }
    if !isFirst { return true }
    let block = 512
    return zero == line.startIndex
      ? line.prefix(block).allSatisfy { $0 == 0 } : JournalLine.isBeginning(line[..<zero])
  }

  private mutating func add(_ entry: JournalEntry) throws(JournalError.Defect) {
    guard let identity else {
      guard case .run(let identity) = entry else { throw .form }
      self.identity = identity
      return
    }
    let end = "the end of the run"
    let expected = identity.batch(after: results.count) ?? end
    let found =
      switch entry {
      case .run: "the beginning of a run"
      case .batch(let result): "batch \(result.batch) of \(result.checkpoint)"
      case .reported: end
      }
    if found != expected { throw .order(found: found, expected: expected) }
    if case .batch(let result) = entry { results.append(result) } else { isReported = true }
  }
}

extension RunIdentity {
  /// What comes after so many batches, in words.
  fileprivate func batch(after finished: Int) -> String? {
    var rest = finished
    for checkpoint in checkpoints {
      if rest < checkpoint.batches {
        return "batch \(checkpoint.firstBatch + rest) of \(checkpoint.path)"
      }
      rest -= checkpoint.batches
    }
    return nil
  }

  /// Batches of the whole run.
  var plannedBatches: Int { checkpoints.reduce(0) { $0 + $1.batches } }
}
