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
  let pool: WorkerPool

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
    pool = linearization.pool
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
      classes: classes, pool: pool)
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
}
