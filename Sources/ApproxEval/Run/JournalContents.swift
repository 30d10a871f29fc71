import Foundation

/// What a journal file holds, up to the last line that was written whole.
///
/// Every line was on the disk before the next one was begun. So a machine that lost its power can
/// have left half of the last line only: cut short, or with zeros where blocks did not reach the
/// disk. No line holds a zero byte otherwise, and whatever else is wrong is damage.
struct JournalContents: Sendable {
  /// Of the run as it has grown last; `nil` if not even the first line is whole.
  var identity: RunIdentity?
  /// By their numbers in that run, and with its names.
  var results: [Int: BatchResult] = [:]
  /// What went wrong last at a checkpoint of that run, by index, unless it has gone on since.
  var failures: [Int: FailureRecord] = [:]
  private var steps = RunSteps([])
  var isReported = false
  /// Bytes of whole lines; what follows was cut off while it was written.
  var length = 0

  /// Batches that nothing is to be expected of: those that are done, and the others of checkpoints that
  /// have failed.
  var settled: Int {
    failures.keys.reduce(results.count) { count, index in
      let numbers = steps.numbers(ofCheckpoint: index)
      return count + numbers.count - results.keys.count(where: numbers.contains)
    }
  }

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
      steps = identity.steps
      return
    }
    switch entry {
    case .run(let next):
      // The run has grown: what stays valid of its results counts on.
      let carried = next.carried(results, from: identity)
      if !carried.differences.isEmpty {
        throw .order(found: "the beginning of another run", expected: expected)
      }
      self.identity = next
      steps = next.steps
      (results, failures, isReported) = (carried.results, [:], false)
    case .batch(let number, let result):
      if isReported || results[number] != nil || !steps.has(result, at: number) {
        throw .order(
          found: "batch \(result.batch) of \(result.checkpoint)", expected: expected)
      }
      results[number] = result
      if let step = steps.step(number) { failures[step.checkpoint] = nil }
    case .failed(let failure):
      guard !isReported, let index = failure.index, steps.checkpoints.indices.contains(index),
        steps.checkpoints[index].name == failure.checkpoint
      else { throw .order(found: "a failure of \(failure.checkpoint)", expected: expected) }
      failures[index] = failure
    case .reported:
      if results.count < steps.part.count { throw .order(found: Self.end, expected: expected) }
      isReported = true
    }
  }

  private static let end = "the end of the run"

  /// The first batch that is not there, in words.
  private var expected: String {
    if isReported { return Self.end }
    guard let number = steps.part.first(where: { results[$0] == nil }),
      let step = steps.step(number)
    else { return Self.end }
    return "batch \(step.batch) of \(steps.checkpoints[step.checkpoint].name)"
  }
}
