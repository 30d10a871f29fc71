/// Up to three of `candidates` that a person who typed `name` may have meant, closest first.
package func nearMisses(_ name: String, among candidates: some Sequence<String>) -> [String] {
  let lowered = Array(name.lowercased().utf8)
  // One typing error in a short name, more in a longer one.
  let limit = max(1, min(4, lowered.count / 3))
  var found: [(distance: Int, name: String)] = []
  for candidate in candidates where candidate != name {
    let other = candidate.lowercased()
    if let distance = editDistance(lowered, Array(other.utf8), limit: limit) {
      found.append((distance, candidate))
    } else if other.hasSuffix("." + name.lowercased()) || name.lowercased().hasSuffix("." + other) {
      // A prefix too few or too many, as `bert.` or `model.` often is.
      found.append((limit + 1, candidate))
    }
  }
  found.sort { ($0.distance, $0.name) < ($1.distance, $1.name) }
  return found.prefix(3).map(\.name)
}

/// Levenshtein distance in bytes, nil if above `limit`.
private func editDistance(_ a: [UInt8], _ b: [UInt8], limit: Int) -> Int? {
  if abs(a.count - b.count) > limit { return nil }
  var row = Array(0...b.count)
  for i in 0..<a.count {
    var diagonal = row[0]
    row[0] = i + 1
    for j in 0..<b.count {
      let substitution = diagonal + (a[i] == b[j] ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(substitution, row[j] + 1, row[j + 1] + 1)
    }
    if row.min()! > limit { return nil }
  }
  return row[b.count] <= limit ? row[b.count] : nil
}
