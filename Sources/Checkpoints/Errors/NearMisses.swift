/// Up to three of `candidates` that a person who typed `name` may have meant, closest first.
package func nearMisses(_ name: String, among candidates: some Sequence<String>) -> [String] {
  let typed = name.lowercased()
  let bytes = Array(typed.utf8)
  // One typing error in a short name, more in a longer one.
  let limit = max(1, min(4, bytes.count / 3))
  var found: [(distance: Int, name: String)] = []
  for candidate in candidates where candidate != name {
    let other = candidate.lowercased()
    if let distance = editDistance(bytes, Array(other.utf8), limit: limit) {
      found.append((distance, candidate))
    } else if other.hasSuffix("." + typed) || typed.hasSuffix("." + other)
      || bytes.count > 2 && other.hasPrefix(typed)
    {
      // A prefix too few or too many, as `bert.` or `model.` often is, or a name cut short.
      found.append((limit + 1, candidate))
    }
  }
  found.sort { ($0.distance, $0.name) < ($1.distance, $1.name) }
  return found.prefix(3).map(\.name)
}

/// Insertions, deletions, substitutions and swaps of neighbours between two byte strings (optimal
/// string alignment), nil if more than `limit`.
private func editDistance(_ a: [UInt8], _ b: [UInt8], limit: Int) -> Int? {
  if abs(a.count - b.count) > limit { return nil }
  var previous = [Int](repeating: 0, count: b.count + 1)
  var row = Array(0...b.count)
  for i in 0..<a.count {
    var next = [i + 1] + row.dropFirst()
    for j in 0..<b.count {
      next[j + 1] = min(row[j] + (a[i] == b[j] ? 0 : 1), row[j + 1] + 1, next[j] + 1)
      if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
        next[j + 1] = min(next[j + 1], previous[j - 1] + 1)
      }
    }
    (previous, row) = (row, next)
  }
  return row[b.count] <= limit ? row[b.count] : nil
}
