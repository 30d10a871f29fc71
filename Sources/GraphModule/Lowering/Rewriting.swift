import TensorModule

/// A graph that is written anew from another one, node by node.
struct Rewriting {
  let graph: Graph
  private let builder: GraphBuilder
  /// Per value of the graph, the one that has taken its place.
  private var made: [ValueID?]

  init(_ graph: Graph) {
    self.graph = graph
    builder = GraphBuilder(inputsAndParametersOf: graph)
    made = graph.types.indices.map {
      $0 < graph.inputs.count ? ValueID(index: $0) : nil
    }
  }

  /// What stands for a value of the graph, in the shape in which it is read.
  func value(_ old: ValueID) throws(GraphError) -> ValueID {
    try reshaped(old, to: graph.type(old).shape)
  }

  /// The same in another shape, of as many numbers as what has taken its place has.
  func reshaped(_ old: ValueID, to shape: [Int]) throws(GraphError) -> ValueID {
    guard let new = made[old.index] else {
      preconditionFailure("Rewriting: value \(old.index) is read before it is made")
    }
    return try builder.reshape(new, to: shape)
  }

  func type(_ new: ValueID) -> ValueType { builder.type(new) }

  /// Takes over a node of the graph as it is.
  mutating func copy(_ node: Node) throws(GraphError) {
    var inputs: [ValueID] = []
    for input in node.inputs { inputs.append(try value(input)) }
    replace(
      node.output,
      by: try apply(node.operation, to: inputs, parameters: node.parameters, name: node.name))
  }

  mutating func apply(
    _ operation: some Operation, to inputs: [ValueID], parameters: [ParameterID] = [],
    name: String
  ) throws(GraphError) -> ValueID {
    try builder.apply(operation, to: inputs, parameters: parameters, name: name)
  }

  /// - Parameter new: As many numbers as the old value has.
  mutating func replace(_ old: ValueID, by new: ValueID) { made[old.index] = new }

  /// Without the nodes that nobody reads any more.
  func finish() throws(GraphError) -> Graph {
    let whole = builder.finish(output: try value(graph.output), shape: graph.outputShape)
    var isRead = [Bool](repeating: false, count: whole.types.count)
    isRead[whole.output.index] = true
    for node in whole.nodes.reversed() where isRead[node.output.index] {
      for input in node.inputs { isRead[input.index] = true }
    }
    if whole.nodes.allSatisfy({ isRead[$0.output.index] }) { return whole }
    var rest = Rewriting(whole)
    for node in whole.nodes where isRead[node.output.index] { try rest.copy(node) }
    return rest.builder.finish(output: try rest.value(whole.output), shape: whole.outputShape)
  }
}

extension Graph {
  /// The graph with something else in place of some nodes; the others are taken over as they are.
  ///
  /// - Parameter replacement: The value that stands for a node's output, made in the new graph; `nil` to
  ///   take the node over.
  /// - Returns: `nil` where no node is replaced.
  func replacingNodes(
    _ replacement: (Node, GraphUses, inout Rewriting) throws(GraphError) -> ValueID?
  ) throws(GraphError) -> Graph? {
    let uses = GraphUses(self)
    var isChanged = false
    var result = Rewriting(self)
    for node in nodes {
      if let new = try replacement(node, uses, &result) {
        isChanged = true
        result.replace(node.output, by: new)
      } else {
        try result.copy(node)
      }
    }
    return isChanged ? try result.finish() : nil
  }

  /// The same until nothing is left to replace, where one replacement is found behind another.
  func replacingNodesRepeatedly(
    _ replacement: (Node, GraphUses, inout Rewriting) throws(GraphError) -> ValueID?
  ) throws(GraphError) -> Graph? {
    var result: Graph?
    while let next = try (result ?? self).replacingNodes(replacement) { result = next }
    return result
  }
}

/// Who makes and who reads each value of a graph.
struct GraphUses {
  let graph: Graph
  private let makers: [Int?]
  private let readers: [Int]

  init(_ graph: Graph) {
    self.graph = graph
    var makers = [Int?](repeating: nil, count: graph.types.count)
    var readers = [Int](repeating: 0, count: graph.types.count)
    readers[graph.output.index] += 1
    for (index, node) in graph.nodes.enumerated() {
      for input in node.inputs { readers[input.index] += 1 }
      makers[node.output.index] = index
    }
    (self.makers, self.readers) = (makers, readers)
  }

  /// The node that makes a value.
  func maker(_ value: ValueID) -> Int? { makers[value.index] }

  /// The operation that makes a value and of which nobody else reads it, if it is of this type and
  /// the value is read as it is made.
  func only<O: Operation>(_ value: ValueID, _: O.Type) -> (operation: O, node: Node)? {
    guard readers[value.index] == 1 else { return nil }
    return made(value, O.self)
  }

  /// The same where others may read it too.
  func made<O: Operation>(_ value: ValueID, _: O.Type) -> (operation: O, node: Node)? {
    guard value.shape == nil, let maker = makers[value.index],
      let operation = graph.nodes[maker].operation as? O
    else { return nil }
    return (operation, graph.nodes[maker])
  }

  func isReadOnce(_ value: ValueID) -> Bool { readers[value.index] == 1 }
}

extension Graph {
  package func type(_ value: ValueID) -> ValueType {
    types[value.index].reshaped(value.shape)
  }

  /// Per value: whether it depends on a parameter that trains.
  func activity(_ trains: (ParameterID) -> Bool) -> [Bool] {
    var active = [Bool](repeating: false, count: types.count)
    for node in nodes {
      active[node.output.index] =
        (node.inputs.contains { active[$0.index] } || node.parameters.contains(where: trains))
        && node.type.element == .real
    }
    return active
  }
}
