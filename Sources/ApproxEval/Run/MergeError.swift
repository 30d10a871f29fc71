import Checkpoints

/// Why folders are not the shards of one run, or not all of them.
public enum MergeError: Error, Sendable, Equatable {
  case noJournal(folder: String)
  /// A run in one piece.
  case noShard(folder: String)
  /// Of another run, or shared out otherwise; each difference is a clause.
  case differs(folder: String, from: String, [String])
  case repeated(shard: String, folders: [String])
  /// `shards` are the numbers of those that are not there or not finished.
  case missing(shards: [Int], of: Int, unfinished: [Unfinished])

  /// A shard that has not ended.
  public struct Unfinished: Sendable, Equatable {
    public var folder: String
    public var finished: Int
    public var planned: Int
  }

  /// `2,5-7`, as a job array takes it.
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

extension MergeError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .noJournal(let folder):
      errorText(
        "there is no journal of a run with a finished batch", at: folder,
        ["Name the folders that score --shard has been given as --output."])
    case .noShard(let folder):
      errorText(
        "this is a run in one piece, and no shard", at: folder,
        ["Its tables are whole: there is nothing to merge it with."])
    case .differs(let folder, let other, let differences):
      errorText(
        "this is a shard of another run than \(other)", at: folder,
        differences + ["Shards of one run have the same options and inputs."])
    case .repeated(let shard, let folders):
      errorText(
        "shard \(shard) is there twice", at: folders.joined(separator: " and "),
        ["Name one of them."])
    case .missing(let shards, let count, let unfinished):
      errorText(
        "\(shards.count) of \(count) shards are missing or have not ended",
        at: "--array=\(Self.list(shards))",
        unfinished.map { "\($0.folder) has \($0.finished) of \($0.planned) batches" } + [
          "Run them, those that have begun with --resume, and with --shard auto/\(count) in the "
            + "array."
        ])
    }
  }
}
