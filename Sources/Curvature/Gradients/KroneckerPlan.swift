import GraphModule

/// Which trainable tensors K-FAC gives a Kronecker product and which an exact block
/// (method.md 3). A matter of the program alone, in which every linear layer has to be applied to
/// its own rows (`Program.isLayerwise`).
package struct KroneckerPlan: Sendable {
  /// A linear layer whose weight, with or without its bias, has one Kronecker product.
  package struct Layer: Sendable {
    package let node: Int
    package let linear: LinearLayer
    package let weight: ParameterID
    /// `nil` without a bias, or with a frozen one: then the input has no column of ones.
    package let bias: ParameterID?

    package var parameters: [ParameterID] { [weight] + (bias.map { [$0] } ?? []) }
  }

  /// Why a tensor has an exact block.
  package enum Exception: String, Sendable, CaseIterable {
    /// Used in several places: their gradients add up before anything is squared.
    case tied
    case embedding
    /// Of a layer whose weight does not train.
    case biasOfFrozenWeight = "bias of a frozen weight"
    case other = "not a linear layer"
  }

  package let layers: [Layer]
  /// In the order of the program.
  package let exact: [(parameter: ParameterID, exception: Exception)]

  package init(_ program: Program) {
    precondition(program.isLayerwise, "KroneckerPlan: layers without their rows")
    var layers: [Layer] = []
    var taken: Set<ParameterID> = []
    for (index, node) in program.graph.nodes.enumerated() {
      let use = program.uses[index]
      guard let linear = node.operation.linearLayer, use.trains(linear.weightSlot) else { continue }
      let slot = linear.biasSlot.flatMap { use.trains($0) ? $0 : nil }
      let layer = Layer(
        node: index, linear: linear, weight: node.parameters[linear.weightSlot],
        bias: slot.map { node.parameters[$0] })
      if layer.parameters.contains(where: { program.useCounts[$0.index] > 1 }) { continue }
      layers.append(layer)
      taken.formUnion(layer.parameters)
    }
    self.layers = layers
    var users: [ParameterID: [Node]] = [:]
    for node in program.graph.nodes {
      for parameter in node.parameters { users[parameter, default: []].append(node) }
    }
    exact = program.trainable.filter { !taken.contains($0) }.map {
      ($0, KroneckerPlan.exception($0, of: users[$0] ?? [], program))
    }
  }

  private static func exception(
    _ parameter: ParameterID, of users: [Node], _ program: Program
  ) -> Exception {
    // Its partner in the layer may be the one that is shared.
    if users.contains(where: { user in
      user.operation.linearLayer != nil
        && user.parameters.contains { program.useCounts[$0.index] > 1 }
    }) || program.useCounts[parameter.index] > 1 {
      return .tied
    }
    if users.contains(where: { $0.operation.factorization?.rows == .oneHot }) { return .embedding }
    return users.contains { $0.operation.linearLayer != nil } ? .biasOfFrozenWeight : .other
  }
}
