import Foundation

/// The tables of a verdict, for whatever shows them.
struct VerdictTables {
  private let verdict: Verdict

  init(_ verdict: Verdict) { self.verdict = verdict }

  /// One of several ways to look at stages and methods.
  struct View {
    /// A few words, to choose it by.
    var name: String
    var table: DataTable
  }

  /// The first is the one to begin with.
  var views: [View] {
    let measure = verdict.measure == .ratio ? "γ / γ(sgd)" : "γ (1/√nats)"
    var views = [
      View(
        name: verdict.hasDampings ? measure + ", best damping" : measure,
        table: table(
          measure + " at each stage, mean over batches"
            + (verdict.hasDampings ? "; each method at its best damping of the stage" : ""),
          verdict.best, verdict.winners, beside: surroundings))
    ]
    if verdict.hasDampings {
      views.append(
        View(
          name: "smallest damping",
          table: table(
            measure + " at each stage, mean over batches; each method at its smallest damping",
            verdict.leastDamped, verdict.leastDampedWinners, beside: [])))
    }
    if let efficiency { views.append(View(name: "efficiency", table: efficiency)) }
    return views
  }

  // MARK: - gamma

  private func table(
    _ caption: String, _ cells: [[Verdict.Cell?]], _ winners: [Verdict.Winner?],
    beside surroundings: [SurroundingColumn]
  ) -> DataTable {
    var table = DataTable(
      caption, words: ["stage"],
      numbers: verdict.methods.map { $0.isReference ? $0.name + " (reference)" : $0.name }
        + surroundings.map(\.title))
    for (stage, row) in cells.enumerated() {
      let compared = verdict.methods.indices.filter { !verdict.methods[$0].isReference }
      let least = compared.compactMap { row[$0]?.mean }.filter { !$0.isNaN }.min()
      table.rows.append(
        [DataTable.Cell(verdict.stages[stage], Double(stage))]
          + row.enumerated().map { method, cell in
            cell.map { shown($0, method, least: least, winners[stage]) } ?? DataTable.Cell("")
          } + surroundings.map { $0.cell(verdict.surroundings[stage]) })
    }
    return table
  }

  /// `[0.470]`, `1.079!?`, `0.827*`
  private func shown(
    _ cell: Verdict.Cell, _ method: Int, least: Double?, _ winner: Verdict.Winner?
  ) -> DataTable.Cell {
    var shown = DataTable.Cell(ratioText(cell.mean), cell.mean)
    let isWorse = Verdict.standing(cell) == .behind && verdict.measure == .ratio
    if isWorse {
      shown.after = "!"
      shown.emphasis = .worse
    } else if cell.mean == least && !verdict.methods[method].isReference {
      (shown.before, shown.after) = ("[", "]")
      shown.emphasis = .best
    }
    // Of the best it is in doubt whether it is, of others whether they are better or worse than sgd.
    let isWinner = shown.emphasis == .best && winner?.methods.contains(method) ?? false
    let doubted = isWinner ? winner?.rival?.comparison : cell.comparison
    let isSure = isWinner ? winner?.isSure ?? true : Verdict.isSure(cell)
    if let doubted, doubted.canBeSure || verdict.canBeSure, !isSure, !cell.mean.isNaN,
      !verdict.methods[method].isReference
    {
      shown.after += "?"
    }
    if cell.isMarked { shown.after += "*" }
    return shown
  }

  /// What the marks of the tables say.
  var legend: String {
    let all = views.flatMap { $0.table.rows.joined() }
    func has(_ mark: String) -> Bool { all.contains { $0.after.contains(mark) } }
    let parts = [
      "[ ] best of the stage", has("!") ? "! worse than sgd" : nil,
      has("?") ? "? not sure: too few batches agree" : nil,
      has("*") ? "* rounding may have moved it" : nil,
      all.contains { $0.text == "none" } ? "none: a batch has no number" : nil,
    ].compactMap { $0 }
    return parts.joined(separator: "; ") + "."
  }

  // MARK: - Efficiency

