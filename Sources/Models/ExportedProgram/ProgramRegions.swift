import Checkpoints

// Parts of a network under `torch.no_grad()` or `torch.autocast` are graphs of their own, which a node of
// the network's graph calls.

extension ExportedProgram {
  /// The same network with the nodes of such parts in place of the nodes that call them.
  var withoutRegions: ExportedProgram {
    guard graph.nodes.contains(where: { Region($0) != nil }) else { return self }
    var program = self
    program.graph = graph.withoutRegions
    return program
  }
}

/// A node that calls a graph once.
private struct Region {
  let graph: ExportedProgram.Graph
  /// What the graph is given.
  let arguments: [ExportedProgram.Argument]
  /// Whether what it hands on has no derivative.
  let isDetached: Bool

  init?(_ node: ExportedProgram.Node) {
    let isGradient = node.operation == "higher_order.wrap_with_set_grad_enabled"
    // Whatever precision was asked for, the engine's is at hand.
    guard isGradient || node.operation == "higher_order.wrap_with_autocast",
      let place = node.inputs.firstIndex(where: { !$0.argument.graphs.isEmpty })
    else { return nil }
    graph = node.inputs[place].argument.graphs[0]
    arguments = node.inputs[(place + 1)...].map(\.argument)
    isDetached = isGradient && node.inputs[0].argument == .bool(false)
    let outputs = node.outputs.flatMap(\.names)
    guard graph.inputs.count == arguments.count,
      outputs.count == graph.outputs.flatMap(\.names).count
    else { return nil }
  }
}

extension ExportedProgram.Graph {
  fileprivate var withoutRegions: ExportedProgram.Graph {
    var result = self
    result.nodes = []
    for node in nodes {
      if let region = Region(node) {
        result.insert(region, in: node)
      } else {
        result.nodes.append(node)
      }
    }
    return result
  }

  private mutating func insert(_ region: Region, in node: ExportedProgram.Node) {
    let graph = region.graph.withoutRegions
    // Names of a graph are its own.
    let own = { (name: String) in "\(node.name).\(name)" }
    var given: [String: ExportedProgram.Argument] = [:]
    for (input, argument) in zip(graph.inputs, region.arguments) {
      if let name = input.names.first { given[name] = argument }
    }
    for (name, type) in graph.tensors { tensors[own(name)] = type }
    for (name, value) in graph.integers { integers[own(name)] = value }
    for (name, value) in graph.reals { reals[own(name)] = value }
    for (name, value) in graph.bools { bools[own(name)] = value }
    for inner in graph.nodes {
      var copy = inner
      copy.name = own(inner.name)
      copy.inputs = inner.inputs.map { input in
        var input = input
        input.argument = input.argument.renamed(given, own)
        return input
      }
      copy.outputs = inner.outputs.map { $0.renamed([:], own) }
      nodes.append(copy)
    }
    let sources = graph.outputs.map { $0.renamed(given, own) }.flatMap(\.names)
    for (name, source) in zip(node.outputs.flatMap(\.names), sources) {
      var copy = node
      copy.name = name
      copy.target = "torch.ops.aten.\(region.isDetached ? "detach" : "alias").default"
      copy.inputs = Array(node.inputs.prefix(1))
      copy.inputs[0].name = "self"
      copy.inputs[0].argument = .tensor(source)
      copy.outputs = [.tensor(name)]
      nodes.append(copy)
    }
  }
}

extension ExportedProgram.Argument {
  /// With names of another graph: those that it was given, others by a rule.
  fileprivate func renamed(
    _ given: [String: ExportedProgram.Argument], _ own: (String) -> String
  ) -> ExportedProgram.Argument {
    func name(_ name: String) -> String { given[name]?.names.first ?? own(name) }
    func integer(_ value: ExportedProgram.Symbolic<Int>) -> ExportedProgram.Symbolic<Int> {
      guard case .name(let symbol) = value else { return value }
      switch given[symbol] {
      case .symbolicInteger(let outer)?: return outer
      case .integer(let number)?: return .value(number)
      default: return .name(own(symbol))
      }
    }
    func real(_ value: ExportedProgram.Symbolic<Double>) -> ExportedProgram.Symbolic<Double> {
      guard case .name(let symbol) = value else { return value }
      switch given[symbol] {
      case .symbolicReal(let outer)?: return outer
      case .real(let number)?: return .value(number)
      default: return .name(own(symbol))
      }
    }
    return switch self {
    case .tensor(let tensor): .tensor(name(tensor))
    case .tensors(let names): .tensors(names.map(name))
    case .optionalTensor(let tensor): .optionalTensor(tensor.map(name))
    case .optionalTensors(let names): .optionalTensors(names.map { $0.map(name) })
    case .nestedTensors(let lists): .nestedTensors(lists.map { $0.map(name) })
    case .symbolicInteger(let value): .symbolicInteger(integer(value))
    case .symbolicIntegers(let values): .symbolicIntegers(values.map(integer))
    case .symbolicReal(let value): .symbolicReal(real(value))
    case .symbolicReals(let values): .symbolicReals(values.map(real))
    default: self
    }
  }
}
