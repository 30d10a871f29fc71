import CKernels
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

  /// Softmax probabilities, zero in rows that are not scored; sigmoids for the binary loss.
  let probabilities: Vector<Double>
  /// Diagonal of H for element-wise losses; empty where it is all ones.
  let hessianDiagonal: Vector<Double>
  let labels: [Int64]

  package typealias Chunk = Schedule.Chunk

  /// - Precondition: labels fit the loss and the output shape; the batch reader checks them.
  package init(loss: Loss, labels: Labels, linearization: Linearization<S>) {
    let graph = linearization.program.graph
    self.loss = loss
    samples = linearization.samples
    positions = graph.positions
    classes = graph.classes
    let rows = samples * positions
    var losses = [Double](repeating: 0, count: rows)
    var certificates = losses
    switch labels {
    case .classes(let classLabels):
      precondition(
        classLabels.count == rows, "OutputState: \(classLabels.count) labels, \(rows) rows")
      self.labels = classLabels
      probabilities = Vector(count: rows * classes)
      hessianDiagonal = Vector(count: 0)
      var rest = losses
      let (probabilities, positions, classes) = (probabilities, positions, classes)
      losses.withUnsafeMutableBufferPointer { losses in
        certificates.withUnsafeMutableBufferPointer { certificates in
          rest.withUnsafeMutableBufferPointer { rest in
            classLabels.withUnsafeBufferPointer { labels in
              linearization.pool.run(linearization.schedule.chunks.count) { index, _ in
                let chunk = linearization.schedule.chunks[index]
                let first = chunk.first * positions
                ck_cross_entropy(
                  S.kernelType, linearization.logits(chunk), labels.baseAddress! + first,
                  chunk.count * positions, classes, probabilities.pointer + first * classes,
                  losses.baseAddress! + first, rest.baseAddress! + first,
                  certificates.baseAddress! + first)
              }
            }
          }
        }
      }
      gradient = .softmax(labels: classLabels, rest: rest)
    case .real(let targets):
      precondition(targets.count == rows * classes, "OutputState: \(targets.count) targets")
      self.labels = []
      let isBinary = loss == .binaryCrossEntropy
      probabilities = Vector(count: isBinary ? targets.count : 0)
      hessianDiagonal = Vector(count: isBinary ? targets.count : 0)
      var u = [Double](repeating: 0, count: targets.count)
      for chunk in linearization.schedule.chunks {
        let logits = linearization.logits(chunk)
        let first = chunk.first * positions * classes
        for i in 0..<chunk.count * positions * classes {
          let element = OutputState.element(
            Double(logits[i]), target: targets[first + i], isBinary: isBinary)
          u[first + i] = element.gradient
          losses[(first + i) / classes] += element.loss
          certificates[(first + i) / classes] += element.certificate
          if isBinary {
            probabilities[first + i] = OutputState.sigmoid(Double(logits[i]))
            hessianDiagonal[first + i] = element.hessian
          }
        }
      }
      gradient = .elementwise(u)
    }
    func perSample(_ values: [Double], positions: Int) -> [Double] {
      stride(from: 0, to: values.count, by: positions).map {
        values[$0..<$0 + positions].reduce(0, +)
      }
    }
    sampleLosses = perSample(losses, positions: positions)
    largestLogits = OutputState.largestLogits(linearization, labels: self.labels)
    self.certificates = perSample(certificates, positions: positions)
    gradientNorms = OutputState.norms(
      gradient, probabilities: probabilities, samples: samples, positions: positions,
      classes: classes)
  }

  private static func largestLogits(
    _ linearization: Linearization<S>, labels: [Int64]
  ) -> [Double] {
    let size = linearization.logitCount
    let positions = linearization.program.graph.positions
    let classes = size / positions
    var largest = [Double](repeating: 0, count: linearization.samples)
    for chunk in linearization.schedule.chunks {
      let logits = linearization.logits(chunk)
      for n in 0..<chunk.count {
        for position in 0..<positions
        where labels.isEmpty || labels[(chunk.first + n) * positions + position] >= 0 {
          largest[chunk.first + n] = max(
            largest[chunk.first + n],
            Double(Kernels.largest(logits + n * size + position * classes, count: classes)))
        }
      }
    }
    return largest
  }

  /// Loss, gradient, second derivative and squared certificate weight of one element.
  ///
  /// Binary: `sigmoid(z) - y` is written as `(1 - y) sigmoid(z) - y sigmoid(-z)`, which does not
  /// cancel for y = 0 and y = 1; with `u = sqrt(h) w` the weight is
  /// `w = (1 - y) e^(z/2) - y e^(-z/2)`.
  private static func element(
    _ z: Double, target y: Double, isBinary: Bool
  ) -> (loss: Double, gradient: Double, hessian: Double, certificate: Double) {
    guard isBinary else {
      let difference = z - y
      let square = difference * difference
      return (square / 2, difference, 1, square)
    }
    let (p, q) = (sigmoid(z), sigmoid(-z))
    // softplus(z) - y z, from the half that does not overflow.
    let loss = (1 - y) * softplus(z) + y * softplus(-z)
    let weight = (1 - y) * exp(z / 2) - y * exp(-z / 2)
    return (loss, (1 - y) * p - y * q, p * q, weight * weight)
  }

  private static func sigmoid(_ z: Double) -> Double {
    z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z))
  }

  private static func softplus(_ z: Double) -> Double { max(z, 0) + log1p(exp(-abs(z))) }

  // MARK: - Sums over the batch

  /// L
  package var totalLoss: Double { sampleLosses.reduce(0, +) }
  /// `1 / |w|`: no direction has a smaller gamma.
  package var gammaBound: Double {
    // w = u, whose square may leave the range of numbers.
    if loss == .squaredError { return 1 / euclideanNorm(gradientNorms) }
    return 1 / certificates.reduce(0, +).squareRoot()
  }

  /// Positions that carry a label.
  package var scoredPositions: Int {
    labels.isEmpty ? samples * positions : labels.count { $0 >= 0 }
  }

  // MARK: - Gradients

  /// The gradient for other labels, such as sampled ones, `[N O]` or `[N O C]`; positions that
  /// are not scored by the true labels stay unscored.
  package func gradient(for labels: Labels, linearization: Linearization<S>) -> LogitGradient {
    switch labels {
    case .classes(let other):
      let masked = zip(other, self.labels).map { $1 < 0 ? $1 : $0 }
      var rest = [Double](repeating: 0, count: masked.count)
      ck_cross_entropy_rest(probabilities.pointer, masked, masked.count, classes, &rest)
      return .softmax(labels: masked, rest: rest)
    case .real(let targets):
      var u = [Double](repeating: 0, count: targets.count)
      for chunk in linearization.schedule.chunks {
        let logits = linearization.logits(chunk)
        let first = chunk.first * positions * classes
        for i in 0..<chunk.count * positions * classes {
          u[first + i] =
            OutputState.element(
              Double(logits[i]), target: targets[first + i],
              isBinary: loss == .binaryCrossEntropy
            ).gradient
        }
      }
      return .elementwise(u)
    }
  }

  /// Draws labels from the output distribution: draw d of sample n depends on seed, batch, n and
  /// d alone.
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
    var rest = [Double](repeating: 0, count: drawn.count)
    ck_cross_entropy_rest(probabilities.pointer, drawn, drawn.count, classes, &rest)
    return .softmax(labels: drawn, rest: rest)
  }

  /// mse: y ~ Normal(z, 1), so z - y is minus a normal number. bce: y ~ Bernoulli(p).
  private func sampledElements(_ generators: inout [CounterRandom]) -> [Double] {
    guard case .elementwise(let u) = gradient else { preconditionFailure("elementwise loss") }
    return u.indices.map { i in
      let sample = i / (positions * classes)
      if loss == .squaredError { return -generators[sample].normal() }
      let p = probabilities[i]
      // h = p (1 - p): 1 - p without cancelling.
      let q = p < 0.5 ? 1 - p : hessianDiagonal[i] / p
      return generators[sample].uniform() < p ? -q : p
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
      case .softmax(let labels, let rest):
        labels.withUnsafeBufferPointer { labels in
          rest.withUnsafeBufferPointer { rest in
            ck_cross_entropy_gradient(
              T.kernelType, probabilities.pointer + row * classes, rest.baseAddress! + row,
              labels.baseAddress! + row, positions, classes, scale, target, nil)
          }
        }
      case .elementwise(let u):
        for j in 0..<positions * classes { target[j] = T(u[row * classes + j] * scale) }
      }
    }
  }

  /// Whether two gradients are the same for a sample.
  package func areEqual(_ a: LogitGradient, _ b: LogitGradient, sample: Int) -> Bool {
    switch (a, b) {
    case (.softmax(let a, _), .softmax(let b, _)):
      let rows = sample * positions..<(sample + 1) * positions
      return a[rows] == b[rows]
    case (.elementwise(let a), .elementwise(let b)):
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

  private static func norms(
    _ gradient: LogitGradient, probabilities: Vector<Double>, samples: Int, positions: Int,
    classes: Int
  ) -> [Double] {
    switch gradient {
    case .softmax(let labels, let rest):
      let scratch = Vector<Double>(count: positions * classes)
      var squares = [Double](repeating: 0, count: positions)
      return (0..<samples).map { n in
        let row = n * positions
        labels.withUnsafeBufferPointer { labels in
          rest.withUnsafeBufferPointer { rest in
            ck_cross_entropy_gradient(
              CK_F64, probabilities.pointer + row * classes, rest.baseAddress! + row,
              labels.baseAddress! + row, positions, classes, 1, scratch.pointer, &squares)
          }
        }
        let u = UnsafeBufferPointer(start: scratch.pointer, count: scratch.count)
        return euclideanNorm(u, square: squares.reduce(0, +))
      }
    case .elementwise(let u):
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
      case .softmax(let labels, _):
        labels.withUnsafeBufferPointer { labels in
          ck_cross_entropy_gradient_dot(
            S.kernelType, probabilities.pointer + first * classes, labels.baseAddress! + first, q,
            rows, classes, dots.baseAddress!)
        }
      case .elementwise(let u):
        u.withUnsafeBufferPointer { u in
          ck_diagonal_gradient_dot(
            S.kernelType, u.baseAddress! + first * classes, q, rows, classes, dots.baseAddress!)
        }
      }
      return body(dots)
    }
  }
}

/// `|x|_2` of numbers whose squares may leave the range of double.
///
/// - Parameter square: The sum of squares, if it is known; used where it has all of its digits.
func euclideanNorm(_ x: some Collection<Double>, square: Double? = nil) -> Double {
  let square = square ?? x.reduce(0) { $0 + $1 * $1 }
  if square > 1e-280 && square.isFinite { return square.squareRoot() }
  let unit = powerOfTwo(near: x.reduce(0) { max($0, abs($1)) })
  return unit * x.reduce(0) { $0 + ($1 / unit) * ($1 / unit) }.squareRoot()
}
