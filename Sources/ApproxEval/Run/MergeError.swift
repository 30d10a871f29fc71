import Checkpoints

/// Why folders are not the shards of one run, or not all of them.
public enum MergeError: Error, Sendable, Equatable {
  /// The folder is none of a run.
  case noJournal(folder: String)
  /// A run in one piece.
  case noShard(folder: String)
  /// Of another run, or shared out otherwise; each difference is a clause.
  case differs(folder: String, from: String, [SettingText])
  /// Two folders are the same shard.
  case repeated(shard: String, folders: [String])
  /// `shards` are the numbers of those that are not there or not finished.
  case missing(shards: [Int], of: Int, unfinished: [Unfinished])

  /// A shard that has not ended.
  public struct Unfinished: Sendable, Equatable {
    /// Where it is.
    public var folder: String
    /// Batches that it has.
    public var finished: Int
    /// Batches of its part.
    public var planned: Int
  }

  /// `2,5-7`
  public static func list(_ numbers: [Int]) -> String {
    var ranges: [ClosedRange<Int>] = []
    for number in numbers.sorted() {
      if let last = ranges.last, last.upperBound + 1 == number {
        ranges[ranges.count - 1] = last.lowerBound...number
      } else {
        ranges.append(number...number)
      }
    }
    return ranges.map {
      $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)"
    }.joined(separator: ",")
  }
}

extension MergeError: ExplainedError {
  public var message: ErrorMessage {
    switch self {
    case .noJournal(let folder):
      ErrorMessage(
        "there is no journal of a run with a finished batch", at: SettingText(folder),
        ["Name the folders that shards of the run have been given as \(.output)."])
    case .noShard(let folder):
      ErrorMessage(
        "this is a run in one piece, and no shard", at: SettingText(folder),
        ["Its tables are whole: there is nothing to merge it with."])
    case .differs(let folder, let other, let differences):
      ErrorMessage(
        "this is a shard of another run than \(other)", at: SettingText(folder),
        differences + ["Shards of one run have the same options and inputs."])
    case .repeated(let shard, let folders):
      ErrorMessage(
        "shard \(shard) is there twice", at: SettingText(folders.joined(separator: " and ")),
        ["Name one of them."])
    case .missing(let shards, let count, let unfinished):
      ErrorMessage(
        "\(shards.count) of \(count) shards \(shards.count == 1 ? "is missing or has" : "are missing or have") not ended",
        at: "\(.shard) \(Self.list(shards))",
        unfinished.map { part -> SettingText in
          "\(part.folder) has \(part.finished) of \(part.planned) batches"
        } + ["Run them, those that have begun with \(.resume)."])
    }
  }
}
