/// No longer name is compared with others: people misspell words, not pages.
private let longestCompared = 256

/// Up to three of `candidates` that a person who typed `name` may have meant, closest first. The
/// work is linear in their number.
package func nearMisses(_ name: String, among candidates: some Sequence<String>) -> [String] {
  if name.utf8.count > longestCompared { return [] }
  let typed = name.lowercased()
  let bytes = Array(typed.utf8)
  // One typing error in a short name, more in a longer one.
  let limit = max(1, min(4, bytes.count / 3))
  var found: [(distance: Int, name: String)] = []
  for candidate in candidates where candidate.utf8.count <= longestCompared && candidate != name {
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

/// A question for names that are near; `nil` for none.
package func didYouMean(_ names: [String]) -> String? {
  names.isEmpty ? nil : "Did you mean \(list(names))?"
}

/// Insertions, deletions, substitutions and swaps of neighbours between two byte strings (optimal
/// string alignment), nil if more than `limit`.
///
/// Only cells within `limit` of the diagonal are filled in: beyond them the lengths alone differ by
/// more (Ukkonen 1985). It ends where a whole row is beyond the limit.
private func editDistance(_ a: [UInt8], _ b: [UInt8], limit: Int) -> Int? {
  if abs(a.count - b.count) > limit { return nil }
  let far = limit + 1
  var previous = [Int](repeating: far, count: b.count + 1)
  var row = (0...b.count).map { min($0, far) }
  for i in 0..<a.count {
    var next = [Int](repeating: far, count: b.count + 1)
    var least = far
    if i < limit {
      next[0] = i + 1
      least = i + 1
    }
    for j in max(0, i - limit)..<max(0, min(b.count, i + limit + 1)) {
      var distance = min(row[j] + (a[i] == b[j] ? 0 : 1), row[j + 1] + 1, next[j] + 1)
      if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
        distance = min(distance, previous[j - 1] + 1)
      }
      next[j + 1] = min(distance, far)
      least = min(least, distance)
    }
    if least > limit { return nil }
    (previous, row) = (row, next)
  }
  return row[b.count] <= limit ? row[b.count] : nil
}
