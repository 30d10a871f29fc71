import TensorModule

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A loss at the logits of a batch, row by row (a row is a position): what `OutputState` is made of.
///
/// Every loss here is a sum of masses times the loss of one label: m_c of class c in a row of
/// cross-entropy, m_1 and m_0 of an element of the binary loss. With M their sum, u is
/// `M p - m` and H is M times the H of the plain loss (Documentation/methods.md, Losses).
struct OutputPoint<S: EngineScalar> {
  /// Softmax probabilities, zero in rows that are not scored; sigmoids for the binary loss.
  var probabilities = Vector<Double>(count: 0)
  /// Diagonal of H for element-wise losses; empty where it is all ones.
  var hessianDiagonal = Vector<Double>(count: 0)
  /// M: of rows for cross-entropy, of elements otherwise; empty: ones.
  var weights: [Double] = []
  /// w with `u = A w`, of elements; empty where it is u or follows from the labels.
  var roots: [Double] = []
  /// Class labels, of soft ones the most probable class; negative where a row is not scored. Empty
  /// for element-wise losses.
  var labels: [Int64] = []
  var losses: [Double]
  /// Of rows, `|w|^2`.
  var certificates: [Double]
  var gradient: LogitGradient
  /// What the mean loss is the sum divided by: the number of scored rows, each times its weight.
  var positionWeight: Double

  init(
    _ loss: Loss, _ labels: Labels, _ weighting: LossWeighting, _ linearization: Linearization<S>
  ) {
    let graph = linearization.program.graph
    let rows = linearization.samples * graph.positions
    losses = [Double](repeating: 0, count: rows)
    certificates = losses
    gradient = .elementwise([])
    positionWeight = 0
    switch (loss, labels) {
    case (.crossEntropy, .classes(let classes)) where weighting.smoothing == 0:
      precondition(classes.count == rows, "OutputState: \(classes.count) labels, \(rows) rows")
      score(classes: classes, weighting, linearization)
    case (.crossEntropy, _):
      score(masses: labels, weighting, linearization)
    case (_, .real(let targets)):
      precondition(
        targets.count == rows * graph.classes, "OutputState: \(targets.count) targets")
      score(elements: targets, loss, weighting, linearization)
    case (_, .classes): preconditionFailure("OutputState: class labels for \(loss.rawValue)")
    }
  }

  // MARK: - Cross-entropy

  private mutating func score(
    classes known: [Int64], _ weighting: LossWeighting, _ linearization: Linearization<S>
  ) {
    let classes = linearization.program.graph.classes
    labels = known
    if weighting.classes != nil || weighting.samples != nil {
      weights = known.indices.map { weighting.weight(ofRow: $0, label: known[$0]) }
      for row in known.indices where weights[row] == 0 { labels[row] = -100 }
    }
    let positions = linearization.program.graph.positions
    positionWeight = linearization.schedule.sum { n in
      let rows = n * positions..<(n + 1) * positions
      return weights.isEmpty
        ? Double(labels[rows].count { $0 >= 0 }) : weights[rows].reduce(0, +)
    }
    let probabilities = Vector<Double>(count: labels.count * classes)
    let scored = labels
    let rest = scoreRows(linearization) { rows, numbers in
      scored.withUnsafeBufferPointer { labels in
        Kernels.crossEntropy(
          rows.logits, labels: labels.baseAddress! + rows.first, rows: rows.count,
          classes: classes, probabilities: probabilities.pointer + rows.first * classes,
          losses: numbers.losses, rest: numbers.others, certificates: numbers.certificates)
      }
    }
    for (row, weight) in weights.enumerated() {
      losses[row] *= weight
      certificates[row] *= weight
    }
    self.probabilities = probabilities
    gradient = .softmax(labels: labels, rest: rest, weights: weights)
  }

