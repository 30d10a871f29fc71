import TensorModule

/// Attention of few queries to many keys whose projections are frozen: every head looks at the tokens
/// themselves, which are its keys and its values, and the projections are applied on the other side
/// (`HeadLinear`). Only where both weights are frozen, since their gradients would not factor; and
/// where it saves at least half of the work.
struct GatheredAttention: LoweringPass {
  let keepsLayers = false

  func rewritten(_ graph: Graph, trains: (ParameterID) -> Bool) throws(GraphError) -> Graph? {
    try graph.replacingNodes { node, uses, result throws(GraphError) in
      guard let attention = node.operation as? Attention, attention.buckets == nil,
        let key = Projection(node.inputs[1], uses), let value = Projection(node.inputs[2], uses),
        key.input == value.input, !trains(key.weight), !trains(value.weight),
        graph.type(node.inputs[1]).shape.last == graph.type(node.inputs[0]).shape.last,
        saves(attention, key, node, graph)
      else { return nil }
      let tokens = try result.value(key.input)
      let looking = try apply(
        key, to: result.value(node.inputs[0]), attention.heads, isTransposed: true, &result)
      var inputs = [looking, tokens, tokens]
      for mask in node.inputs.dropFirst(3) { inputs.append(try result.value(mask)) }
      let gathered = try result.apply(
        Attention(heads: 1, scale: attention.scale), to: inputs, name: node.name)
      return try apply(value, to: gathered, attention.heads, isTransposed: false, &result)
    }
  }

  private func saves(_ attention: Attention, _ key: Projection, _ node: Node, _ graph: Graph)
    -> Bool
  {
    let tokens = graph.type(key.input)
    guard tokens.shape.count == 2 else { return false }
    let inner = Double(graph.type(node.inputs[0]).shape.last!)
    let queries = Double(graph.type(node.inputs[0]).count) / inner
    let (keys, outer) = (Double(tokens.shape[0]), Double(tokens.shape[1]))
    let projected = keys * inner * (outer + queries)
    let gathered = queries * outer * (inner + Double(attention.heads) * keys)
    return 2 * gathered <= projected
  }

  /// The projection of keys (transposed) or values, with its low-rank change, applied to what belongs
  /// to each query and each head.
  private func apply(
    _ projection: Projection, to x: ValueID, _ heads: Int, isTransposed: Bool,
    _ result: inout Rewriting
  ) throws(GraphError) -> ValueID {
    let name = projection.name
    let projected = try result.apply(
      HeadLinear(heads: heads, isTransposed: isTransposed), to: [x],
      parameters: projection.parameters, name: name)
    guard let change = projection.change else { return projected }
    let up = HeadLinear(heads: heads, scale: change.scale, isTransposed: isTransposed)
    // All heads share A.
    let down = HeadLinear(heads: 1, isTransposed: isTransposed)
    var steps = [(down, change.down), (up, change.up)]
    if isTransposed { steps.reverse() }
    var changed = x
    for (operation, (parameter, step)) in steps {
      changed = try result.apply(operation, to: [changed], parameters: [parameter], name: step)
    }
    return try result.apply(Sum(), to: [projected, changed], name: name + ".lora")
  }

  /// A linear layer, with a low-rank update or without, of which attention alone reads the output.
  private struct Projection {
    let input: ValueID
    let parameters: [ParameterID]
    let name: String
    let change: (down: (ParameterID, String), up: (ParameterID, String), scale: Double)?

    var weight: ParameterID { parameters[0] }

    init?(_ value: ValueID, _ uses: GraphUses) {
      if let plain = uses.only(value, Linear.self) {
        (input, parameters) = (plain.node.inputs[0], plain.node.parameters)
        (name, change) = (plain.node.name, nil)
        return
      }
      guard let update = uses.only(value, LowRankUpdate.self),
        let base = uses.only(update.node.inputs[0], Linear.self),
        let down = uses.only(update.node.inputs[1], Linear.self), !down.operation.hasBias,
        down.node.inputs[0] == base.node.inputs[0]
      else { return nil }
      (input, parameters) = (base.node.inputs[0], base.node.parameters)
      name = base.node.name
      change = (
        (down.node.parameters[0], down.node.name),
        (update.node.parameters[0], update.node.name), update.operation.scale
      )
    }
  }
}
