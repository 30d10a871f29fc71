/// Colours after Okabe and Ito, which people with the common kinds of colour blindness tell apart.
/// Their yellow is left out: on white it cannot be seen. Their black is `ink`, which a page may
/// replace by the colour of its text. No curve rests on colour alone: no two have the same marker and
/// dash.
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
package enum Marker: Int, Sendable, CaseIterable {
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

package enum Dash: Sendable, CaseIterable {
  case solid
  case dashed
  case dotted
  case dashDot
  case dashDotDot
  case long
  case longDot
}

package struct CurveStyle: Hashable, Sendable {
  package var color: Color
  package var marker: Marker = .none
  package var dash: Dash = .solid

  /// A level to compare with.
  static let guide = CurveStyle(color: .ink, dash: .dashed)

  // MARK: By method

  /// Of the methods that have a name of their own, by that name: kin share a colour.
  static let named: [String: CurveStyle] = [
    "sgd": CurveStyle(color: .ink, marker: .cross, dash: .dashed),
    "ng": CurveStyle(color: .ink, marker: .diamond),
    "ef": CurveStyle(color: .vermilion, marker: .circle),
    "ief": CurveStyle(color: .blue, marker: .square),
    "sf": CurveStyle(color: .green, marker: .triangle),
    "gn": CurveStyle(color: .sky, marker: .openDiamond, dash: .dashed),
    "kfac": CurveStyle(color: .orange, marker: .down),
    "kfac@exact": CurveStyle(color: .orange, marker: .openDown, dash: .dashed),
    "kfac@reduce": CurveStyle(color: .orange, marker: .down, dash: .dotted),
    "kfac@exact@reduce": CurveStyle(color: .orange, marker: .openDown, dash: .dashDot),
    "ekfac": CurveStyle(color: .sky, marker: .pentagon),
    "ekfac@reduce": CurveStyle(color: .sky, marker: .pentagon, dash: .dotted),
    "iekfac": CurveStyle(color: .purple, marker: .openDown),
    "iekfac@reduce": CurveStyle(color: .purple, marker: .openDown, dash: .dotted),
    "evkfac": CurveStyle(color: .sky, marker: .openPentagon),
    "foof": CurveStyle(color: .green, marker: .star),
    "block-ef": CurveStyle(color: .vermilion, marker: .openCircle, dash: .dashed),
    "block-ief": CurveStyle(color: .blue, marker: .openSquare, dash: .dashed),
    "block-sf": CurveStyle(color: .green, marker: .openTriangle, dash: .dashed),
    "block-ng": CurveStyle(color: .ink, marker: .openDiamond),
    "layer-ef": CurveStyle(color: .vermilion, marker: .openCircle, dash: .dashDot),
    "layer-ief": CurveStyle(color: .blue, marker: .openSquare, dash: .dashDot),
    "layer-sf": CurveStyle(color: .green, marker: .openTriangle, dash: .dashDot),
    "layer-ng": CurveStyle(color: .ink, marker: .openDiamond, dash: .dashDot),
    "diag-ef": CurveStyle(color: .vermilion, marker: .plus, dash: .dotted),
    "diag-ief": CurveStyle(color: .blue, marker: .star, dash: .dotted),
    "diag-ng": CurveStyle(color: .ink, marker: .cross, dash: .dotted),
    "adam": CurveStyle(color: .purple, marker: .openPentagon, dash: .dashed),
    "shampoo": CurveStyle(color: .purple, marker: .diamond, dash: .long),
    "shampoo@2": CurveStyle(color: .purple, marker: .openDiamond, dash: .long),
    "soap": CurveStyle(color: .orange, marker: .square, dash: .long),
    "kl-shampoo": CurveStyle(color: .purple, marker: .circle, dash: .dashDot),
    "muon": CurveStyle(color: .sky, marker: .triangle, dash: .long),
    "muon@polar": CurveStyle(color: .sky, marker: .openTriangle, dash: .long),
    "sign": CurveStyle(color: .green, marker: .plus),
    "sophia": CurveStyle(color: .vermilion, marker: .star, dash: .long),
  ]

  // MARK: By run

  /// Of what is no method, in a colour of its own.
  static func ofRun(_ index: Int, _ color: Color) -> CurveStyle {
    let markers: [Color: Marker] = [
      .purple: .diamond, .blue: .square, .green: .triangle, .orange: .down,
    ]
    let marker = (markers[color] ?? .circle).rawValue - (index % 2)
    return CurveStyle(
      color: color, marker: Marker(rawValue: marker) ?? .circle,
      dash: Dash.allCases[index % Dash.allCases.count])
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

extension Curve {
  /// Of the band of each of so many: many over each other have to be faint.
  static func bandOpacity(of count: Int) -> Double {
    count <= 4 ? 0.18 : count <= 8 ? 0.12 : 0.07
  }
}
