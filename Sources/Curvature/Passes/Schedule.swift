import GraphModule

/// How a batch is split for the workers: by model and batch alone, never by the number of
/// threads, so that the same input gives the same bits on any machine size.
package struct Schedule: Sendable {
  /// A run of samples that one executor handles at once.
  package struct Chunk: Sendable {
    /// Its place among the chunks.
    package let number: Int
    package let first: Int
    package let count: Int
  }
  package let samples: Int
  package let chunks: [Chunk]
  /// Runs of chunks that share one accumulator and are handled in order by one worker.
  package let lanes: [Range<Int>]

  package var largestChunk: Int { chunks.reduce(0) { max($0, $1.count) } }

  /// - Parameters:
  ///   - rowsPerSample: Rows that one sample brings to the products that dominate.
  ///   - weightCount: Scalars of all parameters, which every chunk reads.
  ///   - accumulatorCount: Scalars that each lane accumulates for itself.
  ///   - sharesProducts: Whether all threads can work on one chunk's products.
  init(
    samples: Int, rowsPerSample: Int, weightCount: Int, accumulatorCount: Int,
    sharesProducts: Bool = false
  ) {
    self.samples = samples
    if sharesProducts {
      chunks = [Chunk(number: 0, first: 0, count: samples)]
      lanes = [0..<1]
      return
    }
    // Below about 64 rows OpenBLAS spends its time on packing the weights; above a few hundred
    // nothing is gained and the chunk leaves the cache. Weights that do not fit into a cache
    // either have to come from memory for every chunk, and are worth more rows. At least two
    // chunks, and then multiples of four, keep any usual number of cores evenly busy.
    let rows = weightCount > 1 << 24 ? 512 : 256
    let wanted = samples * max(rowsPerSample, 1) / rows
    let count = min(samples, wanted <= 2 ? 2 : (wanted + 3) / 4 * 4)
    chunks = Schedule.split(samples, into: count).enumerated().map {
      Chunk(number: $0, first: $1.lowerBound, count: $1.count)
    }
    // Lanes only cost memory and the time to add them up: fewer where they are long.
    let affordable = max(2, (1 << 26) / max(accumulatorCount, 1))
    lanes = Schedule.split(count, into: min(count, 32, affordable))
  }

  /// `count` items in `parts` runs whose lengths differ by at most one.
  static func split(_ count: Int, into parts: Int) -> [Range<Int>] {
    (0..<parts).map { (count * $0 / parts)..<(count * ($0 + 1) / parts) }
  }
}
