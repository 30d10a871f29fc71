/// What multiplies and smooths the loss of a problem.
package struct OracleWeighting: Sendable {
  package var smoothing = 0.0
  /// `[C]`
  package var classes: [Double]?
  /// `[C]`
  package var positives: [Double]?
  /// `[N][O C]`, for cross-entropy equal at all classes of a position.
  package var samples: [[Double]]?

  package init() {}

  /// Parts of a weighting that a case can ask for.
  package enum Part: String, Sendable {
    case smoothing, classes, positives
    /// One weight for each sample.
    case samples
    /// One weight for each position, one of them zero.
    case positions
    /// One weight for each output of an element-wise loss, one of them zero.
    case elements
    /// Soft labels, one of them of a single class.
    case softLabels
  }

  init(_ parts: [Part], samples count: Int, positions: Int, classes: Int) {
    if parts.contains(.smoothing) { smoothing = 0.125 }
    if parts.contains(.classes) { self.classes = (0..<classes).map { 0.5 + 0.75 * Double($0) } }
    if parts.contains(.positives) { positives = (0..<classes).map { 3 / (1 + Double($0)) } }
    guard let part = parts.first(where: { [.samples, .positions, .elements].contains($0) }) else {
      return
    }
    let size = positions * classes
    self.samples = (0..<count).map { n in
      (0..<size).map { i -> Double in
        switch part {
        case .samples: return [2, 0.25, 1][n % 3]
        case .positions: return Double((n * positions + i / classes) % 3) * 0.75
        default: return Double((n * size + i) % 4) * 0.5
        }
      }
    }
  }

  /// With only these samples, in this order.
  package func picking(_ order: [Int]) -> OracleWeighting {
    var result = self
    result.samples = samples.map { all in order.map { all[$0] } }
    return result
  }
}

extension Problem {
  /// What each label of a sample counts: entry `o C + c` is m_c of position o for cross-entropy, whose
  /// loss is `sum_c m_c (-log p_c)`, and what the loss of an output is multiplied by otherwise.
  package func masses(_ sample: Int) -> [Double] {
    (0..<logitCount).map { i in
      let weight =
        (weighting.samples?[sample][i] ?? 1) * (weighting.classes?[i % classes] ?? 1)
      return loss == "cross_entropy" ? weight * target(sample, i) : weight
    }
  }

  /// M of position o, the sum of its masses: what H is multiplied by in cross-entropy.
  package func mass(_ sample: Int, position o: Int) -> Double {
    masses(sample)[o * classes..<(o + 1) * classes].reduce(0, +)
  }

  /// The smoothed share of a class in a label of cross-entropy.
  private func target(_ sample: Int, _ i: Int) -> Double {
    let share: Double
    switch labels {
    case .real(let all): share = all[sample * logitCount + i]
    case .classes(let all):
      let label = all[sample * positions + i / classes]
      if label < 0 { return 0 }
      share = label == i % classes ? 1 : 0
    }
    return (1 - weighting.smoothing) * share + weighting.smoothing / Double(classes)
  }

  /// What the second derivative of an element is multiplied by.
  package func curvatureMass(_ sample: Int, _ i: Int) -> Double {
    let weight = masses(sample)[i]
    guard loss == "bce", let positives = weighting.positives,
      case .real(let targets) = labels
    else { return weight }
    let y = targets[sample * logitCount + i]
    return weight * (positives[i % classes] * y + 1 - y)
  }
}
