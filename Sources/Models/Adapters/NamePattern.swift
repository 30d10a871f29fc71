import Checkpoints
import Foundation
import Synchronization

/// A regular expression over module names, as PEFT applies it with Python's `re`.
struct NamePattern: Sendable {
  /// What of a name the pattern is about.
  enum Extent: Sendable {
    /// `re.fullmatch`
    case whole
    /// The whole name, or its end after a dot. A `^` in the pattern is the start of the name.
    case end
    /// The name of a list of layers, which the number of a layer follows, as in `layer.3.`.
    case list
  }

  private let expression: NSRegularExpression
  /// Where the pattern stands in the configuration.
  private let place: JSONValue
  private let text: String
  private let work: MatchingWork

  private static let maximumLength = 4096

  init(
    _ text: String, _ extent: Extent, at place: JSONValue, _ work: MatchingWork
  ) throws(CheckpointError) {
    if text.utf8.count > Self.maximumLength {
      throw place.wrong("a regular expression of at most \(Self.maximumLength) bytes")
    }
    do {
      // On its own first: what surrounds it must not make it valid.
      _ = try NSRegularExpression(pattern: text)
      expression = try NSRegularExpression(
        pattern: {
          switch extent {
          case .whole: "^(?:\(text))$"
          case .end: "^(.*\\.)?(\(text))$"
          case .list: "^(?:.*?\\.)?(?:\(text))\\.(?<number>[0-9]+)\\."
          }
        }())
    } catch {
      throw place.wrong("a regular expression")
    }
    self.place = place
    self.text = text
    self.work = work
  }

  /// - Throws: An error that names the pattern if it takes too long.
  func matches(_ name: String) throws(CheckpointError) -> Bool { try match(name) != nil }

  /// The first number that follows the pattern in a name.
  func number(behind name: String) throws(CheckpointError) -> Int? {
    guard let range = try match(name).flatMap({ Range($0.range(withName: "number"), in: name) })
    else { return nil }
    return Int(name[range])
  }

  private func match(_ name: String) throws(CheckpointError) -> NSTextCheckingResult? {
    var found: NSTextCheckingResult?
    var isTooLong = !work.count(MatchingWork.match)
    if !isTooLong {
      expression.enumerateMatches(
        in: name, options: .reportProgress, range: NSRange(name.startIndex..., in: name)
      ) { result, _, stop in
        found = result
        isTooLong = result == nil && !work.count(MatchingWork.report)
        if result != nil || isTooLong { stop.pointee = true }
      }
    }
    if isTooLong {
      throw place.wrong(
        "a regular expression that can be matched in few steps",
        hint: "Matching \(quoted(text)) takes too long: write it without repetitions inside "
          + "repetitions, or list the modules' names.")
    }
    return found
  }
}

/// The work that all patterns of an adapter together may take. A backtracking matcher can try
/// exponentially many ways to match a short pattern with a short name; how many it has tried is
/// reported to us, and the report ends it. It counts steps and not time, so that the same adapter
/// is read or refused on every machine.
final class MatchingWork: Sendable {
  /// Of one match that needs no report.
  static let match = 1
  /// ICU reports every 10,000 steps, about a millisecond.
  static let report = 1000
  /// Less than a second.
  private static let limit = 400_000

  private let spent = Mutex(0)

  /// - Returns: Whether the limit is kept.
  func count(_ work: Int) -> Bool {
    spent.withLock { spent in
      spent += work
      return spent <= Self.limit
    }
  }
}
