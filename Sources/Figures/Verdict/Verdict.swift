/// Which method is best at each stage of a training run, which is worse than plain gradient descent, and
/// how sure that is: numbers, from which tables and sentences are made.
package struct Verdict: Sendable {
  /// The training run, as tables have it.
  package var place: String
  /// What it is called; `nil` where there is one alone.
  package var run: String?
  package var measure: Measure
  /// In the order of training; `epoch 3`.
  package var stages: [String]
  /// Beside plain gradient descent, in the order of the table.
  package var methods: [Method]
  /// `[stage][method]`, at the damping with the least mean of each method at that stage.
  package var best: [[Cell?]]
  /// The same at the method's smallest damping of the stage.
  package var leastDamped: [[Cell?]]
  /// Of plain gradient descent at each stage.
  package var baseline: [Efficiency?]
  /// The least mean of each stage and how sure it is; `nil` without any.
  package var winners: [Winner?]
  /// The same of the smallest dampings.
  package var leastDampedWinners: [Winner?]
  package var surroundings: [Surroundings]
  /// What is left out.
  package var notes: [String]

  /// What is compared.
  package enum Measure: Equatable, Sendable {
    /// Each batch's gamma relative to that of plain gradient descent.
    case ratio
    /// gamma itself, where the run has no plain gradient descent.
    case gamma
  }

  package struct Method: Equatable, Sendable {
    package var name: String
    /// The natural gradient, with which nothing competes.
    package var isReference: Bool
    /// How many it was scored at, 1 for a method without.
    package var dampings: Int
  }

  /// One method at one stage.
  package struct Cell: Equatable, Sendable {
    /// As given.
    package var damping: String?
    /// Over batches; NaN where a batch has no value.
    package var mean: Double
    /// `nil` for a single batch, or one over and over.
    package var deviation: Double?
    package var batches: Int
    /// Batches without a value.
    package var missing: Int
    package var efficiency: Efficiency
    /// Whether rounding may have moved a gamma by more than a thousandth.
    package var isMarked: Bool
    /// With plain gradient descent; `nil` without.
    package var comparison: PairedComparison?
    /// The largest over the smallest mean of its dampings at this stage; `nil` for one alone.
    package var dampingFactor: Double?
  }

  /// Means over batches, as shares.
  package struct Efficiency: Equatable, Sendable {
    /// Relative to the reference that was reached; NaN without.
    package var mean: Double
    /// What is proved; `nil` where every reference converged.
    package var low: Double?
  }

  package struct Winner: Equatable, Sendable {
    /// Those with the least mean that do not differ by more than rounding; empty where plain gradient descent
    /// itself has it.
    package var methods: [Int]
    package var mean: Double
    /// The one that is told apart from it worst; `nil` where nothing else was scored.
    package var rival: Rival?

    package struct Rival: Equatable, Sendable {
      /// `nil` for plain gradient descent.
      package var method: Int?
      package var comparison: PairedComparison
    }

    package var isSure: Bool { rival?.comparison.isSurelyAhead ?? true }
  }

  /// What training is like at a stage: means over batches.
  package struct Surroundings: Equatable, Sendable {
    package var batches: Int
    package var meanLoss: Double
    package var imbalance: Double
    /// Of the whole training data, from epochs.csv; `nil` where it does not tell.
    package var accuracy: Double?
  }
}

extension Verdict {
  /// Where a method stands beside plain gradient descent.
  package enum Standing: Equatable, Sendable {
    case ahead
    case behind
    /// The same number, or one above it by no more than rounding.
    case level
  }

  /// `nil` without a value.
  static func standing(_ cell: Cell?) -> Standing? {
    guard let cell, !cell.mean.isNaN else { return nil }
    // What no batch tells apart from plain gradient descent is not behind it, whatever rounding makes of the mean.
    if cell.mean > 1, cell.comparison?.areEqual ?? false { return .level }
    return cell.mean < 1 ? .ahead : cell.mean > 1 ? .behind : .level
  }

  /// Whether batches agree with the mean by more than chance.
  static func isSure(_ cell: Cell) -> Bool {
    guard let comparison = cell.comparison else { return false }
    return switch standing(cell) {
    case .ahead: comparison.isSurelyAhead
    case .behind: comparison.isSurelyBehind
    case .level, nil: false
    }
  }

  /// Whether any comparison has batches enough to be sure.
  package var canBeSure: Bool {
    (best + leastDamped).joined().contains { $0?.comparison?.canBeSure ?? false }
      || winners.contains { $0?.rival?.comparison.canBeSure ?? false }
  }

  /// Whether a method has several dampings.
  package var hasDampings: Bool { methods.contains { $0.dampings > 1 } }
}
