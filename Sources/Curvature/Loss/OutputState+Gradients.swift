import TensorModule

// The gradients u of the loss with respect to the logits.
extension OutputState {
  /// Writes `u` of one chunk, `[n, O C]`, sample n divided by `units[n]` in double.
  package func write<T: EngineScalar>(
    _ gradient: LogitGradient, chunk: Chunk, units: UnsafePointer<Double>,
    to out: UnsafeMutablePointer<T>
  ) {
    for i in 0..<chunk.count {
      let row = (chunk.first + i) * positions
      write(
        gradient, rows: row..<row + positions, scale: 1 / units[chunk.first + i],
        to: out + i * positions * classes)
    }
  }

  /// `scale u` of some rows.
  private func write<T: EngineScalar>(
    _ gradient: LogitGradient, rows: Range<Int>, scale: Double, to out: UnsafeMutablePointer<T>
  ) {
    switch gradient {
    case .softmax(let labels, let rest, let weights):
      withPointers(labels, rest, weights, from: rows.lowerBound) { labels, rest, weights in
        Kernels.crossEntropyGradient(
          probabilities.pointer + rows.lowerBound * classes, rest: rest, labels: labels,
          weights: weights, rows: rows.count, classes: classes, scale: scale, out)
      }
    case .centred(let u), .elementwise(let u):
      for j in 0..<rows.count * classes { out[j] = T(u[rows.lowerBound * classes + j] * scale) }
    }
  }

  /// `sum += factors[n] u_n / units[n]` for every sample, sum `[N, O C]`.
  package func add(
    _ gradient: LogitGradient, units: some Collection<Double>, factors: some Collection<Double>,
    to sum: Vector<Double>
  ) {
    let (units, factors) = (Array(units), Array(factors))
    pool.run(samples, operations: 2 * Double(sum.count)) { n, _ in
      if factors[n] == 0 { return }
      withUnsafeTemporaryAllocation(of: Double.self, capacity: classes) { u in
        for row in n * positions..<(n + 1) * positions {
          write(gradient, rows: row..<row + 1, scale: 1 / units[n], to: u.baseAddress!)
          Kernels.axpby(
            factors[n], u.baseAddress!, 1, sum.pointer + row * classes, count: classes)
        }
      }
    }
  }

  /// Whether two gradients are the same for a sample. A label weighs the square of what it weighs when
  /// it is drawn: then they are not.
  package func areEqual(_ a: LogitGradient, _ b: LogitGradient, sample: Int) -> Bool {
    switch (a, b) {
    case (.softmax(let a, _, let weights), .softmax(let b, _, let otherWeights)):
      let rows = sample * positions..<(sample + 1) * positions
      if a[rows] != b[rows] { return false }
      if weights.isEmpty && otherWeights.isEmpty { return true }
      return rows.allSatisfy {
        a[$0] < 0
          || (weights.isEmpty ? 1 : weights[$0]) == (otherWeights.isEmpty ? 1 : otherWeights[$0])
      }
    case (.elementwise(let a), .elementwise(let b)), (.centred(let a), .centred(let b)):
      let entries = sample * positions * classes..<(sample + 1) * positions * classes
      return a[entries] == b[entries]
    default: return false
    }
  }

  /// `|u_n|_2`
  package func norms(_ gradient: LogitGradient) -> [Double] {
    OutputState.norms(
      gradient, probabilities: probabilities, samples: samples, positions: positions,
      classes: classes, pool: pool)
  }

  /// `norms` to divide by: 1 for those below the normal numbers, which have no reciprocal.
  package func units(_ gradient: LogitGradient) -> [Double] {
    norms(gradient).map { $0 >= .leastNormalMagnitude ? $0 : 1 }
  }

