/// The batches of a run by number, counted through its checkpoints, and which of them a run scores:
/// all, or those of its shard.
struct RunSteps: Sendable, Equatable {
  /// Of each checkpoint: its name and the numbers of its batches.
  let checkpoints: [(name: String, batches: Range<Int>)]
  /// Numbers that are scored.
  let part: Range<Int>
  /// The number of each checkpoint's first batch.
  let firsts: [Int]

  init(_ checkpoints: [(name: String, batches: Range<Int>)], shard: Shard? = nil) {
    self.checkpoints = checkpoints
    var firsts: [Int] = []
    var total = 0
    for checkpoint in checkpoints {
      firsts.append(total)
      total += checkpoint.batches.count
    }
    self.firsts = firsts
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

  /// The number of a checkpoint's batch; `nil` where the part has no such.
  func number(ofCheckpoint index: Int, batch: Int) -> Int? {
    let checkpoint = checkpoints[index]
    guard checkpoint.batches.contains(batch) else { return nil }
    let number = firsts[index] + batch - checkpoint.batches.lowerBound
    return part.contains(number) ? number : nil
  }

  /// Whether a result is of the batch with this number. Its name alone does not tell: a checkpoint may
  /// be given several times.
  func has(_ result: BatchResult, at number: Int) -> Bool {
    guard let step = step(number) else { return false }
    return step.batch == result.batch && checkpoints[step.checkpoint].name == result.checkpoint
  }
}

/// One of the parts that a run is shared out in.
public struct Shard: Sendable, Equatable, Codable {
  /// From 1.
  public let index: Int
  /// Parts of the run.
  public let count: Int

  /// More parts than any system has processes for; a file may claim any number.
  public static let most = 1 << 20

  /// - Returns: `nil` unless `1 <= index <= count <= most`.
  public init?(_ index: Int, of count: Int) {
    guard index >= 1 && index <= count && count <= Self.most else { return nil }
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
