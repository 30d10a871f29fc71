import Foundation

/// A figure as a gnuplot script and its data file, which people may edit and draw again with
/// `gnuplot NAME.gp`.
package struct GnuplotScript: Sendable {
  package enum Format: String, Sendable, CaseIterable {
    case svg
    case png
    case pdf
  }

  package let name: String
  package let formats: [Format]
  /// Of NAME.gp
  package let script: String
  /// Of NAME.dat
  package let data: String
  /// Of each panel's plot command.
  let elements: [[PlotElement]]

  package init(_ figure: Figure, formats: [Format]) {
    let layout = FigureLayout(figure)
    self.init(
      figure, figure.name, figure.panels, formats, (layout.width, layout.height),
      figure.panels.indices.map(layout.axes), layout)
  }

  /// A panel alone with the margins that it has in its figure, without legend and background: for a
  /// page, which has its own.
  init(page figure: Figure, panel index: Int) {
    let layout = FigureLayout(figure)
    self.init(
      figure, "\(figure.name)-panel\(index + 1)", [figure.panels[index]], [.svg],
      (layout.panelWidth, layout.panelHeights[index]), [layout.axesAlone(index)], nil)
  }

  /// - Parameter layout: Where there is a legend, and not for a page.
  private init(
    _ figure: Figure, _ name: String, _ panels: [Panel], _ formats: [Format],
    _ size: (width: Int, height: Int), _ boxes: [FigureLayout.Box], _ layout: FigureLayout?
  ) {
    self.name = name
    self.formats = formats
    var data = DataFile(figure)
    var texts = ""
    var commands = ""
    var elements: [[PlotElement]] = []
    for (index, panel) in panels.enumerated() {
      var part = PanelScript(panel, prefix: "panel\(index + 1)")
      part.write(&data, in: boxes[index])
      texts += part.texts
      commands += part.commands
      elements.append(part.elements)
    }
    if let layout, let box = layout.key {
      var part = PanelScript(panels[0], prefix: "legend")
      part.write(figure.legend, columns: layout.keyColumns, in: box)
      texts += part.texts
      commands += part.commands
    }
    var script = GnuplotText.comment(figure.title + ". " + figure.caption)
    for note in figure.notes { script += GnuplotText.comment(note) }
    script += """
      # Draw it again, in the folder of this file: gnuplot \(name).gp

      reset
      set encoding utf8
      set samples 2
      name = '\(name)'
      data = name.'.dat'
      formats = '\(formats.map(\.rawValue).joined(separator: " "))'  # any of svg png pdf
      width = \(size.width); height = \(size.height)  # of the svg; the png has twice as many pixels

      # Text. From here on it is called by name only.
      \(texts)
      do for [format in formats] {
        if (format eq 'svg') {
          set terminal svg noenhanced size width,height font 'sans-serif,\(FigureLayout.font)' \
      \(layout == nil ? "" : "background '#ffffff' ")dashlength 0.8
        }
        if (format eq 'png') {
          set terminal pngcairo noenhanced size 2*width,2*height font 'sans,\(FigureLayout.font)' \
      fontscale 1.5 linewidth 2 pointscale 2 dashlength 0.8
        }
        if (format eq 'pdf') {  # 7 inches for two panels, 3.5 for one: no text below 9 points
          set terminal pdfcairo noenhanced size width/120.0,height/120.0 \
      font 'sans,\(FigureLayout.font)' fontscale 0.45 linewidth 1.2 pointscale 0.6 dashlength 0.8
        }
        set output name.'.'.format
        set border 31 lc rgb '\(Color.ink.rawValue)'
        set multiplot

      """
    script += commands
    script += """
        unset multiplot
        unset output
      }

      """
    self.script = script
    self.data = data.text
    self.elements = elements
  }
}
