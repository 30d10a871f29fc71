import Checkpoints
import Foundation

/// The panels of figures as SVG for a page: each alone, so that a page can lay them out for its
/// width, without a background, and in ink that takes the colour of the page's text.
package struct PanelPictures: Sendable {
  private let pictures: [String: [String]]

  /// Without gnuplot there are none.
  package static let none = PanelPictures(pictures: [:])

  private init(pictures: [String: [String]]) { self.pictures = pictures }

  /// Draws in a temporary folder.
  package init(_ figures: [Figure], with gnuplot: Gnuplot) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "figures-" + UUID().uuidString)
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    } catch {
      throw CheckpointError(.cannotWrite(code: EACCES), at: .init(file: folder.path))
    }
    defer { try? FileManager.default.removeItem(at: folder) }
    var scripts: [[GnuplotScript]] = []
    for figure in figures {
      let panels = figure.panels.indices.map { GnuplotScript(page: figure, panel: $0) }
      for script in panels {
        for (name, text) in [(".gp", script.script), (".dat", script.data)] {
          do {
            try Data(text.utf8).write(to: folder.appendingPathComponent(script.name + name))
          } catch {
            throw CheckpointError(.cannotWrite(code: ENOSPC), at: .init(file: folder.path))
          }
        }
      }
      scripts.append(panels)
    }
    _ = try gnuplot.draw(scripts.flatMap(\.self), in: folder.path)
    var pictures: [String: [String]] = [:]
    for (figure, panels) in zip(figures, scripts) {
      pictures[figure.name] = try zip(figure.panels, panels).map { panel, script in
        let path = folder.appendingPathComponent(script.name + ".svg").path
        let file = try MappedFile(path: path)
        return InlineSVG(
          String(decoding: file.bytes, as: UTF8.self), name: script.name, title: panel.title,
          description: panel.description, elements: script.elements[0]
        ).markup
      }
    }
    self.pictures = pictures
  }

  subscript(figure: Figure) -> [String]? { pictures[figure.name] }
}

// MARK: - In words

extension Panel {
  /// What the picture shows, for those who do not see it.
  var description: String {
    let axes = [("Across", x), ("upwards", y)].filter { !$1.label.isEmpty }
      .map { "\($0): \($1.label)\($1.isLogarithmic ? ", logarithmic" : "")" }
      .joined(separator: "; ")
    switch content {
    case .curves(let curves, let guides):
      let lines = curves.map { curve in
        let (first, last) = (curve.points.first!, curve.points.last!)
        let start = "\(curve.label): \(shown(first.y, digits: 3)) at \(Axis.short(first.x))"
        return curve.points.count == 1
          ? start : start + " to \(shown(last.y, digits: 3)) at \(Axis.short(last.x))"
      }
      let levels = guides.filter { !$0.label.isEmpty }.map {
        "\($0.label): level at \(shown($0.level, digits: 3))"
      }
      return axes + ". " + (lines + levels).joined(separator: "; ") + "."
    case .bars(let bars, _):
      return axes + ". "
        + bars.map { bar in
          "\(bar.label): \(shown(bar.value, digits: 3))"
            + (bar.low.map { ", at least \(shown($0, digits: 3))" } ?? "")
        }.joined(separator: "; ") + "."
    case .cells(let grid):
      let values = grid.values.joined().compactMap { $0 }
      return "\(grid.valueLabel) of \(grid.rows.count) rows and the methods "
        + grid.columns.joined(separator: ", ")
        + ", from \(shown(values.min() ?? .nan, digits: 3)) to \(shown(values.max() ?? .nan, digits: 3))."
    }
  }
}