  /// `nil` where the run has none.
  private var efficiency: DataTable? {
    let methods = verdict.methods.indices.filter { !verdict.methods[$0].isReference }
    func best(_ efficiency: Verdict.Efficiency?) -> Double {
      guard let efficiency else { return .nan }
      return efficiency.mean.isNaN ? efficiency.low ?? .nan : efficiency.mean
    }
    let columns =
      [verdict.baseline] + methods.map { method in verdict.best.map { $0[method]?.efficiency } }
    guard columns.joined().contains(where: { !best($0).isNaN }) else { return nil }
    let hasBaseline = verdict.baseline.contains { $0 != nil }
    var table = DataTable(
      "Efficiency in %, the share of what the exact natural gradient could gain, mean over batches"
        + (verdict.hasDampings ? "; at the dampings of the first table" : "")
        + "; its marks are of the means alone, untested",
      words: ["stage"],
      numbers: (hasBaseline ? ["sgd"] : []) + methods.map { verdict.methods[$0].name })
    for stage in verdict.stages.indices {
      let shares = columns.map { $0[stage] }
      let most = shares.dropFirst().map(best).filter { !$0.isNaN }.max()
      let floor = best(shares[0])
      let cells = shares.enumerated().map { column, share -> DataTable.Cell in
        guard let share, !best(share).isNaN else { return DataTable.Cell("") }
        var cell = Self.cell(share)
        if column > 0 && best(share) < floor {
          cell.after = "!" + cell.after
          cell.emphasis = .worse
        } else if column > 0 && best(share) == most {
          (cell.before, cell.after) = ("[", "]" + cell.after)
          cell.emphasis = .best
        }
        return cell
      }
      table.rows.append(
        [DataTable.Cell(verdict.stages[stage], Double(stage))]
          + cells.dropFirst(hasBaseline ? 0 : 1))
    }
    return table
  }

  /// `34.5`, `34.5 (≥ 31.0)`, `≥ 31.0`
  private static func cell(_ share: Verdict.Efficiency) -> DataTable.Cell {
    func percent(_ share: Double) -> String {
      let value = 100 * share
      // One decimal, or two digits where there would be none.
      return value >= 0.095 || value == 0
        ? String(format: "%.1f", value) : String(format: "%.1e", value)
    }
    guard !share.mean.isNaN else {
      return DataTable.Cell("≥ " + percent(share.low ?? .nan), 100 * (share.low ?? .nan))
    }
    var cell = DataTable.Cell(percent(share.mean), 100 * share.mean)
    if let low = share.low { cell.after = " (≥ \(percent(low)))" }
    return cell
  }

  // MARK: - Training

  private struct SurroundingColumn {
    var title: String
    var value: (Verdict.Surroundings) -> Double
    var text: (Double) -> String

    func cell(_ one: Verdict.Surroundings) -> DataTable.Cell {
      let value = value(one)
      return DataTable.Cell(value.isNaN ? "" : text(value), value)
    }
  }

  /// Those of which there is a number.
  private var surroundings: [SurroundingColumn] {
    let all = [
      SurroundingColumn(title: "mean loss", value: \.meanLoss, text: { significant($0) }),
      SurroundingColumn(
        title: "accuracy %", value: { ($0.accuracy ?? .nan) * 100 },
        text: { String(format: "%.1f", $0) }),
      SurroundingColumn(
        title: "imbalance", value: \.imbalance, text: { significant($0, digits: 3) }),
    ]
    return all.filter { column in verdict.surroundings.contains { !column.value($0).isNaN } }
  }

  // MARK: - The best of each stage

  /// The best beside the one that is told apart from it worst; `nil` where nothing is compared.
  var evidence: DataTable? {
    guard verdict.winners.contains(where: { $0?.rival != nil }) else { return nil }
    var table = DataTable(
      "The best of each stage and its closest rival",
      words: ["stage", "best", "beside", "has the smaller γ in", "sure"])
    for (stage, winner) in verdict.winners.enumerated() {
      guard let winner, let rival = winner.rival else { continue }
      let name = Headline.name(winner, in: verdict) ?? ""
      table.rows.append(
        [
          verdict.stages[stage], name, rival.method.map { verdict.methods[$0].name } ?? "sgd",
          rival.comparison.evidence, winner.isSure ? "yes" : "no",
        ].enumerated().map { DataTable.Cell($1, $0 == 0 ? Double(stage) : nil) })
    }
    return table
  }
}
