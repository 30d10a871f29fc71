import Checkpoints
import Foundation
import Metrics

extension Report {
  /// What a person sees of a run.
  public var text: String {
    [checkpointsText(), closingText()].filter { !$0.isEmpty }.joined(separator: "\n")
  }

  /// Its checkpoints, each with its table, and what is said of all of them.
  ///
  /// - Parameter layerLines: Of what is said of each checkpoint's layers, at the most.
  public func checkpointsText(
    _ style: TextStyle = TextStyle(), layerLines: Int = .max
  ) -> String {
    var texts = CheckpointTexts(style, layerLines: layerLines)
    return entries.map { texts.next($0) }.joined() + texts.end(self)
  }

  /// Stages by methods; empty for a single checkpoint.
  public func closingText(_ style: TextStyle = TextStyle()) -> String {
    ClosingTable(entries)?.text(style) ?? ""
  }
}

/// What a person sees of the checkpoints of a run, one after another. What is the same for several, as
/// notes on their parameters are, stands once.
public struct CheckpointTexts: Sendable {
  private let style: TextStyle
  private let layerLines: Int
  private var said: Set<String> = []
  private var isFirst = true

  /// - Parameter layerLines: Of what is said of each checkpoint's layers, at the most.
  public init(_ style: TextStyle = TextStyle(), layerLines: Int = .max) {
    (self.style, self.layerLines) = (style, layerLines)
  }

  /// The next checkpoint with its table, below what was said of those before it.
  public mutating func next(_ entry: Report.Entry) -> String {
    below(entry.text(style, layerLines: layerLines, said: &said))
  }

  /// Of all checkpoints in how many batches the reference did not converge, and what their batches have
  /// in common.
  public mutating func end(_ report: Report) -> String {
    var parts: [String] = []
    let failed = report.referencesNotConverged
    if failed > 0 && report.entries.count > 1 {
      parts.append(
        "In all, the reference did not converge in \(grouped(failed)) of "
          + "\(grouped(report.batchCount)) batches.")
    }
    parts += report.spreadNotes
    return parts.map { below(wrapped($0) + "\n") }.joined()
  }

  private mutating func below(_ text: String) -> String {
    defer { isFirst = false }
    return isFirst ? text : "\n" + text
  }
}

/// What a person sees of a checkpoint's scores: a line above the table, the table, and below it
/// how the reference was reached and what limits the numbers. For 80 columns.
extension Report.Entry {
  /// As it is printed, with every layer that was scored.
  public var text: String {
    var said: Set<String> = []
    return text(TextStyle(), layerLines: .max, said: &said)
  }

  /// The table alone.
  public var tableText: String { table.text }

  /// - Parameter said: Notes that stand below an earlier table and hold here as well.
  fileprivate func text(
    _ style: TextStyle, layerLines: Int, said: inout Set<String>
  ) -> String {
    let lasting = lastingNotes.filter { said.insert($0).inserted }
    return
      ([heading, table.text(style), referenceText] + remarks + lasting
      + batchNotes.map { wrapped($0) }
      + [layerText(style, lines: layerLines).map { "\n" + $0 }].compactMap { $0 })
      .joined(separator: "\n") + "\n"
  }

  private var heading: String {
    let sizes = results.map(\.samples)
    let samples = sizes.min() == sizes.max() ? grouped(sizes.first ?? 0) : range(sizes)
    var parts = [
      description.model, "P = \(grouped(description.trainableParameters))",
      "N = \(samples)\(tokens)" + (results.count > 1 ? " x \(grouped(results.count)) batches" : ""),
    ]
    parts.append("mean loss " + shortened(mean(\.meanLoss)))
    parts += description.lossSettings
    let imbalance = mean(\.gradientNormRatio)
    parts.append("imbalance " + (imbalance.isNaN ? "none" : shortened(imbalance, digits: 3)))
    if let epoch = description.epoch { parts.append("epoch \(epoch)") }
    if description.epoch == nil, let step = description.step { parts.append("step \(step)") }
    let base = description.base.map { " on " + printable($0) } ?? ""
    return printable(description.path) + base + "\n" + wrapped(parts: parts) + "\n"
  }

  /// What N counts where that are scored positions.
  private var tokens: String {
    let sequences = results.compactMap(\.sequences)
    guard let most = sequences.max() else { return "" }
    return " tokens of \(range(sequences)) \(most == 1 ? "sequence" : "sequences")"
  }

  private func mean(_ value: (BatchResult) -> Double) -> Double {
    Summary(results.map(value)).mean
  }
}

// MARK: - Below the table

extension Report.Entry {
  private var references: [ReferenceRecord] { results.compactMap(\.reference) }

