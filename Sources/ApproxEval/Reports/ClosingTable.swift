import Checkpoints
import Foundation
import Metrics

/// The end of a run over several checkpoints: gamma relative to plain gradient descent, a row for
/// each stage of training and a column for each method, with the best of every row and what is worse
/// than plain gradient descent marked.
struct ClosingTable {
  /// What stands in front of the numbers of a row.
  private let headings: [String]
  private let rows: [[String]]
  private let methods: [String]
  private var cells: [[(text: String, mark: TextStyle.Mark)]] = []
  private let hasDampings: Bool

  /// - Returns: `nil` for fewer than two checkpoints, or without a ratio.
  init?(_ entries: [Report.Entry]) {
    let entries = Self.inOrderOfTraining(entries)
    let summaries = entries.map { $0.summaries.filter { $0.role != .baseline } }
    var methods: [String] = []
    for summary in summaries.joined() where !methods.contains(Self.column(summary)) {
      methods.append(Self.column(summary))
    }
    self.methods = methods
    (headings, rows) = Self.stages(entries.map(\.description))
    hasDampings = summaries.contains { row in
      Set(row.map(Self.column)).count < row.count
    }
    guard entries.count > 1, summaries.joined().contains(where: { $0.gammaRelativeToSGD != nil })
    else { return nil }
    for row in summaries {
      let ratios = methods.map { Self.ratio(of: $0, row) }
      // The reference is what methods are measured by, and none of them.
      let compared = methods.indices.filter { column in
        row.contains { Self.column($0) == methods[column] && $0.role == .method }
      }
      let best = compared.compactMap { ratios[$0] }.min()
      cells.append(
        methods.indices.map { column in
          guard let ratio = ratios[column] else { return ("", .none) }
          let isCompared = compared.contains(column)
          let mark: TextStyle.Mark =
            ratio > 1 ? .worse : isCompared && ratio == best ? .best : .none
          return (Self.text(ratio), mark)
        })
    }
  }

  /// By what stages are told apart: what all of them tell.
  private enum Clock {
    case epoch
    case step

    init?(_ places: [CheckpointDescription]) {
      if places.allSatisfy({ $0.epoch != nil }) {
        self = .epoch
      } else if places.allSatisfy({ $0.step != nil }) {
        self = .step
      } else {
        return nil
      }
    }

    var name: String { self == .epoch ? "epoch" : "step" }

    func time(_ place: CheckpointDescription) -> Int {
      (self == .epoch ? place.epoch : place.step)!
    }
  }

  /// Runs as they were given, and the stages of each in order: a shell puts `checkpoint-1000` before
  /// `checkpoint-500`.
  private static func inOrderOfTraining(_ entries: [Report.Entry]) -> [Report.Entry] {
    guard let clock = Clock(entries.map(\.description)) else { return entries }
    var runs: [String?: Int] = [:]
    let keys = entries.enumerated().map { index, entry in
      let place = entry.description
      let run = runs[place.run] ?? runs.count
      runs[place.run] = run
      return [run, clock.time(place), place.step ?? 0, index]
    }
    return entries.indices.sorted { keys[$0].lexicographicallyPrecedes(keys[$1]) }
      .map { entries[$0] }
  }

  private static func column(_ summary: MethodSummary) -> String { summary.methodLabel }

  /// The least mean over its dampings.
  private static func ratio(of method: String, _ row: [MethodSummary]) -> Double? {
    row.filter { column($0) == method }.compactMap { $0.gammaRelativeToSGD?.mean }
      .filter { !$0.isNaN }.min()
  }

  private static func text(_ ratio: Double) -> String {
    ratio < 1e4 ? String(format: "%.3f", ratio) : String(format: "%.2g", ratio)
  }

  private static func stages(
    _ places: [CheckpointDescription]
  ) -> (headings: [String], rows: [[String]]) {
    var columns: [(String, [String])] = []
    if Set(places.map(\.run)).count > 1 {
      columns.append(("run", places.map { $0.run ?? "" }))
    }
    if let clock = Clock(places) {
      columns.append((clock.name, places.map { String(clock.time($0)) }))
    } else {
      columns = [("checkpoint", places.map(\.path))]
    }
    let shown = columns.map { name, cells in (name, cells.map { printable($0, limit: 40) }) }
    return (shown.map(\.0), places.indices.map { row in shown.map { $0.1[row] } })
  }

  // MARK: - Text

  /// In blocks of as many methods as a line has room for.
  func text(_ style: TextStyle) -> String {
    let labels = methods.map { printable($0, limit: 40) }
    let heads = headings.indices.map { column in
      rows.reduce(headings[column].count) { max($0, $1[column].count) }
    }
    let widths = methods.indices.map { column in
      max(labels[column].count, cells.reduce(0) { max($0, $1[column].text.count) } + 2)
    }
    var blocks: [Range<Int>] = []
    var start = 0
    let room = style.lineWidth - heads.reduce(0) { $0 + $1 + 2 }
    for column in methods.indices {
      let used = widths[start...column].reduce(0) { $0 + $1 + 1 }
      if used > room && column > start {
        blocks.append(start..<column)
        start = column
      }
    }
    blocks.append(start..<methods.count)
    let title =
      "gamma/gamma_SGD: [best], ! worse than plain gradient descent"
      + (hasDampings ? "; of several dampings the best" : "")
    return wrapped(title, width: style.lineWidth) + "\n"
      + blocks.map { "\n" + block($0, labels, heads, widths, style) }.joined()
  }

  private func block(
    _ columns: Range<Int>, _ labels: [String], _ heads: [Int], _ widths: [Int],
    _ style: TextStyle
  ) -> String {
    func padded(_ text: String, _ width: Int) -> String {
      String(repeating: " ", count: max(width - text.count, 0)) + text
    }
    func head(_ cells: [String]) -> String {
      zip(cells, heads).map { padded($0, $1) + "  " }.joined()
    }
    func line(_ text: String) -> String {
      String(text.reversed().drop { $0 == " " }.reversed()) + "\n"
    }
    var text = line(head(headings) + columns.map { padded(labels[$0], widths[$0]) + " " }.joined())
    for (row, cells) in zip(rows, cells) {
      text += line(
        head(row)
          + columns.map { column in
            let cell = cells[column]
            if cell.text.isEmpty { return padded("", widths[column] + 1) }
            let (before, after) =
              switch cell.mark {
              case .best: ("[", "]")
              case .worse: (" ", "!")
              case .none: (" ", " ")
              }
            return style.shown(
              padded(before + cell.text + after, widths[column]) + " ", cell.mark)
          }.joined())
    }
    return text
  }
}
