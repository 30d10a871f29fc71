import GraphModule

/// How one batch is run: routes of gradients, chunks, and whose forward values are kept within a
/// budget.
package struct BatchPlan: Sendable {
  package let gradients: GradientPlan
  package let schedule: Schedule
  package let workers: Int
  /// Whether the batch is one chunk, whose products are shared by the threads.
  package let sharesProducts: Bool
  /// Samples whose forward values are kept; the others are recomputed in every pass, in memory
  /// for one chunk of each worker.
  package let keptSamples: Int
  let budget: Int

  /// - Parameters:
  ///   - budget: Bytes that forward values may take.
  ///   - bytesPerSample: Of kept forward values.
  package init(
    _ program: Program, samples: Int, threads: Int, budget: Int, bytesPerSample: Int
  ) {
    self.budget = budget
    let affordable = budget / max(bytesPerSample, 1)
    // Layers factor only where the rows of all samples are at hand. Not a matter of threads.
    gradients = GradientPlan(program, factors: affordable >= samples)
    // Chunks of so few rows would make every thread read every weight for itself.
    let sharesProducts = gradients.isWide && samples * gradients.rowsPerSample <= 512
    self.sharesProducts = sharesProducts
    let schedule = Schedule(
      samples: samples, rowsPerSample: gradients.rowsPerSample,
      weightCount: program.graph.parameters.reduce(0) { $0 + $1.count },
      accumulatorCount: gradients.accumulatedCount, sharesProducts: sharesProducts)
    self.schedule = schedule
    let workers = min(threads, schedule.lanes.count)
    self.workers = workers
    let spare = workers * schedule.largestChunk
    // Where the chunks in work are the whole batch, keeping it takes no more.
    let room = affordable >= samples || spare >= samples ? samples : affordable - spare
    keptSamples = schedule.chunks.first { $0.first + $0.count > room }?.first ?? samples
  }

  /// Samples for which there is memory at a time.
  package var storedSamples: Int {
    keptSamples + (keptSamples < schedule.samples ? workers * schedule.largestChunk : 0)
  }
}
