import Foundation

/// A figure for a paper: a picture of pgfplots with all of its numbers, for `\input{NAME.pgf}` in a
/// document with
///
///     \usepackage{pgfplots,textcomp} \usepgfplotslibrary{groupplots} \pgfplotsset{compat=1.17}
///
/// Its text is set by the document, and its width is that of a line.
package struct PGFFigure: Sendable {
  package let text: String

  package init(_ figure: Figure) {
    let columns = figure.panels.count == 1 ? 1 : 2
    let hasLegend = !figure.legend.isEmpty
    let cells = figure.panels.count + (hasLegend ? 1 : 0)
    let rows = (cells + columns - 1) / columns
    var text = TeXText.comment("\(figure.title). \(figure.caption)")
    for note in figure.notes { text += TeXText.comment(note) }
    text += """
      % \\input{\(figure.name).pgf} needs \\usepackage{pgfplots,textcomp},
      % \\usepgfplotslibrary{groupplots} and \\pgfplotsset{compat=1.17}.

      """
    for color in Color.allCases {
      text += "\\definecolor{\(color.tex)}{HTML}{\(color.rawValue.dropFirst())}\n"
    }
    text += """
      \\begin{tikzpicture}
      \\begin{groupplot}[
        group style={group size=\(columns) by \(rows), horizontal sep=0.15\\linewidth,
          vertical sep=0.17\\linewidth},
        width=\(columns == 1 ? "0.9" : "0.5")\\linewidth, height=0.4\\linewidth,
        tick label style={font=\\footnotesize}, label style={font=\\small},
        title style={font=\\small}, legend style={font=\\footnotesize, draw=none},
        every axis plot/.append style={line width=0.8pt, mark size=1.6pt}]

      """
    for panel in figure.panels { text += PGFPanel(panel).text }
    if hasLegend { text += Self.legend(figure.legend, isBelow: figure.panels.count % columns == 0) }
    self.text = text + "\\end{groupplot}\n\\end{tikzpicture}\n"
  }

  /// In an axis of its own, which is not drawn.
  private static func legend(_ entries: [LegendEntry], isBelow: Bool) -> String {
    let place = isBelow ? "(0,1)}, anchor=north west" : "(0.5,0.5)}, anchor=center"
    var text = """
      \\nextgroupplot[hide axis, xmin=0, xmax=1, ymin=0, ymax=1, legend columns=\(isBelow ? 4 : 2),
        legend style={at={\(place)}, legend cell align=left]

      """
    for entry in entries {
      text += "\\addlegendimage{\(entry.style.tex)}\n"
      text += "\\addlegendentry{\(TeXText.escaped(entry.label))}\n"
    }
    return text
  }
}

extension Color {
  var tex: String { "figure" + rawValue.dropFirst() }
}

extension CurveStyle {
  /// Keys of a plot.
  var tex: String {
    let (name, turn) =
      switch marker {
      case .none: ("none", 0)
      case .plus: ("+", 0)
      case .cross: ("x", 0)
      case .star: ("asterisk", 0)
      case .openSquare: ("square", 0)
      case .square: ("square*", 0)
      case .openCircle: ("o", 0)
      case .circle: ("*", 0)
      case .openTriangle: ("triangle", 0)
      case .triangle: ("triangle*", 0)
      case .openDown: ("triangle", 180)
      case .down: ("triangle*", 180)
      case .openDiamond: ("diamond", 0)
      case .diamond: ("diamond*", 0)
      case .openPentagon: ("pentagon", 0)
      case .pentagon: ("pentagon*", 0)
      }
    let line =
      switch dash {
      case .solid: "solid"
      case .dashed: "dashed"
      case .dotted: "dotted"
      case .dashDot: "dashdotted"
      case .dashDotDot: "dashdotdotted"
      case .long: "dash pattern=on 9pt off 2pt"
      case .longDot: "dash pattern=on 9pt off 2pt on 1pt off 2pt"
      }
    return "\(color.tex), \(line), mark=\(name), mark options={solid"
      + (turn == 0 ? "}" : ", rotate=\(turn)}")
  }
}