  private var referenceText: String {
    guard let first = references.first else {
      return wrapped(
        "Reference: none; the certificate proves that each efficiency is at least what is shown.")
    }
    if first.iterations == nil && references.count == 1 {
      return wrapped(
        "Reference: \(first.solver), residual \(shortened(first.residual, digits: 2)). "
          + (first.isConverged && first.replacement == nil
            ? first.explanation.spelled(by: names) : first.outcome)
          + turnText + excessText)
    }
    var solvers: [String] = []
    for reference in references where !solvers.contains(reference.solver) {
      solvers.append(reference.solver)
    }
    var parts = [solvers.joined(separator: " or ")]
    let iterations = references.compactMap(\.iterations)
    if !iterations.isEmpty {
      parts.append(range(iterations) + (iterations == [1] ? " iteration" : " iterations"))
    }
    let residuals = references.map(\.residual)
    let (low, high) = (residuals.min()!, residuals.max()!)
    parts.append(
      "residual " + shortened(low, digits: 2)
        + (low < high ? " to " + shortened(high, digits: 2) : ""))
    return wrapped(
      "Reference: " + parts.joined(separator: ", ") + ". " + stops + turnText + excessText)
  }

  /// How far gamma of the reference can be above the least: proved, and estimated.
  private var excessText: String {
    let excesses = results.compactMap(\.referenceExcess)
    guard let bound = excesses.compactMap(\.bound).max() else { return "" }
    // With more logits than parameters no direction comes near the bound.
    let short = excesses.compactMap(\.ofShort)
    if let most = short.max(), short.count == excesses.count, most < bound / 2 {
      return
        " Its gamma is at most \(percent(most)) above that of every direction up to twice as long for "
        + "the same slope, and \(percent(bound)) above the least of all that there could be."
    }
    if bound > 0.01, references.allSatisfy({ $0.status == .converged || $0.status == .exact }) {
      return " The certificate, which cannot be tight here, alone would allow \(percent(bound))."
    }
    // Nor are estimates worth anything where the proof is so far off.
    if bound > Self.largestUsefulExcess {
      return
        " How far its gamma is above the least possible is not known: compare methods by their gammas, "
        + "and by no efficiency."
    }
    let estimates = excesses.compactMap(\.estimate)
    var text = " Its gamma is at most \(percent(bound)) above the least possible"
    if let estimate = estimates.max(), estimates.count == excesses.count, estimate < bound {
      text += ", by estimate \(percent(estimate))"
    }
    return text + "."
  }

  /// Twice the least gamma: efficiencies may be off by more than a factor of four.
  private static let largestUsefulExcess = 1.0

  private func percent(_ share: Double) -> String { shortened(100 * share, digits: 2) + " %" }

  /// After what `auto` has turned to another solver.
  private var turnText: String {
    let counts = references.compactMap(\.iterationsBefore)
    if counts.isEmpty { return "" }
    let several = references.count > 1 ? " in \(counts.count) of \(references.count) batches" : ""
    return " Conjugate gradients had not converged after \(range(counts)) iterations\(several)."
  }

  /// By what solvers were chosen, in the first batch where they were.
  private var choiceNote: String? {
    references.lazy.compactMap(\.choice).first.map { "The reference is chosen by \($0)." }
  }

  /// Why the solves stopped, the commonest reason first.
  private var stops: String {
    var counts: [(words: String, count: Int)] = []
    for words in references.map(\.words) {
      if let place = counts.firstIndex(where: { $0.words == words }) {
        counts[place].count += 1
      } else {
        counts.append((words, 1))
      }
    }
    if counts.count == 1 { return references[0].outcome }
    return counts.sorted { $0.count > $1.count }.map {
      "\($0.count) of \(references.count) batches: \($0.words)"
    }.joined(separator: "; ") + "."
  }

  private var remarks: [String] {
    var remarks: [String] = []
    let flat = results.filter { $0.gradientNorm == 0 }
    if !flat.isEmpty {
      let several =
        flat.count < results.count ? " of \(flat.count) of \(results.count) batches" : ""
      remarks.append(
        wrapped("The gradient\(several) is zero: " + reason(ofZeroGradient: flat)))
    }
    remarks += defectRemarks
    let unbounded = results.count { $0.gammaBound == 0 }
    if unbounded > 0 {
      let several = unbounded < results.count ? " in \(unbounded) of \(results.count) batches" : ""
      remarks.append(
        wrapped(
          "A label has a probability below the range of double\(several): the certificate is "
            + "infinite and bounds no gamma."))
    }
    let failed = references.filter { !$0.isConverged }
    if let first = failed.first {
      let several =
        failed.count < references.count ? " in \(failed.count) of \(references.count) batches" : ""
      remarks.append(
        wrapped(
          "The reference did not converge\(several): efficiency is relative to what it reached; "
            + "the share of the exact optimum lies between the number in brackets and it. "
            + first.account.spelled(by: names)))
    }
    let replaced = references.filter { $0.replacement != nil && $0.isConverged }
    if let row = replaced.first?.replacement {
      let several =
        references.count > 1 ? " in \(replaced.count) of \(references.count) batches" : ""
      remarks.append(
        wrapped(
          "The reference is a scored row\(several) (\(row)): its gamma is lower than what the solver "
            + "had reached, which was within the gap that was asked for."))
    }
    remarks += precisionRemarks
    return remarks
  }

