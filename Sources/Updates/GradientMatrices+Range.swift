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

  /// Whether products of rows of many positions take more than the matrices that they are.
  static func isSmallerWritten(positions: Int, rows: Int, columns: Int) -> Bool {
    positions > 1 && rows * columns <= positions * (rows + columns)
  }

  /// The same matrices in the form that takes less. Beside them how much larger what each is the sum of is than
  /// itself, `[N]`: that is what its errors are relative to.
  func inSmallerForm() -> (matrices: GradientMatrices, cancellation: [Double]) {
    guard case .products(let positions, let b, let a) = form,
      Self.isSmallerWritten(positions: positions, rows: rows, columns: columns)
    else { return (self, [Double](repeating: 1, count: samples)) }
    let values = Vector<Double>(count: samples * rows * columns)
    let cancellation = (0..<samples).map { n in
      let own = values.pointer + n * rows * columns
      write(n, to: own)
      var parts = 0.0
      for t in n * positions..<(n + 1) * positions {
        let (x, y) = (
          UnsafePointer(b.pointer + t * rows), UnsafePointer(a.pointer + t * columns)
        )
        parts += Kernels.dot(x, x, count: rows) * Kernels.dot(y, y, count: columns)
      }
      let square = Kernels.dot(UnsafePointer(own), UnsafePointer(own), count: rows * columns)
      return square > 0 ? max(1, (parts / square).squareRoot()) : 1
    }
    return (
      GradientMatrices(
        samples: samples, rows: rows, columns: columns, isCentred: isCentred, .explicit(values)),
      cancellation
    )
  }

  /// The same with random errors of these sizes, relative to each row or matrix: of single entries, whose signs are
  /// drawn (normal ones would take longer than many a step), and a common one of each sample, as the rounding of
  /// logits makes it.
  ///
  /// - Parameters:
  ///   - errors: `[N]`
  ///   - draw: Which of several independent ones.
  func perturbed(_ errors: [Double], draw: Int) -> GradientMatrices {
    func noisy(_ x: Vector<Double>, width: Int, rowsOfSample: Int) -> Vector<Double> {
      let result = x.copy()
      for row in 0..<x.count / max(width, 1) {
        let values = result.pointer + row * width
        let norm = Kernels.dot(values, values, count: width).squareRoot()
        let size = errors[row / rowsOfSample] * norm / Double(width).squareRoot()
        var common = CounterRandom(
          seed: 0, batch: 2 * draw + 1, sample: row / rowsOfSample, stream: .vectors)
        let factor = 1 + errors[row / rowsOfSample] * common.normal()
        var generator = CounterRandom(seed: 0, batch: 2 * draw, sample: row, stream: .vectors)
        var signs: UInt64 = 0
        for i in 0..<width {
          signs = i % 64 == 0 ? generator.next() : signs >> 1
          values[i] = factor * values[i] + (signs & 1 == 0 ? size : -size)
        }
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
