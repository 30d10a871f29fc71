import TensorModule

extension UpdateMethod {
  /// A direction that the user has brought.
  public static func update(_ name: String) -> UpdateMethod {
    UpdateMethod(
      "update:" + name, family: "update", MethodFamily.update.summary, MethodNeeds(update: name),
      UserDirection(name: name))
  }
}

extension MethodFamily {
  static let update = MethodFamily(
    prefix: "update:", part: "name",
    "a direction from the checkpoint or a file, or the step that an optimiser takes next from its "
      + "saved state"
  ) { .update($0) }
}

private struct UserDirection: DirectionRule {
  let name: String

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    [context.requiredSource().update(name)]
  }
}
