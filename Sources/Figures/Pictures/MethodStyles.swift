/// The look of every method of some results: the same in all figures, and apart from all others by
/// marker and dash alone.
///
/// Methods that have a name of their own look the same in all results. Others (directions from files,
/// truncated solves, further draws and runs) take a place that their name decides; only where two
/// names want one place do they know of each other.
struct MethodStyles: Sendable {
  private let styles: [Variant: CurveStyle]

  init(_ results: Results) {
    func variants(_ rows: [(Place, ScoredDirection)]) -> [Variant] {
      let names = VariantNames(rows)
      return rows.map { names.variant($0, $1) }
    }
    let scores = variants((results.scores ?? []).map { ($0.place, $0.direction) })
    let layers = variants((results.layers ?? []).map { ($0.place, $0.direction) })
    var known: Set<Variant> = []
    self.init((scores + layers).filter { known.insert($0).inserted })
  }

  init(_ variants: [Variant]) {
    var styles: [Variant: CurveStyle] = [:]
    var used: Set<Look> = []
    var runs: [String?: Int] = [:]
    for variant in variants where runs[variant.run] == nil { runs[variant.run] = runs.count }
    let ordered = variants.sorted {
      (runs[$0.run]!, $0.isReference ? 0 : 1, $0.draws ?? 0, $0.method)
        < (runs[$1.run]!, $1.isReference ? 0 : 1, $1.draws ?? 0, $1.method)
    }
    var others: [Variant] = []
    for variant in ordered {
      // The first of a name; the natural gradient that is no reference comes second.
      if let style = CurveStyle.named[variant.method], used.insert(Look(style)).inserted {
        styles[variant] = style
      } else {
        others.append(variant)
      }
    }
    for variant in others {
      let name = "\(variant.method) \(variant.draws ?? 0) \(runs[variant.run]!)"
      let first = Int(Self.hash(name) % UInt64(Self.spare.count))
      let places = (0..<Self.spare.count).lazy.map { (first + $0) % Self.spare.count }
      // When all are taken, looks repeat.
      let look = Self.spare[places.first { !used.contains(Self.spare[$0]) } ?? first]
      used.insert(look)
      let color =
        CurveStyle.named[variant.method]?.color ?? CurveStyle.named[variant.family]?.color
        ?? Self.colors[Int((Self.hash(variant.method) >> 8) % UInt64(Self.colors.count))]
      styles[variant] = CurveStyle(color: color, marker: look.marker, dash: look.dash)
    }
    self.styles = styles
  }

  subscript(variant: Variant) -> CurveStyle { styles[variant] ?? .guide }

  // MARK: - What is left by the named ones

  /// What is seen without colour.
  private struct Look: Hashable {
    var marker: Marker
    var dash: Dash

    init(_ style: CurveStyle) { (marker, dash) = (style.marker, style.dash) }

    init(marker: Marker, dash: Dash) { (self.marker, self.dash) = (marker, dash) }
  }

  private static let spare: [Look] = {
    let named = Set(CurveStyle.named.values.map(Look.init))
    let markers = Marker.allCases.filter { $0 != .none }
    let dashes = Dash.allCases
    // Neighbours differ in both.
    return dashes.indices.flatMap { shift in
      markers.enumerated().map {
        Look(marker: $1, dash: dashes[($0 + shift) % dashes.count])
      }
    }.filter { !named.contains($0) }
  }()

  private static let colors: [Color] = [.blue, .vermilion, .green, .purple, .orange, .sky]

  /// FNV-1a: the same on every machine and in every run.
  private static func hash(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }
}