  private mutating func score(
    masses known: Labels, _ weighting: LossWeighting, _ linearization: Linearization<S>
  ) {
    let graph = linearization.program.graph
    let classes = graph.classes
    var u = [Double](repeating: 0, count: losses.count * classes)
    labels = [Int64](repeating: -100, count: losses.count)
    var shares = losses
    for row in labels.indices {
      let (masses, label, share) = weighting.masses(ofRow: row, of: classes, known)
      if let label, masses.contains(where: { $0 > 0 }) {
        labels[row] = label
        shares[row] = share
        u.replaceSubrange(row * classes..<(row + 1) * classes, with: masses)
      }
    }
    positionWeight = linearization.schedule.sum { n in
      shares[n * graph.positions..<(n + 1) * graph.positions].reduce(0, +)
    }
    let probabilities = Vector<Double>(count: u.count)
    weights = u.withUnsafeMutableBufferPointer { u in
      scoreRows(linearization) { rows, numbers in
        Kernels.crossEntropyOfMasses(
          rows.logits, masses: u.baseAddress! + rows.first * classes, rows: rows.count,
          classes: classes, probabilities: probabilities.pointer + rows.first * classes,
          weights: numbers.others, losses: numbers.losses, certificates: numbers.certificates)
      }
    }
    self.probabilities = probabilities
    gradient = .centred(u)
  }

  /// The rows of a chunk.
  private typealias Rows = (logits: UnsafePointer<S>, first: Int, count: Int)
  /// Where the numbers of a chunk's rows go.
  private typealias RowNumbers = (
    losses: UnsafeMutablePointer<Double>, certificates: UnsafeMutablePointer<Double>,
    others: UnsafeMutablePointer<Double>
  )

  /// Losses, certificates and one more number of all rows, as `body` writes them chunk by chunk.
  ///
  /// - Returns: The other numbers.
  private mutating func scoreRows(
    _ linearization: Linearization<S>, _ body: (Rows, RowNumbers) -> Void
  ) -> [Double] {
    let positions = linearization.program.graph.positions
    var (losses, certificates, others) = (losses, losses, losses)
    losses.withUnsafeMutableBufferPointer { losses in
      certificates.withUnsafeMutableBufferPointer { certificates in
        others.withUnsafeMutableBufferPointer { others in
          linearization.pool.run(linearization.schedule.chunks.count) { index, _ in
            let chunk = linearization.schedule.chunks[index]
            let first = chunk.first * positions
            body(
              (linearization.logits(chunk), first, chunk.count * positions),
              (
                losses.baseAddress! + first, certificates.baseAddress! + first,
                others.baseAddress! + first
              ))
          }
        }
      }
    }
    (self.losses, self.certificates) = (losses, certificates)
    return others
  }

  // MARK: - Element-wise losses

  private mutating func score(
    elements targets: [Double], _ loss: Loss, _ weighting: LossWeighting,
    _ linearization: Linearization<S>
  ) {
    let graph = linearization.program.graph
    let classes = graph.classes
    let isBinary = loss == .binaryCrossEntropy
    let isWeighted = weighting != .none
    if isBinary {
      probabilities = Vector(count: targets.count)
      roots = [Double](repeating: 0, count: targets.count)
    }
    if isBinary || isWeighted { hessianDiagonal = Vector(count: targets.count) }
    if isWeighted {
      weights = [Double](repeating: 0, count: targets.count)
      roots = weights
    }
    var u = [Double](repeating: 0, count: targets.count)
    let positionWeights = SampleSums(linearization.schedule)
    for chunk in linearization.schedule.chunks {
      let logits = linearization.logits(chunk)
      let first = chunk.first * graph.positions * classes
      for i in first..<first + chunk.count * graph.positions * classes {
        let weight = weighting.weight(ofElement: i, of: classes, rows: losses.count)
        let (z, y) = (Double(logits[i - first]), targets[i])
        let element =
          isBinary
          ? Element(
            binary: z, ones: weight * (weighting.positives?[i % classes] ?? 1) * y,
            zeros: weight * (1 - y),
            mass: weighting.positives.map { weight * ($0[i % classes] * y + (1 - y)) } ?? weight)
          : Element(squared: z - y, mass: weight)
        u[i] = element.gradient
        losses[i / classes] += element.loss
        certificates[i / classes] += element.root * element.root
        positionWeights[chunk][0] += weight / Double(classes)
        if isBinary { probabilities.pointer[i] = sigmoid(z) }
        if isBinary || isWeighted {
          hessianDiagonal.pointer[i] = element.hessian
          roots[i] = element.root
        }
        if isWeighted { weights[i] = element.mass }
      }
    }
    positionWeight = isWeighted ? positionWeights.total() : Double(losses.count)
    gradient = .elementwise(u)
  }
}

