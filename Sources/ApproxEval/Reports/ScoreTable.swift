import Foundation
import Metrics

extension Report.Entry {
  /// A row for each method and damping.
  var table: TextTable {
    let summaries = self.summaries
    let hasReference = results.contains { $0.reference != nil }
    let isCertain = results.allSatisfy { $0.reference?.isConverged ?? false }
    let gammas = Self.marked(
      Self.aligned(summaries.map { Spread($0.gamma) }), summaries.map { $0.batchesMarked > 0 })
    let ratios = Self.aligned(summaries.map { Spread($0.gammaRelativeToSGD) })
    let shares = Self.aligned(summaries.map { Spread(percent: $0.efficiency) })
    let lows = Self.padded(
      summaries.map {
        if $0.efficiencyLow.mean.isNaN { return "" }
        let low = percentage($0.efficiencyLow.mean)
        return hasReference ? "(≥ \(low))" : low
      })
    var table = TextTable([
      ("method", .left), ("damping", .left), ("gamma", .right), ("gamma/gamma_SGD", .right),
      (hasReference ? "efficiency %" : "efficiency % at least", .right),
    ])
    for (row, summary) in summaries.enumerated() {
      let low =
        !hasReference ? lows[row] : shares[row] + (isCertain ? "" : " " + lows[row])
      table.append([
        summary.methodLabel, summary.dampingLabel, gammas[row], ratios[row], low,
      ])
    }
    return table
  }

  /// A mean and what follows `±`, each as text.
  private struct Spread {
    var mean = ""
    var deviation: String?

    init(_ summary: Summary?) {
      guard let summary else { return }
      // Below the table stands why.
      if summary.mean.isNaN {
        mean = "none"
        return
      }
      mean = significant(summary.mean)
      deviation = summary.standardDeviation.flatMap { $0 == 0 ? nil : rough($0) }
    }

    init(percent summary: Summary?) {
      guard let summary else { return }
      mean = percentage(summary.mean)
      deviation = summary.standardDeviation.flatMap { $0 == 0 ? nil : percentage($0) }
    }
  }

  /// Means below means, deviations below deviations.
  private static func aligned(_ cells: [Spread]) -> [String] {
    let means = padded(cells.map(\.mean))
    guard cells.contains(where: { $0.deviation != nil }) else { return means }
    let deviations = cells.map { $0.deviation.map { " ± " + $0 } ?? "" }
    let width = deviations.map(\.count).max()!
    return zip(means, deviations).map {
      $0 + $1 + String(repeating: " ", count: width - $1.count)
    }
  }

  /// A star after the gammas that may be off, room for one after the others.
  private static func marked(_ cells: [String], _ isMarked: [Bool]) -> [String] {
    guard isMarked.contains(true) else { return cells }
    return zip(cells, isMarked).map { $0 + ($1 ? "*" : " ") }
  }

  private static func padded(_ cells: [String]) -> [String] {
    let width = cells.map(\.count).max() ?? 0
    return cells.map { String(repeating: " ", count: width - $0.count) + $0 }
  }
}

/// Four significant digits, zeros included, so that digits stand below digits.
private func significant(_ value: Double) -> String {
  if !value.isFinite { return shortened(value) }
  return trimmed(String(format: "%#.4g", value))
}

/// `214.` is `214`.
private func trimmed(_ text: String) -> String {
  text.last == "." ? String(text.dropLast()) : text
}

/// Two significant digits, with an exponent only where the number would be long.
private func rough(_ value: Double) -> String {
  (10..<1e5).contains(value)
    ? String(format: "%.0f", value) : trimmed(String(format: "%#.2g", value))
}

/// A share as a percentage: one decimal, more digits only where it is small.
private func percentage(_ share: Double) -> String {
  let value = 100 * share
  return value >= 0.1 || value == 0
    ? String(format: "%.1f", value) : String(format: "%.1g", value)
}
