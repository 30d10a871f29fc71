import Metrics

/// One method at one damping over the batches of a checkpoint.
public struct MethodSummary: Sendable, Equatable {
  /// The method's name.
  public let method: String
  /// What the rows are to the others.
  public let role: RowRole
  /// As given, `nil` where the method has none.
  public let damping: String?
  /// Draws per sample, `nil` where the method draws none.
  public let monteCarloSamples: Int?
  /// Of the indicator.
  public let gamma: Summary
  /// Of the ratios of each batch, not the ratio of the means; so for the next two. `nil` where a
  /// batch has none.
  public let gammaRelativeToSGD: Summary?
  /// As the one before, relative to the reference.
  public let gammaRelativeToReference: Summary?
  /// `(gamma(reference) / gamma)^2`
  public let efficiency: Summary?
  /// What the efficiency is at the least: of batches whose reference converged the efficiency
  /// itself, of the others what the certificate proves.
  public let efficiencyLow: Summary
  /// In how many batches gamma is marked: off by more than a thousandth, by estimate.
  public let batchesMarked: Int
  /// The largest estimate; `nil` where no batch has a gamma.
  public let gammaError: Double?
  /// In how many batches the reference did not converge; `nil` where there is none.
  public let batchesWithoutReference: Int?
  /// In how many batches there is no gamma, for which scores.csv has the reason.
  public let batchesWithoutGamma: Int
}

extension Report.Entry {
  /// In the order of the scores.
  public var summaries: [MethodSummary] {
    var order: [RowIdentity] = []
    var groups: [RowIdentity: [(score: Score, isConverged: Bool?)]] = [:]
    for result in results {
      for score in result.scores {
        let key = score.identity
        if groups[key] == nil { order.append(key) }
        groups[key, default: []].append((score, result.reference?.isConverged))
      }
    }
    return order.map { key in
      let group = groups[key]!
      let scores = group.map(\.score)
      let outcomes = group.compactMap(\.isConverged)
      let varies = varies(draws: key.monteCarloSamples)
      func summary(_ values: [Double]) -> Summary {
        var summary = Summary(values)
        // One batch over and over has rounding for a spread.
        if !varies { summary.standardDeviation = nil }
        return summary
      }
      func summary(_ values: [Double?]) -> Summary? {
        let known = values.compactMap { $0 }
        return known.count == values.count ? summary(known) : nil
      }
      return MethodSummary(
        method: key.method, role: key.role, damping: key.damping,
        monteCarloSamples: key.monteCarloSamples, gamma: summary(scores.map(\.gamma)),
        gammaRelativeToSGD: summary(scores.map(\.gammaRelativeToSGD)),
        gammaRelativeToReference: summary(scores.map(\.gammaRelativeToReference)),
        efficiency: summary(scores.map(\.efficiency)),
        efficiencyLow: Summary(
          group.map {
            $0.isConverged == true ? $0.score.efficiency ?? .nan : $0.score.efficiencyLow
          }),
        batchesMarked: scores.count { $0.isMarked },
        gammaError: scores.compactMap(\.gammaError).max(),
        batchesWithoutReference: outcomes.isEmpty ? nil : outcomes.count { !$0 },
        batchesWithoutGamma: scores.count { $0.gamma.isNaN })
    }
  }
}
