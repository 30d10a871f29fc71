/// Whether every name of a graph is given once, and before it is used. Whoever walks the nodes in order
/// then has all that each one takes.
struct ProgramCheck {
  let file: String

  func run(_ graph: ExportedProgram.Graph) throws(CheckpointError) {
    var known: Set<String> = []
    for input in graph.inputs { try define(input, in: graph, &known, by: "an input of the graph") }
    for node in graph.nodes {
      let place = "node \(node.name) (\(node.target))"
      for input in node.inputs {
        try requireKnown(input.argument, known, place)
        for inner in input.argument.graphs { try run(inner) }
      }
      for output in node.outputs { try define(output, in: graph, &known, by: place) }
    }
    for output in graph.outputs { try requireKnown(output, known, "an output of the graph") }
  }

  private func requireKnown(
    _ argument: ExportedProgram.Argument, _ known: Set<String>, _ place: String
  ) throws(CheckpointError) {
    for name in argument.names where !known.contains(name) {
      throw failure("it uses \(quoted(name)), which nothing before it gives", place)
    }
  }

  private func define(
    _ argument: ExportedProgram.Argument, in graph: ExportedProgram.Graph,
    _ known: inout Set<String>, by place: String
  ) throws(CheckpointError) {
    for name in argument.names {
      if !known.insert(name).inserted {
        throw failure("it gives \(quoted(name)), which is given before", place)
      }
      let hasType =
        switch argument {
        case .tensor, .tensors, .optionalTensor, .optionalTensors, .nestedTensors:
          graph.tensors[name] != nil
        case .symbolicInteger: graph.integers[name] != nil
        case .symbolicReal: graph.reals[name] != nil
        case .symbolicBool: graph.bools[name] != nil
        default: true
        }
      if !hasType { throw failure("there is no type of \(quoted(name))", place) }
    }
  }

  private func failure(_ reason: String, _ place: String) -> CheckpointError {
    CheckpointError(.invalidProgram(reason), at: .init(file: file, place: place))
  }
}

extension ExportedProgram.Argument {
  /// The graphs in it.
  package var graphs: [ExportedProgram.Graph] {
    switch self {
    case .graph(_, let graph): [graph]
    case .dictionary(let members):
      members.sorted { $0.key < $1.key }.flatMap(\.value.graphs)
    default: []
    }
  }
}
