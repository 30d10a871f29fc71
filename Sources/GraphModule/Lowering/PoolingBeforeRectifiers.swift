import TensorModule

/// A rectifier before maximum pooling is a rectifier after it, value and derivatives alike, on a
/// fraction of the numbers: a window's winner is the same, or the derivative is zero.
struct PoolingBeforeRectifiers: LoweringPass {
  func rewritten(_ graph: Graph, trains: (ParameterID) -> Bool) throws(GraphError) -> Graph? {
    try graph.replacingNodes { node, uses, result throws(GraphError) in
      guard let pool = node.operation as? MaxPool,
        let rectifier = uses.only(node.inputs[0], Activation.self),
        rectifier.operation.function == .relu
      else { return nil }
      let pooled = try result.apply(
        pool, to: [result.value(rectifier.node.inputs[0])], name: node.name)
      return try result.apply(rectifier.operation, to: [pooled], name: rectifier.node.name)
    }
  }
}
