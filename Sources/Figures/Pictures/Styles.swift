/// Colours after Okabe and Ito, which people with the common kinds of colour blindness tell apart.
/// Their yellow is left out: on white it cannot be seen. Their black is `ink`, which a page may
/// replace by the colour of its text. No curve rests on colour alone: markers and dashes differ too.
package enum Color: String, Sendable, CaseIterable {
  case ink = "#222222"
  case vermilion = "#D55E00"
  case blue = "#0072B2"
  case green = "#009E73"
  case orange = "#E69F00"
  case sky = "#56B4E9"
  case purple = "#CC79A7"
  /// For bars of what is ink elsewhere, visible on light and on dark.
  case grey = "#808080"
}

/// By gnuplot's numbers, which are the same for all of the terminals used here.
package enum Marker: Int, Sendable {
  case none = 0
  case plus = 1
  case cross = 2
  case star = 3
  case openSquare = 4
  case square = 5
  case openCircle = 6
  case circle = 7
  case openTriangle = 8
  case triangle = 9
  case openDown = 10
  case down = 11
  case openDiamond = 12
  case diamond = 13
  case openPentagon = 14
  case pentagon = 15
}

package enum Dash: Int, Sendable {
  case solid = 1
  case dashed = 2
  case dotted = 3
}

package struct CurveStyle: Equatable, Sendable {
  package var color: Color
  package var marker: Marker = .none
  package var dash: Dash = .solid

  /// A level to compare with.
  static let guide = CurveStyle(color: .ink, dash: .dashed)
}

// MARK: - By method

extension CurveStyle {
  /// A method looks the same in every figure.
  private static let named: [String: CurveStyle] = [
    "sgd": CurveStyle(color: .ink, marker: .cross, dash: .dashed),
    "ng": CurveStyle(color: .ink, marker: .diamond),
    "ef": CurveStyle(color: .vermilion, marker: .circle),
    "ief": CurveStyle(color: .blue, marker: .square),
    "sf": CurveStyle(color: .green, marker: .triangle),
    "gn": CurveStyle(color: .sky, marker: .openDiamond, dash: .dashed),
    "kfac": CurveStyle(color: .orange, marker: .down),
    "ekfac": CurveStyle(color: .sky, marker: .pentagon),
    "iekfac": CurveStyle(color: .purple, marker: .diamond),
    "block-ef": CurveStyle(color: .vermilion, marker: .openCircle, dash: .dashed),
    "block-ief": CurveStyle(color: .blue, marker: .openSquare, dash: .dashed),
    "block-sf": CurveStyle(color: .green, marker: .openTriangle, dash: .dashed),
    "diag-ef": CurveStyle(color: .vermilion, marker: .plus, dash: .dotted),
    "diag-ief": CurveStyle(color: .blue, marker: .star, dash: .dotted),
    "adam": CurveStyle(color: .purple, marker: .openPentagon, dash: .dashed),
  ]

  /// For directions from files, which have names of their own.
  private static let spare: [CurveStyle] = [
    CurveStyle(color: .purple, marker: .openDown, dash: .dotted),
    CurveStyle(color: .orange, marker: .openDiamond, dash: .dotted),
    CurveStyle(color: .sky, marker: .star, dash: .dashed),
    CurveStyle(color: .green, marker: .openPentagon, dash: .dotted),
    CurveStyle(color: .ink, marker: .openSquare, dash: .dotted),
    CurveStyle(color: .blue, marker: .openDown),
    CurveStyle(color: .vermilion, marker: .openTriangle, dash: .dotted),
    CurveStyle(color: .purple, marker: .plus),
    CurveStyle(color: .orange, marker: .openCircle, dash: .dashed),
    CurveStyle(color: .green, marker: .cross),
  ]

  /// For further variants of one method (`ng@5`, more draws), in its colour.
  private static let further: [(marker: Marker, dash: Dash)] = [
    (.openDown, .dashed), (.openPentagon, .dotted), (.star, .dashed), (.openCircle, .dotted),
    (.plus, .dashed), (.openSquare, .dotted),
  ]

  /// Of each variant, in their order.
  static func of(_ variants: [Variant]) -> [Variant: CurveStyle] {
    var styles: [Variant: CurveStyle] = [:]
    var plain: Set<String> = []
    var others: [String: Int] = [:]
    for variant in variants {
      let family = variant.family
      let style = named[family]
      if let style, family == variant.method, plain.insert(family).inserted {
        styles[variant] = style
        continue
      }
      // Families share one count of those without a look of their own.
      let count = others[style == nil ? "" : family, default: 0]
      others[style == nil ? "" : family] = count + 1
      if let style {
        let look = further[count % further.count]
        styles[variant] = CurveStyle(color: style.color, marker: look.marker, dash: look.dash)
      } else {
        styles[variant] = spare[count % spare.count]
      }
    }
    return styles
  }

  // MARK: By stage of training

  private static let stages: [CurveStyle] = [
    CurveStyle(color: .sky, marker: .openCircle),
    CurveStyle(color: .blue, marker: .square),
    CurveStyle(color: .green, marker: .triangle),
    CurveStyle(color: .orange, marker: .down),
    CurveStyle(color: .vermilion, marker: .circle),
    CurveStyle(color: .purple, marker: .diamond),
  ]

  /// Of the n-th of at most six checkpoints.
  static func ofStage(_ index: Int) -> CurveStyle { stages[index % stages.count] }
}
