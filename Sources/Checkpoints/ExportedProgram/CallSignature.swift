extension ExportedProgram {
  /// An input of the user's.
  package struct UserInput: Equatable, Sendable {
    /// Where in the arguments of `forward` it is: `["x"]`, `["more", "a", "0"]`.
    package var path: [String]
    /// The same with a position in place of an argument's name, as torch.save flattens it.
    var argumentPath: String
    /// The name in the graph, or the constant for which the graph is made.
    package var argument: Argument
  }

  /// An output of the user's.
  package struct UserOutput: Equatable, Sendable {
    /// Where in the result it is: `["logits"]` in a dictionary or dataclass, `["0"]` in a tuple, empty
    /// if it is the result.
    package var path: [String]
    /// The name in the graph, or a constant.
    package var argument: Argument
  }

  /// How containers of inputs or outputs are nested: a pytree.
  indirect enum Tree: Equatable, Sendable {
    case leaf
    case node(type: String, [Child])

    struct Child: Equatable, Sendable {
      /// The key, the name of the field, or the position.
      var key: String
      var tree: Tree
    }
  }
}

/// How `forward` was called: `module_call_graph`.
struct CallSignature {
  /// A tuple of the positional arguments and a dictionary of the others.
  private let inputs: ExportedProgram.Tree
  private let outputs: ExportedProgram.Tree
  private let argumentNames: [String]

  init(_ module: JSONValue) throws(CheckpointError) {
    let calls = module["module_call_graph"]
    guard let root = try calls.array().first else { throw calls.wrong("the call of the network") }
    var fields: [String: [String]] = [:]
    if module["treespec_namedtuple_fields"].exists {
      fields = try module["treespec_namedtuple_fields"].dictionary { json throws(CheckpointError) in
        try json["field_names"].strings()
      }
    }
    let signature = root["signature"]
    inputs = try .init(specification: signature["in_spec"], fields: fields)
    outputs = try .init(specification: signature["out_spec"], fields: fields)
    argumentNames =
      signature["forward_arg_names"].exists ? try signature["forward_arg_names"].strings() : []
  }

  func inputs(
    _ inputs: [ExportedProgram.Signature.Input], _ graph: ExportedProgram.Graph, _ file: String
  ) throws(CheckpointError) -> [ExportedProgram.UserInput] {
    let arguments = inputs.compactMap { input -> ExportedProgram.Argument? in
      switch input {
      case .user(let argument), .fixed(_, let argument): argument
      case .parameter, .buffer, .constant, .token: nil
      }
    }
    let paths = self.inputs.leaves
    try Self.requireEqual(paths.count, arguments.count, "inputs", file)
    return zip(paths, arguments).map { path, argument in
      // The first key says whether it is a positional argument.
      var named = Array(path.dropFirst())
      if path.first == "0", let position = named.first.flatMap({ Int($0) }),
        argumentNames.indices.contains(position)
      {
        named[0] = argumentNames[position]
      }
      return ExportedProgram.UserInput(
        path: named, argumentPath: path.joined(separator: "."), argument: argument)
    }
  }

  func outputs(
    _ outputs: [ExportedProgram.Signature.Output], _ file: String
  ) throws(CheckpointError) -> [ExportedProgram.UserOutput] {
    let arguments = outputs.compactMap { output -> ExportedProgram.Argument? in
      switch output {
      case .user(let argument): argument
      case .loss(let value): .tensor(value)
      default: nil
      }
    }
    let paths = self.outputs.leaves
    try Self.requireEqual(paths.count, arguments.count, "outputs", file)
    return zip(paths, arguments).map { ExportedProgram.UserOutput(path: $0, argument: $1) }
  }

  private static func requireEqual(
    _ found: Int, _ expected: Int, _ what: String, _ file: String
  ) throws(CheckpointError) {
    if found == expected { return }
    throw CheckpointError(
      .invalidProgram("its call has \(found) \(what), its signature \(expected)"),
      at: .init(file: file))
  }
}

// MARK: - Trees

extension ExportedProgram.Tree {
  /// - Parameters:
  ///   - json: A text that holds JSON, `[1, {"type", "context", "children_spec"}]`.
  ///   - fields: The names of the fields of named tuples, by their types.
  fileprivate init(
    specification json: JSONValue, fields: [String: [String]]
  ) throws(CheckpointError) {
    let document = try JSONValue(parsing: json.string(), name: json.path, file: json.file)
    if try document[0].integer() != 1 { throw document[0].wrong("1, the version of a tree") }
    try self.init(document[1], fields)
  }

  private init(_ json: JSONValue, _ fields: [String: [String]]) throws(CheckpointError) {
    guard json["type"].exists else {
      // Of a leaf all are null or empty.
      _ = try json["children_spec"].array()
      self = .leaf
      return
    }
    let type = try json["type"].string()
    let context = json["context"].exists ? try json["context"].string() : "null"
    let children = try json["children_spec"].list { child throws(CheckpointError) in
      try ExportedProgram.Tree(child, fields)
    }
    let names = type == "collections.namedtuple" ? fields[context] : Self.keys(context)
    let keys = names?.count == children.count ? names : nil
    self = .node(
      type: type,
      children.enumerated().map { index, tree in
        Child(key: keys?[index] ?? String(index), tree: tree)
      })
  }

  /// The keys of a container's children, as its type has them: a list of keys (dictionaries), of the
  /// names of fields that have a value and of those that have none (dataclasses), or an object with
  /// one of them (dictionaries with a default).
  private static func keys(_ context: String) -> [String]? {
    guard case .some(let content) = try? JSONParser.parse(context) else { return nil }
    switch content {
    case .array(let keys):
      if keys.count == 2, case .array(let present) = keys[0], case .array = keys[1] {
        return present.map(name)
      }
      return keys.map(name)
    case .object(let members):
      guard case .array(let keys)? = members["dict_context"] else { return nil }
      return keys.map(name)
    default: return nil
    }
  }

  private static func name(_ key: JSONContent) -> String {
    if case .string(let text) = key { text } else { key.text }
  }

  /// The paths of all leaves in order.
  fileprivate var leaves: [[String]] {
    var result: [[String]] = []
    var path: [String] = []
    collect(&path, &result)
    return result
  }

  private func collect(_ path: inout [String], _ result: inout [[String]]) {
    switch self {
    case .leaf: result.append(path)
    case .node(_, let children):
      for child in children {
        path.append(child.key)
        child.tree.collect(&path, &result)
        path.removeLast()
      }
    }
  }
}
