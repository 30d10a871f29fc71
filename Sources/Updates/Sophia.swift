import Curvature
import TensorModule

extension UpdateMethod {
  /// Liu et al. 2023.
  public static let sophia = UpdateMethod(
    "sophia",
    "`sign(g) min(abs(g) / (ρ h), 1)`, h the squared gradients of sampled labels, ρ such that half "
      + "of the entries are clipped",
    MethodNeeds(sampledLabels: .init()), Sophia())
}

/// The gradient over the diagonal of the sampled Fisher matrix, clipped (method.md 7): h is the sum over
/// samples of the squared gradients of sampled labels, divided by k. The authors' estimate of it is N times
/// the square of the mean gradient for sampled labels, which has the same expectation.
///
/// rho is the median of `|g| / h` over all entries in which g is not zero; where h is zero the entry is
/// clipped.
private struct Sophia: DirectionRule {
  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    let g = gradients.gradient
    let (samples, count) = (gradients.samples, g.vector.count)
    let unit = powerOfTwo(near: gradients.perSample.scales[samples...].max() ?? 0)
    let weights = gradients.perSample.scales.enumerated().map { row, scale in
      row < samples ? 0 : (scale / unit) * (scale / unit) / Double(gradients.draws)
    }
    let squares = gradients.perSample.summedSquares(weights)
    // What the rows leave in an entry of g, in the units of its vector.
    let level = gradients.gradientError * gradients.gram.unit / g.scale / Double(count).squareRoot()
    var ratios = [Double](repeating: 0, count: count)
    for i in 0..<count {
      let size = abs(Double(g.vector[i]))
      // Entries that are nothing but rounding count as zero.
      if size > level { ratios[i] = size / squares[i] }
    }
    let present = ratios.filter { $0 > 0 }.sorted()
    let rho = present.isEmpty ? 1 : present[present.count / 2]
    let error = gradients.errors.relative[samples...].max() ?? 0
    let result = Vector<S>(count: count)
    var (norm, errors) = (0.0, 0.0)
    for i in 0..<count where ratios[i] > 0 {
      let value = ratios[i] >= rho ? 1 : ratios[i] / rho
      result.pointer[i] = S(g.vector[i] < 0 ? -value : value)
      norm += value * value
      // Of g, and of h, which is no more than twice as far off as rows; what is clipped does not move.
      let own =
        ratios[i] >= rho ? 0 : value * (level / abs(Double(g.vector[i])) + 2 * error)
      errors += own * own
    }
    return [
      Direction(
        scaled: ScaledVector(vector: result, scale: 1),
        relativeError: norm > 0 ? (errors / norm).squareRoot() : 0)
    ]
  }

  func workspace<S: EngineScalar>(_ sizes: MethodSizes<S>) -> MethodWorkspace? {
    // The sums, the ratios, and those that are sorted, filtered before.
    ("squared gradients and ratios", sizes.batch.squares + 4 * sizes.batch.exactVector)
  }
}
