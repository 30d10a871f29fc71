import TensorModule

/// What one part of the work on a batch took, beside what its shapes predict.
public struct PhaseCost: Sendable, Equatable, Codable {
  /// The parts, in the order in which they begin.
  public enum Phase: String, Sendable, CaseIterable, Codable {
    /// The forward pass, with all that derivatives need kept.
    case forward
    /// Backward passes for true and sampled labels, and the Gram matrices of their gradients.
    case gram
    /// The solver of the reference.
    case reference
    /// Solves and sums that make the directions of all methods.
    case directions
    /// J times every direction, and its scores.
    case jvp
  }

  /// Which part it is.
  public var phase: Phase
  /// Seconds on the clock.
  public var seconds: Double
  /// As it was handed to BLAS by this process.
  public var measured: Work
  /// As shapes and options predict it; `nil` where it depends on more.
  public var predicted: Work?
  /// `nil` where the plan has no such phase.
  public var memory: Memory?

  /// Bytes of the vectors that there are at the worst moment: a file's own pages are not among them.
  public struct Memory: Sendable, Equatable, Codable {
    /// As the vectors were counted.
    public var measured: Int
    /// As the plan has them.
    public var planned: Int
  }
}

/// Measures the phases of one batch, in the order in which they begin.
struct PhaseClock {
  let plan: MemoryPlan
  private(set) var costs: [PhaseCost] = []

  mutating func measure<R>(_ phase: PhaseCost.Phase, _ body: () throws -> R) rethrows -> R {
    let (before, clock) = (ProductMeter.read(), ContinuousClock())
    let start = clock.now
    MemoryMeter.restart()
    let result = try body()
    let work = ProductMeter.read() - before
    let cost = PhaseCost(
      phase: phase, seconds: (clock.now - start).seconds,
      measured: Work(operations: Double(work.operations), bytes: Double(work.bytes)),
      memory: plan.peaks[phase].map { .init(measured: MemoryMeter.peak, planned: $0) })
    costs.append(cost)
    return result
  }

  /// - Parameter iterations: Products that the solver of the reference has taken, where it is an
  ///   iterative one.
  func costs(_ prediction: PhasePrediction, iterations: Int?) -> [PhaseCost] {
    costs.map { cost in
      var cost = cost
      cost.predicted = prediction.work(cost.phase, iterations: iterations)
      return cost
    }
  }
}
