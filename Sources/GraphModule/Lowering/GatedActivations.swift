import TensorModule

/// A function times another value, as one operation: it keeps two numbers of each element in place of three,
/// and reads them in one pass.
struct GatedActivations: LoweringPass {
  func rewritten(_ graph: Graph, trains: (ParameterID) -> Bool) throws(GraphError) -> Graph? {
    let active = graph.activity(trains)
    return try graph.replacingNodes { node, uses, result throws(GraphError) in
      guard node.operation is Product else { return nil }
      for place in 0..<2 {
        let value = node.inputs[1 - place]
        guard let gate = uses.only(node.inputs[place], Activation.self),
          active[gate.node.inputs[0].index], active[value.index],
          graph.type(gate.node.inputs[0]).shape == graph.type(value).shape
        else { continue }
        return try result.apply(
          GatedActivation(gate.operation.function),
          to: [result.value(gate.node.inputs[0]), result.value(value)], name: node.name)
      }
      return nil
    }
  }
}
