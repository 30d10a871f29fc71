import TensorModule

/// Rows that nothing reads are not computed: behind the last attention of a ViT only the class token
/// is, in a decoder the positions that have labels.
///
/// Backwards over the graph, every node tells which rows (entries of the first dimension) of its
/// inputs its own wanted rows need. Forwards, a node whose operation is one of rows makes those alone,
/// from inputs that are cut down to them where somebody else wants more.
struct UnreadRows: LoweringPass {
  func rewritten(_ graph: Graph, trains: (ParameterID) -> Bool) throws(GraphError) -> Graph? {
    let wanted = wantedRows(graph)
    guard graph.nodes.contains(where: { wanted[$0.output.index] != nil }) else { return nil }
    var result = Rewriting(graph)
    for node in graph.nodes {
      guard let rows = wanted[node.output.index] else {
        try copy(node, wanted, graph, &result)
        continue
      }
      if let take = node.operation as? Take {
        // Of its input it needs its own entries of those rows.
        let entries = rows.map { take.indices[$0] }
        result.replace(
          node.output, by: try cut(node.inputs[0], to: entries, wanted, node.name, &result))
        continue
      }
      let (operation, reads) = node.operation.restricted(to: rows)!
      var inputs: [ValueID] = []
      for (place, input) in node.inputs.enumerated() {
        inputs.append(
          reads[place]
            ? try cut(input, to: rows, wanted, node.name, &result) : try result.value(input))
      }
      result.replace(
        node.output,
        by: try result.apply(
          operation, to: inputs, parameters: node.parameters, name: node.name))
    }
    return try result.finish()
  }

  /// A node all of whose rows are wanted; a selection reads what is left of its input.
  private func copy(
    _ node: Node, _ wanted: [[Int]?], _ graph: Graph, _ result: inout Rewriting
  ) throws(GraphError) {
    guard let take = node.operation as? Take, wanted[node.inputs[0].index] != nil else {
      return try result.copy(node)
    }
    result.replace(
      node.output, by: try cut(node.inputs[0], to: take.indices, wanted, node.name, &result))
  }

  /// Those rows of a value, of which there may be others.
  private func cut(
    _ value: ValueID, to rows: [Int], _ wanted: [[Int]?], _ name: String,
    _ result: inout Rewriting
  ) throws(GraphError) -> ValueID {
    let count = result.graph.type(value).shape[0]
    let made = wanted[value.index] ?? Array(0..<count)
    let shape = result.graph.type(value).shape
    let new = try result.reshaped(value, to: [made.count] + shape.dropFirst())
    if made == rows { return new }
    let places = Dictionary(uniqueKeysWithValues: zip(made, made.indices))
    return try result.apply(Take(rows.map { places[$0]! }), to: [new], name: name)
  }

  /// Per value the rows that somebody reads, ascending; `nil` for all.
  private func wantedRows(_ graph: Graph) -> [[Int]?] {
    // What has been asked for so far: nothing, some rows, or all.
    var some = [Set<Int>](repeating: [], count: graph.types.count)
    var all = [Bool](repeating: false, count: graph.types.count)
    all[graph.output.index] = true
    var wanted = [[Int]?](repeating: nil, count: graph.types.count)
    for node in graph.nodes.reversed() {
      let output = node.output.index
      var rows: [Int]?
      if !all[output] && some[output].isEmpty { continue }
      if !all[output], !some[output].isEmpty {
        rows = some[output].sorted()
        if rows?.count == node.type.shape.first { rows = nil }
      }
      func ask(_ input: ValueID, _ entries: [Int]?) {
        // A value that is read in another shape has other rows.
        if let entries, input.shape == nil {
          some[input.index].formUnion(entries)
        } else {
          all[input.index] = true
        }
      }
      if let take = node.operation as? Take, take.axis == 0 {
        ask(node.inputs[0], rows.map { $0.map { take.indices[$0] } } ?? take.indices)
        wanted[output] = rows
        continue
      }
      let restricted = rows.flatMap { node.operation.restricted(to: $0) }
      for (place, input) in node.inputs.enumerated() {
        ask(input, restricted?.reads[place] == true ? rows : nil)
      }
      wanted[output] = restricted == nil ? nil : rows
    }
    return wanted
  }
}