  static func norms(
    _ gradient: LogitGradient, probabilities: Vector<Double>, samples: Int, positions: Int,
    classes: Int, pool: WorkerPool
  ) -> [Double] {
    switch gradient {
    case .softmax(let labels, let rest, let weights):
      let norms = Vector<Double>(count: samples)
      pool.run(samples, operations: 4 * Double(samples * positions * classes)) { n, _ in
        var squares = [Double](repeating: 0, count: positions)
        /// u of some positions of the sample, and their squares.
        func write(_ places: Range<Int>, to u: UnsafeMutablePointer<Double>) {
          let row = n * positions + places.lowerBound
          withPointers(labels, rest, weights, from: row) { labels, rest, weights in
            squares.withUnsafeMutableBufferPointer {
              Kernels.crossEntropyGradient(
                probabilities.pointer + row * classes, rest: rest, labels: labels,
                weights: weights, rows: places.count, classes: classes, scale: 1, u,
                squares: $0.baseAddress! + places.lowerBound)
            }
          }
        }
        withUnsafeTemporaryAllocation(of: Double.self, capacity: classes) { row in
          for place in 0..<positions { write(place..<place + 1, to: row.baseAddress!) }
        }
        let square = squares.reduce(0, +)
        // All of u only where its square has lost digits.
        let u = Vector<Double>(count: hasItsDigits(square: square) ? 0 : positions * classes)
        if u.count > 0 { write(0..<positions, to: u.pointer) }
        norms.pointer[n] = euclideanNorm(
          UnsafeBufferPointer(start: u.pointer, count: u.count), square: square)
      }
      return norms.array
    case .centred(let u), .elementwise(let u):
      let size = positions * classes
      return (0..<samples).map { euclideanNorm(u[$0 * size..<($0 + 1) * size]) }
    }
  }

  /// `u_n . q_n` for the samples of a chunk, q `[n, O C]`, summed over them.
  package func gradientDot(
    _ gradient: LogitGradient, chunk: Chunk, _ q: UnsafePointer<S>
  ) -> Double {
    withGradientDots(gradient, chunk: chunk, q) { $0.reduce(0, +) }
  }

  /// The same sample by sample.
  package func writeGradientDots(
    _ gradient: LogitGradient, chunk: Chunk, _ q: UnsafePointer<S>,
    to out: UnsafeMutablePointer<Double>
  ) {
    withGradientDots(gradient, chunk: chunk, q) { dots in
      for n in 0..<chunk.count {
        out[n] = dots[n * positions..<(n + 1) * positions].reduce(0, +)
      }
    }
  }

  /// Position by position.
  private func withGradientDots<R>(
    _ gradient: LogitGradient, chunk: Chunk, _ q: UnsafePointer<S>,
    _ body: (UnsafeMutableBufferPointer<Double>) -> R
  ) -> R {
    let rows = chunk.count * positions
    let first = chunk.first * positions
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: rows) { dots in
      switch gradient {
      case .softmax(let labels, let rest, let weights):
        withPointers(labels, rest, weights, from: first) { labels, _, weights in
          Kernels.crossEntropyGradientDot(
            probabilities.pointer + first * classes, labels: labels, weights: weights, q,
            rows: rows, classes: classes, dots.baseAddress!)
        }
      case .centred(let u):
        u.withUnsafeBufferPointer { u in
          Kernels.centredGradientDot(
            u.baseAddress! + first * classes, q, rows: rows, classes: classes, dots.baseAddress!)
        }
      case .elementwise(let u):
        u.withUnsafeBufferPointer { u in
          Kernels.diagonalGradientDot(
            u.baseAddress! + first * classes, q, rows: rows, classes: classes, dots.baseAddress!)
        }
      }
      return body(dots)
    }
  }
}

/// Calls `body` with pointers to the entries from `row` on; no weights are a null pointer.
private func withPointers(
  _ labels: [Int64], _ rest: [Double], _ weights: [Double], from row: Int,
  _ body: (UnsafePointer<Int64>, UnsafePointer<Double>, UnsafePointer<Double>?) -> Void
) {
  labels.withUnsafeBufferPointer { labels in
    rest.withUnsafeBufferPointer { rest in
      weights.withUnsafeBufferPointer { weights in
        body(
          labels.baseAddress! + row, rest.baseAddress! + row,
          weights.isEmpty ? nil : weights.baseAddress! + row)
      }
    }
  }
}
