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
  /// Values of which the program does not tell whether they share memory with what they are made of.
  private var unclear: Set<String> = []

  /// - Parameter isContiguous: Whether the numbers of a tensor lie side by side, row by row.
  init(
    _ graph: ExportedProgram.Graph, isContiguous: (ExportedProgram.TensorType) throws -> Bool
  ) rethrows {
    nodes = graph.nodes
    for (index, node) in graph.nodes.enumerated() {
      for name in node.outputs.flatMap(\.names) { definitions[name] = index }
      for name in node.inputs.flatMap(\.argument.names) { lastUses[name] = index }
      guard let source = node.inputs.first?.argument.names.first else { continue }
      let results = node.outputs.flatMap(\.names)
      let operation = node.operation.split(separator: ".").dropFirst().first ?? ""
      let isInPlace = Operators.functional(node.operation) != nil
      var isShared = Self.views.contains(operation) || isInPlace
      if isShared, !isInPlace, Self.copying.contains(operation), let type = graph.tensors[source] {
        // Of another type it is a copy; of numbers that do not lie side by side it may be one.
        isShared = results.allSatisfy { graph.tensors[$0]?.dtype == type.dtype }
        if isShared, try !isContiguous(type) { unclear.formUnion(results) }
      }
      guard isShared else { continue }
      for name in results { roots[name] = root(source) }
      if unclear.contains(source) { unclear.formUnion(results) }
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

  /// A node that shows memory, and which of its results is meant.
  struct View {
    let node: ExportedProgram.Node
    let result: Int
  }

  /// The views that lead from the root of a value to it, first the one of the root.
  func views(to name: String) -> [View] {
    var views: [View] = []
    var name = name
    while roots[name] != nil, let place = definitions[name],
      let source = nodes[place].inputs.first?.argument.names.first
    {
      // What works in place has the place that it works on.
      if Operators.functional(nodes[place].operation) == nil {
        let names = nodes[place].outputs.flatMap(\.names)
        views.append(View(node: nodes[place], result: names.firstIndex(of: name) ?? 0))
      }
      name = source
    }
    return views.reversed()
  }

  /// A sentence on the tensors that `forward` changes and that the next call would see changed.
  func note(_ signature: ExportedProgram.Signature) -> String? {
    var names: Set<String> = []
    for case .bufferMutation(_, let name) in signature.outputs { names.insert(name) }
    for case .parameterMutation(_, let name) in signature.outputs { names.insert(name) }
    var weights: [String: String] = [:]
    for input in signature.inputs {
      if let value = input.value, let name = input.weight?.name { weights[value] = name }
    }
    for node in nodes where Operators.functional(node.operation) != nil {
      if let changed = node.inputs.first?.argument.names.first, let name = weights[root(changed)] {
        names.insert(name)
      }
    }
    if names.isEmpty { return nil }
    return "forward changes \(names.sorted().map { printable($0) }.joined(separator: ", ")): every "
      + "batch is computed with the stored numbers, and what forward leaves in their place is ignored."
  }

  func isUnclear(_ name: String) -> Bool { unclear.contains(name) }

  /// Tensors that share memory with what a node changes, made before it, and that something reads
  /// afterwards under another name.
  func readers(ofWhat node: ExportedProgram.Node, at index: Int) -> [String] {
    guard let changed = node.inputs.first?.argument.names.first else { return [] }
    let results = Set(node.outputs.flatMap(\.names))
    let shared = root(changed)
    return lastUses.filter { name, use in
      use > index && root(name) == shared && name != changed && !results.contains(name)
        // Views that are made afterwards see what is right.
        && definitions[name] ?? -1 < index
    }.keys.sorted { (definitions[$0] ?? -1, $0) < (definitions[$1] ?? -1, $1) }
  }

  private static let views: Set<Substring> = [
    "view", "reshape", "transpose", "permute", "t", "select", "slice", "expand", "expand_as",
    "unsqueeze", "squeeze", "flatten", "unflatten", "unbind", "split", "split_with_sizes", "chunk",
    "detach", "alias", "contiguous", "narrow", "movedim", "to", "view_as", "dropout", "swapaxes",
    "mT", "numpy_T", "broadcast_to", "type_as", "reshape_as", "diagonal",
  ]

  /// Of these, those that copy where they have to.
  private static let copying: Set<Substring> = [
    "reshape", "flatten", "contiguous", "to", "type_as", "reshape_as", "unflatten",
  ]
}
