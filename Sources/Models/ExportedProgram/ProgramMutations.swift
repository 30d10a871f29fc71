import Checkpoints

/// Which tensors share memory in a program whose operators may work in place.
struct ProgramMutations {
  private let nodes: [ExportedProgram.Node]
  /// The tensor whose memory a value is a view of.
  private var roots: [String: String] = [:]
  /// The last node that reads a value, the graph's outputs behind all nodes.
  private var lastUses: [String: Int] = [:]

  /// The node that makes a value.
  private var definitions: [String: Int] = [:]

  init(_ graph: ExportedProgram.Graph) {
    nodes = graph.nodes
    for (index, node) in graph.nodes.enumerated() {
      for name in node.outputs.flatMap(\.names) { definitions[name] = index }
      for name in node.inputs.flatMap(\.argument.names) { lastUses[name] = index }
      guard let source = node.inputs.first?.argument.names.first else { continue }
      let isView =
        Self.views.contains(node.operation.split(separator: ".").dropFirst().first ?? "")
        || Operators.functional(node.operation) != nil
      if isView { for name in node.outputs.flatMap(\.names) { roots[name] = root(source) } }
    }
    for name in graph.outputs.flatMap(\.names) { lastUses[name] = graph.nodes.count }
  }

  /// Nodes on which the user's outputs depend; a graph may hold others.
  func live(_ outputs: [String]) -> Set<Int> {
    var names = Set(outputs)
    var memory = Set(outputs.map(root))
    var live: Set<Int> = []
    for (index, node) in nodes.enumerated().reversed() {
      let results = node.outputs.flatMap(\.names)
      let changes =
        Operators.functional(node.operation) == nil
        ? nil : node.inputs.first?.argument.names.first
      guard
        results.contains(where: names.contains)
          || changes.map({ memory.contains(root($0)) }) == true
      else { continue }
      live.insert(index)
      for name in node.inputs.flatMap(\.argument.names) {
        names.insert(name)
        memory.insert(root(name))
      }
    }
    return live
  }

  func root(_ name: String) -> String { roots[name] ?? name }

  /// The views that lead from the root of a value to it, first the one of the root.
  func views(to name: String) -> [ExportedProgram.Node] {
    var views: [ExportedProgram.Node] = []
    var name = name
    while roots[name] != nil, let place = definitions[name],
      let source = nodes[place].inputs.first?.argument.names.first
    {
      // What works in place has the place that it works on.
      if Operators.functional(nodes[place].operation) == nil { views.append(nodes[place]) }
      name = source
    }
    return views.reversed()
  }

  /// All values, made before a node, that share the memory of a root.
  func aliases(of root: String, before index: Int) -> [String] {
    roots.keys.filter { self.root($0) == root && definitions[$0] ?? -1 <= index }.sorted()
  }

  /// A tensor that shares memory with what a node changes, and that something reads afterwards under
  /// another name.
  func reader(ofWhat node: ExportedProgram.Node, at index: Int) -> String? {
    guard let changed = node.inputs.first?.argument.names.first else { return nil }
    let results = Set(node.outputs.flatMap(\.names))
    let shared = root(changed)
    return lastUses.filter { name, use in
      use > index && root(name) == shared && name != changed && !results.contains(name)
        // Views that are made afterwards see what is right.
        && definitions[name] ?? -1 < index
    }.map(\.key).min()
  }

  private static let views: Set<Substring> = [
    "view", "reshape", "transpose", "permute", "t", "select", "slice", "expand", "expand_as",
    "unsqueeze", "squeeze", "flatten", "unflatten", "unbind", "split", "split_with_sizes", "chunk",
    "detach", "alias", "contiguous", "narrow", "movedim", "to", "_to_copy", "view_as", "dropout",
    "swapaxes", "mT", "numpy_T", "broadcast_to", "type_as", "reshape_as",
  ]
}
