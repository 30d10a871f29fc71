import TensorModule

/// What Adafactor remembers of a parameter: means of the squares of its gradients.
enum AdafactorState {
  /// `[matrices, rows]` and `[matrices, columns]`
  case factored(ParameterLayout.Matrices, rows: Vector<Double>, columns: Vector<Double>)
  case full(Vector<Double>)

  init(_ entry: ParameterLayout.Entry) {
    guard let matrices = entry.matrices else {
      self = .full(Vector(count: entry.range.count))
      return
    }
    self = .factored(
      matrices, rows: Vector(count: matrices.count * matrices.rows),
      columns: Vector(count: matrices.count * matrices.columns))
  }
}

/// The second moments of Adafactor: means of squares along rows and columns that take in a gradient,
/// and the gradient divided by their root, in place.
package enum AdafactorMoments {
  package typealias Pointer = UnsafeMutablePointer<Double>

  /// As PyTorch has it: `v = r c^T / max(mean r, epsilon)`, the root at least epsilon.
  package static func divide(
    _ g: Pointer, _ m: ParameterLayout.Matrices, rows: Pointer, columns: Pointer, _ share: Double,
    _ epsilon: Double
  ) {
    take(g, m, rows: rows, columns: columns, share, added: 0)
    for index in 0..<m.count {
      let (row, column) = (rows + index * m.rows, columns + index * m.columns)
      let mean = max(mean(row, m.rows), epsilon)
      m.visit(index) { place, r, c in
        g[place] /= max(row[r] * column[c] / mean, epsilon * epsilon).squareRoot()
      }
    }
  }

  /// The same of a parameter without rows.
  package static func divide(
    _ g: Pointer, count: Int, squares: Pointer, _ share: Double, _ epsilon: Double
  ) {
    for i in 0..<count {
      squares[i] += share * (g[i] * g[i] - squares[i])
      g[i] /= max(squares[i], epsilon * epsilon).squareRoot()
    }
  }

  /// As Shazeer and Stern have it: epsilon is added to every square.
  package static func divideByMeans(
    _ g: Pointer, _ m: ParameterLayout.Matrices, rows: Pointer, columns: Pointer, _ share: Double,
    _ epsilon: Double
  ) {
    take(g, m, rows: rows, columns: columns, share, added: epsilon)
    for index in 0..<m.count {
      let (row, column) = (rows + index * m.rows, columns + index * m.columns)
      let mean = mean(row, m.rows)
      m.visit(index) { place, r, c in
        let square = mean > 0 ? row[r] / mean * column[c] : 0
        g[place] = square > 0 ? g[place] / square.squareRoot() : 0
      }
    }
  }

  /// The same of a parameter without rows.
  package static func divideByMeans(
    _ g: Pointer, count: Int, squares: Pointer, _ share: Double, _ epsilon: Double
  ) {
    for i in 0..<count {
      squares[i] += share * (g[i] * g[i] + epsilon - squares[i])
      g[i] = squares[i] > 0 ? g[i] / squares[i].squareRoot() : 0
    }
  }

  /// What the result is divided by to have a root mean square of at most the threshold.
  package static func clipping(_ g: Pointer, count: Int, threshold: Double) -> Double {
    max(1, rootMeanSquare(g, count: count) / threshold)
  }

  /// Moves the means by `share` towards those of the squares of g.
  private static func take(
    _ g: Pointer, _ m: ParameterLayout.Matrices, rows: Pointer, columns: Pointer, _ share: Double,
    added: Double
  ) {
    for index in 0..<m.count {
      let start = g + m.start(index)
      let (row, column) = (rows + index * m.rows, columns + index * m.columns)
      for r in 0..<m.rows {
        var sum = 0.0
        for c in 0..<m.columns {
          let value = start[r * m.rowStride + c * m.columnStride]
          sum += value * value
        }
        row[r] += share * (sum / Double(m.columns) + added - row[r])
      }
      for c in 0..<m.columns {
        var sum = 0.0
        for r in 0..<m.rows {
          let value = start[r * m.rowStride + c * m.columnStride]
          sum += value * value
        }
        column[c] += share * (sum / Double(m.rows) + added - column[c])
      }
    }
  }

  private static func mean(_ x: Pointer, _ count: Int) -> Double {
    var total = 0.0
    for i in 0..<count { total += x[i] }
    return total / Double(count)
  }
}

/// 0 of no numbers.
package func rootMeanSquare(_ x: UnsafePointer<Double>, count: Int) -> Double {
  (Kernels.dot(x, x, count: count) / Double(max(count, 1))).squareRoot()
}
