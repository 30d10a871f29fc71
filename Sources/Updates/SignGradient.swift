import Curvature
import TensorModule

extension UpdateMethod {
  /// The sign of the gradient (Bernstein et al. 2018).
  public static let sign = UpdateMethod(
    "sign", "`sign g`, element by element", MethodNeeds(), SignGradient())
}

/// What signSGD, and Lion without its memory, would do. Entries that are nothing but rounding count as
/// zero, as those are that no sample has a gradient in.
private struct SignGradient: DirectionRule {
  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    let g = gradients.gradient
    let count = g.vector.count
    // What the rows leave in an entry of g, in the units of its vector.
    let level = gradients.gradientError * gradients.gram.unit / g.scale / Double(count).squareRoot()
    let signs = Vector<S>(count: count)
    var (present, doubtful) = (0, 0)
    for i in 0..<count {
      let size = abs(Double(g.vector[i]))
      if size <= level { continue }
      signs.pointer[i] = g.vector[i] > 0 ? 1 : -1
      present += 1
      if size <= 16 * level { doubtful += 1 }
    }
    // An entry whose sign is wrong is off by two.
    let share = Double(4 * doubtful) / Double(max(present, 1))
    return [
      Direction(
        scaled: ScaledVector(vector: signs, scale: 1), relativeError: share.squareRoot())
    ]
  }
}
