import TensorModule

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The output distribution of a batch at the linearization point: losses, logit gradients u,
/// products with H and the certificate, all in double.
///
/// Layout `[N, O, C]`, rows are positions.
package final class OutputState<S: EngineScalar>: Sendable {
  package let loss: Loss
  package let samples: Int
  package let positions: Int
  package let classes: Int
  /// The order of sums over samples.
  package let schedule: Schedule
  /// l_n
  package let sampleLosses: [Double]
  /// Per sample `|w_n|^2`: `gamma >= 1 / sqrt(sum)` for every direction (method.md 2).
  package let certificates: [Double]
  /// u, for the true labels.
  package let gradient: LogitGradient
  /// `|u_n|_2` over the scored positions.
  package let gradientNorms: [Double]
  /// `max_oc |z_noc|` over the scored positions: what the rounding of logits is relative to.
  package let largestLogits: [Double]

  /// What the mean loss is L divided by: the number of scored positions, each times its weight.
  package let positionWeight: Double

  /// Softmax probabilities, zero in rows that are not scored; sigmoids for the binary loss.
  let probabilities: Vector<Double>
  /// Diagonal of H for element-wise losses; empty where it is all ones.
  let hessianDiagonal: Vector<Double>
  /// M, what the loss is multiplied by: of rows for cross-entropy, of elements otherwise; empty: ones.
  let weights: [Double]
  /// w of element-wise losses where it is not u.
  let roots: [Double]
  let labels: [Int64]

  package typealias Chunk = Schedule.Chunk

  /// - Precondition: labels and weights fit the loss and the output shape; the batch reader checks
  ///   them.
  package init(
    loss: Loss, labels: Labels, weighting: LossWeighting = .none, linearization: Linearization<S>
  ) {
    let graph = linearization.program.graph
    self.loss = loss
    samples = linearization.samples
    positions = graph.positions
    classes = graph.classes
    schedule = linearization.schedule
    let point = OutputPoint(loss, labels, weighting, linearization)
    (probabilities, hessianDiagonal) = (point.probabilities, point.hessianDiagonal)
    (weights, roots) = (point.weights, point.roots)
    (self.labels, gradient, positionWeight) = (point.labels, point.gradient, point.positionWeight)
    func perSample(_ values: [Double], positions: Int) -> [Double] {
      stride(from: 0, to: values.count, by: positions).map {
        values[$0..<$0 + positions].reduce(0, +)
      }
    }
    sampleLosses = perSample(point.losses, positions: positions)
    certificates = perSample(point.certificates, positions: positions)
    largestLogits = OutputState.largestLogits(linearization, point)
    gradientNorms = OutputState.norms(
      gradient, probabilities: probabilities, samples: samples, positions: positions,
      classes: classes)
  }

  private static func largestLogits(
    _ linearization: Linearization<S>, _ point: OutputPoint<S>
  ) -> [Double] {
    let size = linearization.logitCount
    let positions = linearization.program.graph.positions
    let classes = size / positions
    func isScored(_ row: Int) -> Bool {
      if !point.labels.isEmpty { return point.labels[row] >= 0 }
      let elements = row * classes..<(row + 1) * classes
      return point.weights.isEmpty || point.weights[elements].contains { $0 > 0 }
    }
    var largest = [Double](repeating: 0, count: linearization.samples)
    for chunk in linearization.schedule.chunks {
      let logits = linearization.logits(chunk)
      for n in 0..<chunk.count {
        for position in 0..<positions where isScored((chunk.first + n) * positions + position) {
          largest[chunk.first + n] = max(
            largest[chunk.first + n],
            Double(Kernels.largest(logits + n * size + position * classes, count: classes)))
        }
      }
    }
    return largest
  }

  // MARK: - Sums over the batch

  /// L
  package var totalLoss: Double { schedule.sum { sampleLosses[$0] } }
  /// `1 / |w|`: no direction has a smaller gamma.
  package var gammaBound: Double {
    let square = schedule.sum { certificates[$0] }
    // The squares of w, which is u without weights, may leave the range of numbers.
    if loss == .squaredError {
      return 1 / euclideanNorm(roots.isEmpty ? gradientNorms : roots, square: square)
    }
    return 1 / square.squareRoot()
  }

  /// Whether a label is given a probability so small, of some 1e-16 or less, that w dwarfs what the
  /// other labels say: then `g = B^T w` holds no longer in numbers.
  package var missesLabels: Bool {
    loss != .squaredError && certificates.contains { !($0 <= 1e16) }
  }

  /// L over the number of scored positions, each times its weight: what torch calls the mean, for
  /// cross-entropy.
  package var meanLoss: Double { totalLoss / positionWeight }

  // MARK: - Gradients

  /// The gradient for sampled labels, `[N O]` or `[N O C]`, times the root of the loss's weight, so
  /// that its covariance is H; positions that are not scored by the true labels stay unscored.
  package func gradient(
    forSampled labels: Labels, linearization: Linearization<S>
  ) -> LogitGradient {
    switch labels {
    case .classes(let other):
      let masked = zip(other, self.labels).map { $1 < 0 ? $1 : $0 }
      return sampledGradient(masked)
    case .real(let targets):
      var u = [Double](repeating: 0, count: targets.count)
      for chunk in linearization.schedule.chunks {
        let logits = linearization.logits(chunk)
        let first = chunk.first * positions * classes
        for i in first..<first + chunk.count * positions * classes {
          let (z, y) = (Double(logits[i - first]), targets[i])
          let element =
            loss == .binaryCrossEntropy
            ? Element(binary: z, ones: y, zeros: 1 - y, mass: 1) : Element(squared: z - y, mass: 1)
          u[i] = rootOfWeight(i) * element.gradient
        }
      }
      return .elementwise(u)
    }
  }

  private func sampledGradient(_ drawn: [Int64]) -> LogitGradient {
    var rest = [Double](repeating: 0, count: drawn.count)
    Kernels.crossEntropyRest(
      probabilities.pointer, labels: drawn, rows: drawn.count, classes: classes, &rest)
    return .softmax(labels: drawn, rest: rest, weights: weights.map { $0.squareRoot() })
  }

  /// The root of M of a row or an element.
  func rootOfWeight(_ i: Int) -> Double { weights.isEmpty ? 1 : weights[i].squareRoot() }

  /// Draws labels from the output distribution, whatever the weights: draw d of sample n depends on
  /// seed, batch, n and d alone. Their gradients carry the root of the loss's weight.
  package func sampledGradients(
    draws: Int, seed: UInt64, batch: Int
  ) -> [LogitGradient] {
    var generators = (0..<samples).map {
      CounterRandom(seed: seed, batch: batch, sample: $0, stream: .sampledLabels)
    }
    return (0..<draws).map { _ in
      loss == .crossEntropy
        ? sampledClasses(&generators) : .elementwise(sampledElements(&generators))
    }
  }

  private func sampledClasses(_ generators: inout [CounterRandom]) -> LogitGradient {
    var drawn = labels
    for row in drawn.indices where labels[row] >= 0 {
      let uniform = generators[row / positions].uniform()
      let p = probabilities.pointer + row * classes
      // The inverse of the cumulative distribution; its end may round below the uniform number.
      var cumulative = 0.0
      var choice = -1
      for c in 0..<classes where p[c] > 0 {
        cumulative += p[c]
        choice = c
        if uniform < cumulative { break }
      }
      drawn[row] = Int64(choice)
    }
    return sampledGradient(drawn)
  }

  /// mse: y ~ Normal(z, 1), so z - y is minus a normal number. bce: y ~ Bernoulli(p).
  private func sampledElements(_ generators: inout [CounterRandom]) -> [Double] {
    (0..<samples * positions * classes).map { i in
      let sample = i / (positions * classes)
      let root = rootOfWeight(i)
      if loss == .squaredError { return -root * generators[sample].normal() }
      let p = probabilities[i]
      let uniform = generators[sample].uniform()
      // The diagonal of H is M p (1 - p): 1 - p without cancelling.
      if root == 0 { return 0 }
      let q = p < 0.5 ? 1 - p : hessianDiagonal[i] / (root * root * p)
      return uniform < p ? -root * q : root * p
    }
  }

  /// Writes `u` of one chunk, `[n, O C]`, sample n divided by `units[n]` in double.
  package func write<T: EngineScalar>(
    _ gradient: LogitGradient, chunk: Chunk, units: UnsafePointer<Double>,
    to out: UnsafeMutablePointer<T>
  ) {
    for i in 0..<chunk.count {
      let row = (chunk.first + i) * positions
      let target = out + i * positions * classes
      let scale = 1 / units[chunk.first + i]
      switch gradient {
      case .softmax(let labels, let rest, let weights):
        withPointers(labels, rest, weights, from: row) { labels, rest, weights in
          Kernels.crossEntropyGradient(
            probabilities.pointer + row * classes, rest: rest, labels: labels, weights: weights,
            rows: positions, classes: classes, scale: scale, target)
        }
      case .centred(let u), .elementwise(let u):
        for j in 0..<positions * classes { target[j] = T(u[row * classes + j] * scale) }
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
      classes: classes)
  }

  /// `norms` to divide by: 1 for those below the normal numbers, which have no reciprocal.
  package func units(_ gradient: LogitGradient) -> [Double] {
    norms(gradient).map { $0 >= .leastNormalMagnitude ? $0 : 1 }
  }

  private static func norms(
    _ gradient: LogitGradient, probabilities: Vector<Double>, samples: Int, positions: Int,
    classes: Int
  ) -> [Double] {
    switch gradient {
    case .softmax(let labels, let rest, let weights):
      let scratch = Vector<Double>(count: positions * classes)
      var squares = [Double](repeating: 0, count: positions)
      return (0..<samples).map { n in
        let row = n * positions
        withPointers(labels, rest, weights, from: row) { labels, rest, weights in
          Kernels.crossEntropyGradient(
            probabilities.pointer + row * classes, rest: rest, labels: labels, weights: weights,
            rows: positions, classes: classes, scale: 1, scratch.pointer, squares: &squares)
        }
        let u = UnsafeBufferPointer(start: scratch.pointer, count: scratch.count)
        return euclideanNorm(u, square: squares.reduce(0, +))
      }
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
