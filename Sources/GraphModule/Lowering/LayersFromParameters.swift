import TensorModule

/// Products, sums, lookups and concatenations whose operand is a parameter: linear layers and their
/// biases, position tables, class tokens and embeddings. As operations on the parameter itself they
/// need no row of it for every sample, and the gradients of a weight factor.
struct LayersFromParameters: LoweringPass {
  func rewritten(_ graph: Graph, trains: (ParameterID) -> Bool) throws(GraphError) -> Graph? {
    // A bias is found behind its layer.
    try graph.replacingNodesRepeatedly { node, uses, result throws(GraphError) in
      guard let found = layer(node, uses) else { return nil }
      return try result.apply(
        found.operation, to: [result.value(found.x)], parameters: found.parameters,
        name: node.name)
    }
  }

  private typealias Found = (operation: any Operation, x: ValueID, parameters: [ParameterID])

  private func layer(_ node: Node, _ uses: GraphUses) -> Found? {
    switch node.operation {
    case let product as MatrixProduct: linear(product, node, uses)
    case is Sum: bias(node, uses) ?? table(node, uses)
    case is Concatenate: token(node, uses)
    case is Lookup:
      embedding(node, uses)
    default: nil
    }
  }

  /// `x W^T`
  private func linear(
    _ product: MatrixProduct, _ node: Node, _ uses: GraphUses
  ) -> Found? {
    guard product.isTransposed, let weight = parameter(node.inputs[1], uses),
      uses.graph.type(node.inputs[1]).shape.count == 2
    else { return nil }
    return (Linear(), node.inputs[0], [weight])
  }

  /// Rows of a parameter that is a table.
  private func embedding(_ node: Node, _ uses: GraphUses) -> Found? {
    guard let table = parameter(node.inputs[0], uses),
      uses.graph.parameters[table.index].shape.count == 2
    else { return nil }
    return (Embedding(), node.inputs[1], [table])
  }

  /// A linear layer plus one number for each output.
  private func bias(_ node: Node, _ uses: GraphUses) -> Found? {
    for place in 0..<2 {
      guard let layer = uses.only(node.inputs[place], Linear.self), !layer.operation.hasBias,
        let bias = operand(node, 1 - place, uses),
        uses.graph.type(node.inputs[1 - place]).shape == layer.node.type.shape.suffix(1)
      else { continue }
      return (Linear(), layer.node.inputs[0], layer.node.parameters + [bias])
    }
    return nil
  }

  /// A value of every sample plus a table of its shape.
  private func table(_ node: Node, _ uses: GraphUses) -> Found? {
    for place in 0..<2 {
      let x = node.inputs[place]
      guard let table = operand(node, 1 - place, uses), !uses.graph.type(x).isShared,
        uses.graph.type(x).shape == uses.graph.type(node.inputs[1 - place]).shape
      else { continue }
      return (AddParameter(), x, [table])
    }
    return nil
  }

  /// The parameter that is added, once.
  private func operand(_ node: Node, _ place: Int, _ uses: GraphUses) -> ParameterID? {
    guard (node.operation as? Sum)?.factor == 1 else { return nil }
    return parameter(node.inputs[place], uses)
  }

  /// Rows of a table in front of a sample's own.
  private func token(_ node: Node, _ uses: GraphUses) -> Found? {
    guard (node.operation as? Concatenate)?.axis == 0, node.inputs.count == 2,
      !uses.graph.type(node.inputs[1]).isShared
    else { return nil }
    let shapes = node.inputs.map { uses.graph.type($0).shape }
    guard shapes[0].count == 2, shapes[1].count == 2 else { return nil }
    var source = node.inputs[0]
    if source.shape == nil, let maker = uses.maker(source),
      let view = uses.graph.nodes[maker].operation as? View,
      case .slice(0, 0, 1, _) = view.kind
    {
      source = uses.graph.nodes[maker].inputs[0]
    }
    guard let table = parameter(source, uses),
      uses.graph.type(source).shape.last == shapes[1].last
    else { return nil }
    return (Prepend(prefix: shapes[0][0]), node.inputs[1], [table])
  }

  /// The parameter that a value is, in whatever shape it is read.
  private func parameter(_ value: ValueID, _ uses: GraphUses) -> ParameterID? {
    guard let maker = uses.maker(value), uses.graph.nodes[maker].operation is ParameterValue
    else { return nil }
    return uses.graph.nodes[maker].parameters[0]
  }
}
