extension String {
  /// Whether no more than 30 combining marks follow each other, as in Unicode's stream-safe text
  /// (UAX 15, D4).
  ///
  /// Strings are compared and hashed by what they mean, for which marks are sorted; the time for
  /// that is quadratic in the length of a run of them. No language has words with so many, and
  /// readers refuse them before a name becomes a key.
  package var isStreamSafe: Bool {
    var run = 0
    for scalar in unicodeScalars {
      // No mark is among the first code points.
      if scalar.value < 0x300 || scalar.properties.canonicalCombiningClass == .notReordered {
        run = 0
      } else {
        run += 1
        if run > 30 { return false }
      }
    }
    return true
  }
}
