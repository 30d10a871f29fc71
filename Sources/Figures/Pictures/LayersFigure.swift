import Foundation
import Metrics

/// Where in the network each method is good: gamma of every method restricted to one tensor or
/// block, relative to the gradient restricted in the same way.
enum LayersFigure {
  static let prefix = "layers-"
  private static let panelLimit = 3
  private static let rowLimit = 120

  enum Kind: String {
    case tensor
    case block
  }

  static func make(_ results: Results, kind: Kind) throws(FigureGap) -> Figure {
    let name = prefix + kind.rawValue
    let title = "Methods by \(kind.rawValue)"
    let rows = (results.layers ?? []).filter { $0.kind == kind.rawValue }
    if rows.isEmpty {
      throw FigureGap(
        name: name, title: title,
        reason: results.layers == nil
          ? "layers.csv is missing." : "layers.csv has no row of kind \(kind.rawValue).",
        remedy: "Score layer by layer with an output folder.")
    }
    // The groups of a layer are those of scores, so that methods look and sort the same.
    let groups = ScoreGroups(
      rows.map {
        ScoreRow(
          place: Place(checkpoint: key($0), batch: $0.place.batch), direction: $0.direction,
          lambda: $0.lambda, gamma: .nan, gammaRelativeToSGD: $0.gammaRelativeToSGD,
          efficiency: .nan, efficiencyLow: .nan, gammaError: .nan, isMarked: false)
      }, styles: MethodStyles(results))
    let variants = groups.compared
    let stages = Stages(rows.map(\.place))
    var layers: [String] = []
    var known: Set<String> = []
    for row in rows where known.insert(row.layer).inserted { layers.append(row.layer) }
    var notes = stages.note(panelLimit) + groups.note
    if layers.count > rowLimit {
      notes.append("The first \(rowLimit) of \(layers.count) layers are shown.")
      layers.removeLast(layers.count - rowLimit)
    }
    let grids = stages.selection(panelLimit).map { stage in
      (
        stage,
        layers.map { layer in
          variants.map { variant -> Double? in
            let found = groups.leastDamped(key(stage.checkpoint, layer), variant)
            let mean = Summary(found.map(\.gammaRelativeToSGD)).mean
            return mean > 0 && mean.isFinite ? mean : nil
          }
        }
      )
    }
    let values = grids.flatMap(\.1).joined().compactMap { $0 }
    if values.isEmpty {
      throw FigureGap(
        name: name, title: title, reason: "layers.csv has no finite ratio to sgd.",
        remedy: "Score sgd, ef, ief and sf layer by layer with an output folder.")
    }
    let reach = Self.reach(values)
    return Figure(
      name: name, title: title,
      caption: "Mean over batches of γ relative to plain gradient descent, both restricted to one "
        + "\(kind.rawValue), at the smallest damping of each method. Blue, below 1: better than "
        + "sgd; orange, above 1: worse. Colours end at a factor of \(shown(reach, digits: 3)), which nine of "
        + "ten values keep to. Blank: no value.",
      panels: grids.map { stage, cells in
        Panel(
          title: stage.label,
          x: Axis(
            label: "method", isLogarithmic: false, low: -0.5,
            high: Double(variants.count) - 0.5,
            ticks: variants.enumerated().map {
              .init(position: Double($0), label: groups.label($1))
            }),
          y: .names(layers.map { singleLine($0, limit: 32) }, label: ""),
          content: .cells(
            CellGrid(
              rows: layers.map { singleLine($0, limit: 32) }, columns: variants.map(groups.label),
              values: cells, reach: reach, valueLabel: "γ / γ(sgd), ratio")))
      }, notes: notes)
  }

  /// The distance from 1, as a factor, that nine of ten values keep to: the colours are for these, and
  /// one layer far off does not wash out all others.
  private static func reach(_ values: [Double]) -> Double {
    let factors = values.map { max($0, 1 / $0) }.filter(\.isFinite).sorted()
    if factors.isEmpty { return 1e300 }
    return min(max(factors[(factors.count * 9 - 1) / 10], 1.25), 1e300)
  }

  /// One name for a checkpoint and a layer; neither holds a NUL.
  private static func key(_ checkpoint: String, _ layer: String) -> String {
    checkpoint + "\0" + layer
  }

  private static func key(_ row: LayerRow) -> String { key(row.place.checkpoint, row.layer) }
}
