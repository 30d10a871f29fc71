/// The batches of a run by number, counted through its checkpoints, and which of them a run scores:
/// all, or those of its shard.
struct RunSteps: Sendable, Equatable {
  /// Of each checkpoint: its name and the numbers of its batches.
  let checkpoints: [(name: String, batches: Range<Int>)]
  /// Numbers that are scored.
  let part: Range<Int>
  /// The number of each checkpoint's first batch.
  let firsts: [Int]
  private let places: [String: [Int]]

  init(_ checkpoints: [(name: String, batches: Range<Int>)], shard: Shard? = nil) {
    self.checkpoints = checkpoints
    var firsts: [Int] = []
    var places: [String: [Int]] = [:]
    var total = 0
    for (index, checkpoint) in checkpoints.enumerated() {
      firsts.append(total)
      places[checkpoint.name, default: []].append(index)
      total += checkpoint.batches.count
    }
    (self.firsts, self.places) = (firsts, places)
    part = shard?.part(of: total) ?? 0..<total
  }

  static func == (a: RunSteps, b: RunSteps) -> Bool {
    a.part == b.part && a.checkpoints.elementsEqual(b.checkpoints, by: ==)
  }

  /// Numbers of a checkpoint's batches that are scored.
  func numbers(ofCheckpoint index: Int) -> Range<Int> {
    let all = firsts[index]..<firsts[index] + checkpoints[index].batches.count
    return all.clamped(to: part)
  }

  /// The checkpoint, by index, and its batch; `nil` beyond the part.
  func step(_ number: Int) -> RunPlan.Step? {
    guard part.contains(number), let index = firsts.lastIndex(where: { $0 <= number }) else {
      return nil
    }
    return RunPlan.Step(
      checkpoint: index, batch: checkpoints[index].batches.lowerBound + number - firsts[index])
  }

  /// The number of a checkpoint's batch that is none of `filled`; a checkpoint that is given twice has
  /// two of them. `nil` where the part has no such.
  func number(checkpoint name: String, batch: Int, notIn filled: (Int) -> Bool) -> Int? {
    for index in places[name] ?? [] where checkpoints[index].batches.contains(batch) {
      let number = firsts[index] + batch - checkpoints[index].batches.lowerBound
      if part.contains(number) && !filled(number) { return number }
    }
    return nil
  }

  /// Results by number; those that have no place are left out.
  func placed(_ results: [BatchResult]) -> [Int: BatchResult] {
    var placed: [Int: BatchResult] = [:]
    for result in results {
      let number = number(checkpoint: result.checkpoint, batch: result.batch) {
        placed[$0] != nil
      }
      if let number { placed[number] = result }
    }
    return placed
  }
}

/// One of the parts that a run is shared out in.
public struct Shard: Sendable, Equatable, Codable {
  /// From 1.
  public let index: Int
  public let count: Int

  /// - Returns: `nil` unless `1 <= index <= count`.
  public init?(_ index: Int, of count: Int) {
    guard index >= 1 && index <= count else { return nil }
    (self.index, self.count) = (index, count)
  }

  /// `3/8`
  public var text: String { "\(index)/\(count)" }

  /// Its numbers out of so many: contiguous, so that a model is loaded by as few shards as can be, and
  /// of lengths that differ by one at most.
  func part(of total: Int) -> Range<Int> {
    func bound(_ index: Int) -> Int {
      let (whole, rest) = total.quotientAndRemainder(dividingBy: count)
      return whole * index + min(index, rest)
    }
    return bound(index - 1)..<bound(index)
  }
}
