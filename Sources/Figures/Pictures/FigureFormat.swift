/// What a figure can be written as.
package enum FigureFormat: String, Sendable, CaseIterable {
  case svg
  case png
  case pdf
  /// For TeX, which draws it.
  case pgf

  /// `nil` for what needs no gnuplot.
  package var gnuplot: GnuplotScript.Format? { GnuplotScript.Format(rawValue: rawValue) }
}
