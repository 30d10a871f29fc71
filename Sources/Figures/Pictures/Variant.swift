/// A method as a curve knows it: with the number of draws where a run has several, and apart from
/// its reference where the method is the natural gradient.
package struct Variant: Hashable, Sendable {
  package var method: String
  package var family: String
  package var draws: Int?
  package var role = ScoredDirection.Role.method
  /// Where a run is one of several.
  package var run: String?

  var isReference: Bool { role == .reference }
}

/// How the rows of a table become variants.
struct VariantNames {
  let runs: RunNames
  private let draws: [String: Set<Int?>]

  init(_ rows: [(Place, ScoredDirection)]) {
    runs = RunNames(rows.lazy.map(\.0))
    var draws: [String: Set<Int?>] = [:]
    for (_, direction) in rows { draws[direction.method, default: []].insert(direction.draws) }
    self.draws = draws
  }

  func variant(_ place: Place, _ direction: ScoredDirection) -> Variant {
    Variant(
      method: direction.method, family: direction.family,
      draws: draws[direction.method, default: []].count > 1 ? direction.draws : nil,
      role: direction.role, run: runs.label(place.run) == nil ? nil : place.run)
  }
}

/// A damping as reports repeat it: `1e-3` or `rel:1e-7`.
struct DampingText {
  var value: Double
  var isRelative: Bool

  init?(_ text: String) {
    isRelative = text.hasPrefix("rel:")
    guard let value = Double(isRelative ? String(text.dropFirst(4)) : text) else { return nil }
    self.value = value
  }
}
