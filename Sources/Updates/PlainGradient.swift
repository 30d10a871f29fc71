import TensorModule

extension UpdateMethod {
  /// The gradient itself: what all others are compared with.
  public static let sgd = UpdateMethod(
    "sgd", "the gradient `g`, summed over samples", MethodNeeds(isWeightedSum: true),
    PlainGradient())
}

private struct PlainGradient: DirectionRule {
  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    [context.gradients.gradientDirection]
  }
}
