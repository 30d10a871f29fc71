import TensorModule

// Products with H, and with the root A of `H = A A^T` that the dense reference is built on
// (method: B = A^T J, so that `F = B^T B`).
extension OutputState {
  /// `q^T H q` of a chunk and, if asked for, `scale H q` (may overwrite q); q `[n, O C]`.
  package func multiply<T: EngineScalar>(
    _ metric: OutputMetric, chunk: Chunk, _ q: UnsafePointer<T>,
    into product: UnsafeMutablePointer<T>? = nil, scale: Double = 1
  ) -> Double {
    let rows = chunk.count * positions
    let first = chunk.first * positions
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: rows) { quadratics in
      let out = quadratics.baseAddress!
      switch (loss, metric) {
      case (.crossEntropy, .fisher):
        weights.withUnsafeBufferPointer { weights in
          Kernels.crossEntropyHessian(
            probabilities.pointer + first * classes,
            weights: weights.isEmpty ? nil : weights.baseAddress! + first, q, rows: rows,
            classes: classes, scale: scale, quadratics: out, product)
        }
      case (.crossEntropy, .identity):
        for row in 0..<rows {
          let weight =
            labels[first + row] < 0 ? 0 : weights.isEmpty ? 1 : weights[first + row]
          Kernels.diagonalHessian(
            nil, q + row * classes, rows: 1, classes: classes, scale: scale * weight,
            quadratics: out + row, product.map { $0 + row * classes })
          out[row] *= weight
        }
      case (.binaryCrossEntropy, .identity), (.squaredError, _):
        weights.withUnsafeBufferPointer { weights in
          Kernels.diagonalHessian(
            weights.isEmpty ? nil : weights.baseAddress! + first * classes, q, rows: rows,
            classes: classes, scale: scale, quadratics: out, product)
        }
      case (.binaryCrossEntropy, .fisher):
        Kernels.diagonalHessian(
          hessianDiagonal.pointer + first * classes, q, rows: rows, classes: classes,
          scale: scale, quadratics: out, product)
      }
      return quadratics.reduce(0, +)
    }
  }

  /// `tr H_n`, without cancelling.
  package var hessianTraces: [Double] {
    perSample { n in
      (0..<positions).reduce(0.0) { sum, position in
        let row = n * positions + position
        switch loss {
        case .squaredError where hessianDiagonal.count == 0: return sum + Double(classes)
        case .squaredError, .binaryCrossEntropy:
          return sum
            + (0..<classes).reduce(0.0) { $0 + hessianDiagonal[row * classes + $1] }
        case .crossEntropy:
          let p = UnsafeBufferPointer(start: probabilities.pointer + row * classes, count: classes)
          let most = p.indices.max { p[$0] < p[$1] } ?? 0
          // 1 - p of the most probable class is the sum of the others.
          let (rest, others) = p.indices.reduce((0.0, 0.0)) {
            $1 == most ? $0 : ($0.0 + p[$1], $0.1 + p[$1] * (1 - p[$1]))
          }
          let weight = weights.isEmpty ? 1 : weights[row]
          return sum + weight * (others + p[most] * rest)
        }
      }
    }
  }

  /// A number for each sample, of all its probabilities.
  private func perSample(_ number: (_ sample: Int) -> Double) -> [Double] {
    let numbers = Vector<Double>(count: samples)
    pool.run(samples, operations: 4 * Double(samples * positions * classes)) { n, _ in
      numbers.pointer[n] = number(n)
    }
    return numbers.array
  }

  /// What `|H_n|_2` is at most, per sample.
  package var hessianNorms: [Double] {
    if loss == .crossEntropy { return hessianTraces }
    let size = positions * classes
    return (0..<samples).map { n in
      hessianDiagonal.count == 0
        ? 1 : (n * size..<(n + 1) * size).reduce(0) { max($0, hessianDiagonal[$1]) }
    }
  }

  /// Of the order of the largest entry of H, as an even power of two: dividing H by it is exact,
  /// and so is its root. A batch that is fitted to 1e-40 has an H that single precision cannot
  /// hold; `nil` if double precision cannot hold it either.
  package func curvatureUnit(_ metric: OutputMetric) -> Double? {
    var largest = 0.0
    switch (loss, metric) {
    case (.squaredError, _), (_, .identity):
      if weights.isEmpty { return 1 }
      largest = weights.max() ?? 0
    case (.binaryCrossEntropy, .fisher):
      for i in 0..<hessianDiagonal.count { largest = max(largest, hessianDiagonal.pointer[i]) }
    case (.crossEntropy, .fisher):
      // p (1 - p) of all but the most probable class, where it is p up to a factor of 2.
      largest = perSample { n in
        (n * positions..<(n + 1) * positions).reduce(0) { largest, row in
          var (first, second) = (0.0, 0.0)
          let probabilities = probabilities.pointer + row * classes
          for c in 0..<classes {
            let p = probabilities[c]
            (first, second) = p > first ? (p, first) : (first, max(second, p))
          }
          return max(largest, weights.isEmpty ? second : second * weights[row])
        }
      }.reduce(0, max)
    }
    guard largest >= .leastNormalMagnitude else { return nil }
    return Double(sign: .plus, exponent: largest.exponent / 2 * 2, significand: 1)
  }

  /// Column c of A at position o of every sample of a chunk, where `H = A A^T` and `u = A w`:
  /// `A = sqrt(M) (I - p 1^T) diag(sqrt p)` for cross-entropy, `diag(sqrt h)` otherwise
  /// (method.md 2).
  package func writeRootColumn(
    position: Int, class column: Int, chunk: Chunk, to out: UnsafeMutablePointer<S>
  ) {
    Kernels.zero(out, count: chunk.count * positions * classes)
    for i in 0..<chunk.count {
      let row = (chunk.first + i) * positions + position
      let target = out + (i * positions + position) * classes
      switch loss {
      case .crossEntropy:
        let p = probabilities.pointer + row * classes
        let root = p[column].squareRoot() * rootOfWeight(row)
        for c in 0..<classes { target[c] = S(-root * p[c]) }
        // 1 - p_c as the sum of the others: it does not cancel.
        var rest = 0.0
        for c in 0..<classes where c != column { rest += p[c] }
        target[column] = S(root * rest)
      case .squaredError: target[column] = S(rootOfWeight(row * classes + column))
      case .binaryCrossEntropy:
        target[column] = S(hessianDiagonal[row * classes + column].squareRoot())
      }
    }
  }

  /// w at one position and class of every sample, `u = A w`.
  package func rootWeights(position: Int, class column: Int) -> [Double] {
    (0..<samples).map { n in
      let row = n * positions + position
      switch gradient {
      case .softmax(let labels, let rest, _):
        guard labels[row] >= 0 else { return 0 }
        let root = probabilities[row * classes + column].squareRoot()
        // sqrt(p) - 1 / sqrt(p) for the label, without cancelling.
        return rootOfWeight(row) * (Int(labels[row]) == column ? -rest[row] / root : root)
      case .centred(let u):
        let value = u[row * classes + column]
        if value == 0 { return 0 }
        let root = probabilities[row * classes + column].squareRoot()
        return value / (rootOfWeight(row) * root)
      case .elementwise(let u):
        let place = row * classes + column
        return roots.isEmpty ? u[place] : roots[place]
      }
    }
  }
}
