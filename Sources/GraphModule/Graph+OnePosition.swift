import TensorModule

extension Graph {
  /// The same network at one position of a sample, the number of which is one more input, behind the
  /// others: its output is `[C]`.
  ///
  /// What is made row by row on the way to the output, as the logits of tokens are, is made for that
  /// position alone; what mixes positions is computed as before.
  package func atOnePosition(_ input: String) throws(GraphError) -> Graph {
    var copy = try OnePosition(self, input: input)
    return try copy.graph()
  }
}

/// A graph that is written anew with its output at one position.
private struct OnePosition {
  private let source: Graph
  private let builder: GraphBuilder
  /// Which position it is, `[1]`.
  private let place: ValueID
  /// Per value of the source, what stands for it, whole and at the position.
  private var whole: [ValueID?]
  private var row: [ValueID?]
  private let makers: [Node?]

  init(_ source: Graph, input: String) throws(GraphError) {
    self.source = source
    builder = GraphBuilder(inputsAndParametersOf: source)
    place = try builder.input(input, shape: [1], kind: .index(bound: source.positions))
    whole = source.types.indices.map { $0 < source.inputs.count ? ValueID(index: $0) : nil }
    row = source.types.map { _ in nil }
    var makers = [Node?](repeating: nil, count: source.types.count)
    for node in source.nodes { makers[node.output.index] = node }
    self.makers = makers
  }

  mutating func graph() throws(GraphError) -> Graph {
    for node in source.nodes {
      whole[node.output.index] = try builder.apply(
        node.operation, to: try node.inputs.map(value), parameters: node.parameters,
        name: node.name)
    }
    let output = try atPosition(source.output)
    let all = builder.finish(output: output, shape: [source.classes])
    // Without what was only made for other positions.
    var rest = Rewriting(all)
    for node in all.nodes { try rest.copy(node) }
    return try rest.finish()
  }

  /// In the shape in which the source reads it.
  private func value(_ old: ValueID) throws(GraphError) -> ValueID {
    guard let new = whole[old.index] else {
      preconditionFailure("OnePosition: value \(old.index) is read before it is made")
    }
    return try builder.reshape(new, to: source.type(old).shape)
  }

  /// The row of a value whose rows are positions, `[1, columns]`.
  private mutating func atPosition(_ old: ValueID) throws(GraphError) -> ValueID {
    if let known = row[old.index] { return known }
    let type = source.type(old)
    let columns = type.count / source.positions
    let made: ValueID
    if let node = makers[old.index], let rows = rowByRow(node, old, columns) {
      var inputs: [ValueID] = []
      for (input, isRead) in zip(node.inputs, rows.reads) {
        inputs.append(isRead ? try atPosition(input) : try value(input))
      }
      made = try builder.apply(
        rows.operation, to: inputs, parameters: node.parameters, name: node.name)
    } else {
      let table = try builder.reshape(value(old), to: [source.positions, columns])
      made = try builder.apply(Lookup(), to: [table, place], name: "one position")
    }
    row[old.index] = made
    return made
  }

  /// The operation that makes any one row of a value from the same row of what it reads; `nil` where
  /// there is none, or it depends on which row it is.
  private func rowByRow(
    _ node: Node, _ value: ValueID, _ columns: Int
  ) -> (operation: any Operation, reads: [Bool])? {
    let shape = [source.positions, columns]
    // What a query sees depends on its position.
    guard value.shape == nil, node.type.shape == shape, !(node.operation is Attention),
      let rows = node.operation.restricted(to: [0])
    else { return nil }
    let fits = zip(node.inputs, rows.reads).allSatisfy { input, isRead in
      let own = source.type(input).shape
      return !isRead || input.shape == nil && own.count == 2 && own[0] == source.positions
    }
    return fits ? rows : nil
  }
}
