/// `W x + s B A x` from its pieces: one update of the product `W x`, which is added to in place.
struct LowRankUpdates: LoweringPass {
  func rewritten(_ graph: Graph, trains: (ParameterID) -> Bool) throws(GraphError) -> Graph? {
    try graph.replacingNodes { node, uses, result throws(GraphError) in
      guard let update = update(node, uses) else { return nil }
      return try result.apply(
        LowRankUpdate(scale: update.scale),
        to: [result.value(update.base), result.value(update.hidden)], parameters: [update.up],
        name: update.name)
    }
  }

  private func update(
    _ node: Node, _ uses: GraphUses
  ) -> (base: ValueID, hidden: ValueID, up: ParameterID, scale: Double, name: String)? {
    guard let sum = node.operation as? Sum, sum.factor == 1 else { return nil }
    for (place, changed) in node.inputs.enumerated() {
      let base = node.inputs[1 - place]
      // Only what no other node reads disappears.
      var (scale, end) = (1.0, changed)
      if let scaled = uses.only(changed, Scale.self) {
        (scale, end) = (scaled.operation.factor, scaled.node.inputs[0])
      }
      guard let plain = uses.made(base, Linear.self), let up = uses.only(end, Linear.self),
        !up.operation.hasBias, let down = uses.made(up.node.inputs[0], Linear.self),
        !down.operation.hasBias, down.node.inputs[0] == plain.node.inputs[0],
        uses.graph.type(base).shape == uses.graph.type(changed).shape
      else { continue }
      return (base, up.node.inputs[0], up.node.parameters[0], scale, up.node.name)
    }
    return nil
  }
}
