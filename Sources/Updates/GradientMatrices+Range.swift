import TensorModule

// What gradients span, and what another rounding makes of them.

extension GradientMatrices {
  /// The same matrices in orthonormal bases of what they span, where that is less than everything: with
  /// fewer rows of all samples than entries in one.
  func reduced() throws(LinearAlgebraError) -> ReducedMatrices {
    var (left, right): (RowSpectrum?, RowSpectrum?) = (nil, nil)
    switch form {
    case .products(let positions, let b, let a):
      let count = samples * positions
      if count < rows {
        left = try RowSpectrum(rows: count, columns: rows) { [rows] in
          Kernels.copy(b.pointer + $0.lowerBound * rows, $1, count: $0.count * rows)
        }
      }
      if count < columns {
        right = try RowSpectrum(rows: count, columns: columns) { [columns] in
          Kernels.copy(a.pointer + $0.lowerBound * columns, $1, count: $0.count * columns)
        }
      }
    case .explicit(let values):
      if samples * columns < rows {
        left = try RowSpectrum(rows: samples * columns, columns: rows) { [rows, columns] in
          for (place, i) in $0.enumerated() {
            let source = values.pointer + i / columns * rows * columns + i % columns
            for r in 0..<rows { $1[place * rows + r] = source[r * columns] }
          }
        }
      }
      if samples * rows < columns {
        right = try RowSpectrum(rows: samples * rows, columns: columns) { [columns] in
          Kernels.copy(values.pointer + $0.lowerBound * columns, $1, count: $0.count * columns)
        }
      }
    }
    return ReducedMatrices(
      matrices: transformed(
        left: left.map { ($0.values.count, $0.basis) },
        right: right.map { ($0.values.count, $0.basis) }),
      left: left?.basis, right: right?.basis, rows: rows, columns: columns)
  }

  /// The same with random errors of these sizes, relative to each row or matrix.
  ///
  /// - Parameter errors: `[N]`
  func perturbed(_ errors: [Double]) -> GradientMatrices {
    func noisy(_ x: Vector<Double>, width: Int, rowsOfSample: Int) -> Vector<Double> {
      let result = x.copy()
      for row in 0..<x.count / max(width, 1) {
        let values = result.pointer + row * width
        let norm = Kernels.dot(values, values, count: width).squareRoot()
        let size = errors[row / rowsOfSample] * norm / Double(width).squareRoot()
        var generator = CounterRandom(seed: 0, batch: 0, sample: row, stream: .vectors)
        for i in 0..<width { values[i] += size * generator.normal() }
      }
      return result
    }
    switch form {
    case .products(let positions, let b, let a):
      return GradientMatrices(
        samples: samples, rows: rows, columns: columns, isCentred: isCentred,
        .products(
          positions: positions, b: noisy(b, width: rows, rowsOfSample: positions), a: a))
    case .explicit(let values):
      return GradientMatrices(
        samples: samples, rows: rows, columns: columns, isCentred: isCentred,
        .explicit(noisy(values, width: rows * columns, rowsOfSample: 1)))
    }
  }
}
