import TensorModule

/// Which weights go: those of the least statistic over all tensors together.
struct PruningSelection {
  /// Per number of weights that go, whether each weight goes, `[count]`.
  let removed: [[Bool]]

  /// - Parameters:
  ///   - statistic: One number for each weight. Of equal ones the first go first.
  ///   - counts: How many are to go.
  init(_ statistic: Vector<Double>, counts: [Int]) {
    let sorted = statistic.array.sorted()
    removed = counts.map { count in
      if count == 0 { return [Bool](repeating: false, count: sorted.count) }
      let threshold = sorted[count - 1]
      // Those below go in any case.
      var equal = count - (sorted.firstIndex { $0 >= threshold } ?? 0)
      return (0..<sorted.count).map { q in
        let value = statistic.pointer[q]
        if value != threshold { return value < threshold }
        equal -= 1
        return equal >= 0
      }
    }
  }

  /// How many of so many weights a share is.
  static func count(_ sparsity: Double, of weights: Int) -> Int {
    Int((sparsity * Double(weights)).rounded())
  }
}

/// The weights with zeros in place of those that go.
func masked(_ values: Vector<Double>, _ removed: [Bool]) -> Vector<Double> {
  let result = values.copy()
  for q in removed.indices where removed[q] { result.pointer[q] = 0 }
  return result
}