/// Loss, gradient, second derivative and w of one element.
struct Element {
  let loss: Double
  let gradient: Double
  let hessian: Double
  let root: Double
  let mass: Double

  /// `M d^2 / 2`
  init(squared difference: Double, mass: Double) {
    self.mass = mass
    gradient = mass * difference
    hessian = mass
    loss = mass * (difference * difference) / 2
    root = mass.squareRoot() * difference
  }

  /// `m_0 softplus(z) + m_1 softplus(-z)` with `M = m_0 + m_1`.
  ///
  /// `M sigmoid(z) - m_1` is written as `m_0 sigmoid(z) - m_1 sigmoid(-z)`, which does not cancel
  /// for a label of zero or one; `w = (m_0 e^(z/2) - m_1 e^(-z/2)) / sqrt(M)`, where a mass of zero
  /// must not meet an exponential beyond all numbers.
  init(binary z: Double, ones: Double, zeros: Double, mass: Double) {
    self.mass = mass
    let (p, q) = (sigmoid(z), sigmoid(-z))
    loss = zeros * softplus(z) + ones * softplus(-z)
    gradient = zeros * p - ones * q
    hessian = mass * (p * q)
    let weight = (zeros > 0 ? zeros * exp(z / 2) : 0) - (ones > 0 ? ones * exp(-z / 2) : 0)
    root = mass > 0 ? weight / mass.squareRoot() : 0
  }
}

func sigmoid(_ z: Double) -> Double { z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z)) }

/// `log(1 + e^z)`, from the half that does not overflow.
func softplus(_ z: Double) -> Double { max(z, 0) + log1p(exp(-abs(z))) }

// MARK: - Weights

extension LossWeighting {
  /// M of a row whose label is one class; 0 where it is not scored.
  fileprivate func weight(ofRow row: Int, label: Int64) -> Double {
    if label < 0 { return 0 }
    return (samples?[row] ?? 1) * (classes?[Int(label)] ?? 1)
  }

  /// The masses of a row, its most probable label, and its weight in the mean loss: torch counts a
  /// label's class weight there, and none for soft labels.
  fileprivate func masses(
    ofRow row: Int, of count: Int, _ labels: Labels
  ) -> (masses: [Double], label: Int64?, share: Double) {
    var targets = [Double](repeating: 0, count: count)
    var share = samples?[row] ?? 1
    let label: Int
    switch labels {
    case .classes(let all):
      if all[row] < 0 { return (targets, nil, 0) }
      label = Int(all[row])
      targets[label] = 1
      share *= classes?[label] ?? 1
    case .real(let all):
      targets = Array(all[row * count..<(row + 1) * count])
      label = targets.indices.reduce(0) { targets[$1] > targets[$0] ? $1 : $0 }
    }
    for c in targets.indices {
      let smoothed = (1 - smoothing) * targets[c] + smoothing / Double(count)
      targets[c] = (samples?[row] ?? 1) * (classes?[c] ?? 1) * smoothed
    }
    return (targets, Int64(label), share)
  }

  /// What multiplies an element, without what its label does.
  fileprivate func weight(ofElement i: Int, of count: Int, rows: Int) -> Double {
    var weight = classes?[i % count] ?? 1
    if let samples { weight *= samples.count == rows ? samples[i / count] : samples[i] }
    return weight
  }
}