  /// What is the same for many checkpoints and stands below the first of them.
  private var lastingNotes: [String] {
    [kroneckerRemark].compactMap { $0 }
      + ([choiceNote, bytesNote].compactMap { $0 } + checkpointNotes).map { wrapped($0) }
  }

  /// Batches done again in double, and gammas that rounding may have moved.
  private var precisionRemarks: [String] {
    var remarks: [String] = []
    let repeated = results.count { $0.isRepeated }
    if repeated > 0 {
      let batches =
        results.count == 1 ? "The batch was" : "\(repeated) of \(results.count) batches were"
      remarks.append(
        wrapped(
          "\(batches) done again in double: in single precision a gamma might have been off by more "
            + "than 0.1 %, or missing."))
    }
    let marked = results.filter(\.hasMark)
    guard let worst = summaries.filter({ $0.batchesMarked > 0 }).compactMap(\.gammaError).max()
    else { return remarks }
    let several =
      results.count > 1 ? " in \(marked.count) of \(results.count) batches" : ""
    let size = worst < 1 ? "up to \(percent(worst))" : "100 % or more"
    let isDouble = marked.allSatisfy { $0.precision == .float64 }
    let advice =
      isDouble
      ? "A larger damping helps."
      : "Use the precision float64 (with enough memory), or a larger damping."
    remarks.append(
      wrapped("* gamma may be off by \(size)\(several), by the rounding of numbers. \(advice)"))
    return remarks
  }

  /// Which methods have no gamma, by reason.
  private var defectRemarks: [String] {
    [Indicator.Defect.underflow, .flat, .invalid, .overflow].compactMap { defect in
      var methods: [String] = []
      var batches = 0
      for result in results {
        let affected = result.scoresWithoutGamma.filter { $0.defect == defect }
          .map(\.score.method)
        if !affected.isEmpty { batches += 1 }
        for method in affected where !methods.contains(method) { methods.append(method) }
      }
      if methods.isEmpty { return nil }
      let several = batches < results.count ? " in \(batches) of \(results.count) batches" : ""
      return wrapped("No gamma for \(methods.joined(separator: ", "))\(several): \(defect).")
    }
  }

  /// `3`, `3 to 5`
  func range(_ numbers: [Int]) -> String {
    let (low, high) = (numbers.min() ?? 0, numbers.max() ?? 0)
    return low == high ? grouped(low) : grouped(low) + " to " + grouped(high)
  }
}

extension ReferenceRecord {
  /// How the reference was found.
  public var solver: String { kind.title }

  /// Why the solver stopped, in words.
  public var outcome: String { words.prefix(1).uppercased() + words.dropFirst() + "." }

  /// What became of it: for those who read on, how, and what would help.
  public var account: SettingText {
    if isConverged && iterations != nil { return SettingText(outcome) }
    return [explanation, advice].compactMap { $0 }.joined(separator: " ")
  }

  fileprivate var words: String {
    switch stop {
    case "tolerance": "converged, the residual is within the tolerance"
    case "certificate":
      "converged, no direction can have a gamma noticeably below the one reached"
    case "iterations": "not converged, stopped at the iteration limit"
    case "curvature": "not converged, no positive curvature left above rounding"
    case "length":
      "converged, no direction up to twice as long has a gamma noticeably below the one reached"
    case "abandoned": "not converged, given up for another solver"
    case "row": (isConverged ? "" : "not converged, ") + "a scored row has the lower gamma"
    case "stagnated": "not converged, no progress beyond the level of rounding"
    case "underflow": "not converged, probabilities are below the range of double"
    case "overflow": "not converged, the solve left the range of double"
    case "zero-gradient": "the gradient is zero: no direction is distinguished"
    case "dense", "gram":
      isConverged ? "exact to rounding" : "not converged, rounding has spoilt the direct solution"
    default: stop
    }
  }
}
