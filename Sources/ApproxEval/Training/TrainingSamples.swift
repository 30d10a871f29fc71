import Checkpoints
import Curvature
import TensorModule

/// Which samples are trained on, which are watched, and in what order they come.
struct TrainingSamples {
  let reader: BatchReader
  /// Trained on, ascending.
  let training: [Int]
  /// Held out, ascending; empty without a share.
  let heldOut: [Int]

  /// Checks every label and index of the file. Samples without any scored label take no part.
  ///
  /// - Parameter share: Of the samples that are held out, rounded to a whole number of them.
  init(_ checkpoint: LoadedCheckpoint, share: Double?, seed: UInt64) throws {
    reader = try checkpoint.reader()!
    try reader.checkRanges(Array(0..<reader.data.count))
    let scored = try reader.scoredSamples()
    guard let share else {
      (training, heldOut) = (scored, [])
      return
    }
    let count = Int((share * Double(scored.count)).rounded())
    if count == 0 || count == scored.count {
      throw EvaluationError.noSplit(
        share: share, samples: scored.count, file: reader.data.path)
    }
    let chosen = Set(
      sampleWithoutReplacement(
        count: count, from: scored.count, seed: seed, batch: 0, stream: .heldOutSamples))
    training = scored.indices.filter { !chosen.contains($0) }.map { scored[$0] }
    heldOut = scored.indices.filter(chosen.contains).map { scored[$0] }
  }

  /// Steps in one epoch.
  func steps(batchSize: Int) -> Int { (training.count + batchSize - 1) / batchSize }

  /// The mini-batches of an epoch, which seed and epoch alone decide; the last one may be smaller.
  func batches(epoch: Int, size: Int, seed: UInt64) -> [[Int]] {
    let order = sampleWithoutReplacement(
      count: training.count, from: training.count, seed: seed, batch: epoch,
      stream: .trainingOrder)
    return stride(from: 0, to: order.count, by: size).map { start in
      order[start..<min(start + size, order.count)].map { training[$0] }
    }
  }
}
