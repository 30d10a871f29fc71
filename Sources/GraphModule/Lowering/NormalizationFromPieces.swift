import TensorModule

/// Layer and RMS norms that are written out as means, differences, squares and roots, then their
/// weights and biases one after the other.
struct NormalizationFromPieces: LoweringPass {
  func rewritten(_ graph: Graph, trains: (ParameterID) -> Bool) throws(GraphError) -> Graph? {
    // The norm itself, its weight, its bias: each reads what the one before has made.
    try graph.replacingNodesRepeatedly { node, uses, result throws(GraphError) in
      guard let found = bare(node, uses) ?? affine(node, uses) else { return nil }
      return try result.apply(
        found.operation, to: [result.value(found.x)], parameters: found.parameters,
        name: node.name)
    }
  }

  private typealias Found = (operation: Normalization, x: ValueID, parameters: [ParameterID])

  /// `c / sqrt(mean(c^2) + epsilon)` with c = x, or x less its mean.
  private func bare(_ node: Node, _ uses: GraphUses) -> Found? {
    guard node.operation is Product else { return nil }
    for place in 0..<2 {
      let c = node.inputs[place]
      guard let root = uses.made(node.inputs[1 - place], Activation.self),
        root.operation.function.name == "rsqrt",
        let (spread, epsilon) = sumWithConstant(root.node.inputs[0], uses)
      else { continue }
      let shape = uses.graph.type(c).shape
      if let x = centred(c, uses) {
        let axes = meanOfSquares(spread, of: c, uses) ?? variance(spread, of: x.value, uses)
        if let axes, axes == x.axes, let rows = rows(axes, of: shape) {
          return (Normalization(rows, epsilon: epsilon), x.value, [])
        }
      }
      if let axes = meanOfSquares(spread, of: c, uses), let rows = rows(axes, of: shape) {
        return (Normalization(rows, epsilon: epsilon, centered: false), c, [])
      }
    }
    return nil
  }

  /// A norm without a weight times a parameter, or one with a weight and a parameter.
  private func affine(_ node: Node, _ uses: GraphUses) -> Found? {
    let isProduct = node.operation is Product
    guard isProduct || (node.operation as? Sum)?.factor == 1 else { return nil }
    for place in 0..<2 {
      guard let norm = uses.only(node.inputs[place], Normalization.self),
        norm.node.parameters.count == (isProduct ? 0 : 1),
        case .rows(let dimensions) = norm.operation.groups,
        let parameter = uses.made(node.inputs[1 - place], ParameterValue.self),
        parameter.node.type.shape == Array(norm.node.type.shape.suffix(dimensions))
      else { continue }
      return (
        norm.operation, norm.node.inputs[0], norm.node.parameters + parameter.node.parameters
      )
    }
    return nil
  }

  // MARK: - Pieces

  /// The last dimensions, all of them one row.
  private func rows(_ axes: [Int], of shape: [Int]) -> Normalization.Groups? {
    let last = Array(shape.indices.suffix(axes.count))
    return axes.sorted() == last ? .rows(dimensions: axes.count) : nil
  }

  private func sumWithConstant(
    _ value: ValueID, _ uses: GraphUses
  ) -> (ValueID, Double)? {
    guard let sum = uses.made(value, Sum.self), sum.operation.factor == 1 else { return nil }
    for place in 0..<2 {
      if let constant = uses.made(sum.node.inputs[1 - place], Constant.self),
        constant.operation.values.count == 1, constant.operation.values[0] >= 0
      {
        return (sum.node.inputs[place], constant.operation.values[0])
      }
    }
    return nil
  }

  /// `x - mean(x)`
  private func centred(
    _ value: ValueID, _ uses: GraphUses
  ) -> (value: ValueID, axes: [Int])? {
    guard let difference = uses.made(value, Sum.self), difference.operation.factor == -1,
      let mean = uses.made(difference.node.inputs[1], Reduction.self),
      mean.operation.kind == .mean, mean.operation.keepsDimensions,
      mean.node.inputs[0] == difference.node.inputs[0]
    else { return nil }
    return (difference.node.inputs[0], mean.operation.axes)
  }

  private func meanOfSquares(
    _ value: ValueID, of c: ValueID, _ uses: GraphUses
  ) -> [Int]? {
    guard let mean = uses.made(value, Reduction.self), mean.operation.kind == .mean,
      mean.operation.keepsDimensions
    else { return nil }
    let square = mean.node.inputs[0]
    if let product = uses.made(square, Product.self), product.node.inputs == [c, c] {
      return mean.operation.axes
    }
    if let power = uses.made(square, Activation.self), power.node.inputs == [c],
      power.operation.function.name == "pow", power.operation.function.values == [2]
    {
      return mean.operation.axes
    }
    return nil
  }

  private func variance(_ value: ValueID, of x: ValueID, _ uses: GraphUses) -> [Int]? {
    guard let variance = uses.made(value, Reduction.self), variance.node.inputs == [x],
      variance.operation.kind == .variance(correction: 0), variance.operation.keepsDimensions
    else { return nil }
    return variance.operation.axes
  }
}
