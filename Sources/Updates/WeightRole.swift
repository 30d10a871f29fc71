import GraphModule

/// What a trainable tensor is to optimisers that tell weights apart (method.md 7).
package enum WeightRole: Sendable {
  /// The weight of a layer, a convolution or an adapter as a matrix: its first axis by all others.
  case matrix(rows: Int, columns: Int)
  /// Such a weight whose outputs are the logits.
  case head(rows: Int, columns: Int)
  /// One axis: biases, scales of normalisations.
  case vector(count: Int)
  /// A table that is looked up, also where it is the head as well, and what else is no layer's weight:
  /// positions, prompts, class tokens.
  case embedding
}

extension Program {
  /// The role of every trainable tensor, in their order.
  ///
  /// - Precondition: Every linear layer is applied to its own rows.
  package var weightRoles: [(parameter: ParameterID, role: WeightRole)] {
    precondition(isLayerwise, "weightRoles: layers without their rows")
    let head = headLayer?.weight
    var weights: Set<ParameterID> = []
    var tables: Set<ParameterID> = []
    for node in graph.nodes {
      for (slot, parameter) in node.parameters.enumerated() {
        switch node.operation.role(ofParameter: slot) {
        case .weight: weights.insert(parameter)
        case .table: tables.insert(parameter)
        case nil: break
        }
      }
    }
    return trainable.map { parameter in
      let shape = graph.parameters[parameter.index].shape
      if shape.filter({ $0 != 1 }).count < 2, !weights.contains(parameter) {
        return (parameter, .vector(count: shape.reduce(1, *)))
      }
      guard weights.contains(parameter), !tables.contains(parameter) else {
        return (parameter, .embedding)
      }
      let rows = shape[0]
      let columns = shape.dropFirst().reduce(1, *)
      return (
        parameter,
        parameter == head
          ? .head(rows: rows, columns: columns) : .matrix(rows: rows, columns: columns)
      )
    }
  }

  /// The weight and the bias of the layer whose outputs are the logits, where nothing else reads them. A loss
  /// that does not change with a constant added to all logits has gradients whose sum over the outputs is
  /// zero there.
  var logitTensors: [ParameterID] {
    guard let head = headLayer else { return [] }
    return [head.weight, head.bias].compactMap { $0 }.filter {
      useCounts[$0.index] == 1 && graph.parameters[$0.index].shape.first == graph.classes
    }
  }

  /// The linear layer whose outputs are the logits, with nothing but views and adapters in between.
  private var headLayer: (weight: ParameterID, bias: ParameterID?)? {
    var value = graph.output.index
    while value >= graph.inputs.count {
      let node = graph.nodes[value - graph.inputs.count]
      if let linear = node.operation.linearLayer, linear.rows == .input(0) {
        return (node.parameters[linear.weightSlot], linear.biasSlot.map { node.parameters[$0] })
      }
      guard let carried = node.operation.carriedInput else { return nil }
      value = node.inputs[carried].index
    }
    return nil
  }
}
