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

  /// - Parameter isTransparent: whether a page behind an SVG is to be seen.
  package init(_ figure: Figure, formats: [Format], isTransparent: Bool = false) {
    name = figure.name
    self.formats = formats
    var data = DataFile(figure)
    var texts = ""
    var panels = ""
    for (index, panel) in figure.panels.enumerated() {
      var part = PanelScript(panel, prefix: "panel\(index + 1)")
      part.write(&data)
      texts += part.texts
      panels += part.commands
    }
    let isSeveral = figure.panels.count > 1
    let rows = (figure.panels.count + figure.columns - 1) / figure.columns
    let sizes = figure.panels.map(PanelSize.init)
    let width = figure.columns * sizes.map(\.width).max()!
    let height = rows * sizes.map(\.height).max()!
    var script = GnuplotText.comment(figure.title + ". " + figure.caption)
    for note in figure.notes { script += GnuplotText.comment(note) }
    script += """
      # Draw it again, in the folder of this file: gnuplot \(figure.name).gp

      reset
      set encoding utf8
      name = '\(figure.name)'
      data = name.'.dat'
      formats = '\(formats.map(\.rawValue).joined(separator: " "))'  # any of svg png pdf
      width = \(width); height = \(height)  # of the svg; the png has twice as many pixels

      # Text. From here on it is called by name only.
      \(texts)
      do for [format in formats] {
        if (format eq 'svg') {
          set terminal svg noenhanced size width,height font 'sans-serif,\(PanelSize.font)' \
      \(isTransparent ? "" : "background '#ffffff' ")dashlength 0.8
        }
        if (format eq 'png') {
          set terminal pngcairo noenhanced size 2*width,2*height font 'sans,\(PanelSize.font)' \
      fontscale 1.5 linewidth 2 pointscale 2 dashlength 0.8
        }
        if (format eq 'pdf') {
          set terminal pdfcairo noenhanced size width/72.0,height/72.0 font 'sans,\(PanelSize.font)' \
      fontscale 0.75 linewidth 2 dashlength 1.2
        }
        set output name.'.'.format
        set border lc rgb '\(Color.ink.rawValue)'

      """
    if isSeveral { script += "  set multiplot layout \(rows),\(figure.columns)\n" }
    script += panels
    if isSeveral { script += "  unset multiplot\n" }
    script += """
        unset output
      }

      """
    self.script = script
    self.data = data.text
  }
}
