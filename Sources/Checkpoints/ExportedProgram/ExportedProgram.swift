/// A network as `torch.export.save` writes it: a graph of operators over named values, and the weights.
///
/// A graph is in static single assignment form: each name is given once, by an input of the graph or
/// by a node, and used only after that. What a file claims is checked before anything is handed out,
/// and a weight is a `StoredTensor` that is read where it lies in the file when its numbers are asked
/// for. Which operators there are, and what they mean, is not known here.
///
/// Names are those of PyTorch's `torch/_export/serde/schema.py`; as there, keys that are not known
/// are ignored, and kinds of values that are not known refused.
package struct ExportedProgram: Sendable {
  /// The path as it was given.
  package let path: String
  package let versions: Versions
  package var graph: Graph
  package let signature: Signature
  /// The ranges of symbols by their names, and of expressions like `2*s77` that an export was told of.
  package let symbols: [String: SymbolRange]
  /// Parameters and persistent buffers by their names in the `state_dict`, whether or not the graph
  /// uses them.
  package let weights: [String: Weight]
  /// Tensors that the `state_dict` does not have, by their names: constants, and buffers that are not
  /// persistent.
  package let constants: [String: Weight]
  /// The user's inputs in the order of the graph.
  package let userInputs: [UserInput]
  /// The user's outputs in the order of the graph.
  package let userOutputs: [UserOutput]
  /// Where example inputs are; `nil` where the document lies in a file of another kind.
  private let archive: ProgramArchive?
  /// `model.json`, the graph and its signature.
  package let document: StoredTensor

  package struct Versions: Equatable, Sendable {
    /// Of the schema.
    package var major: Int
    package var minor: Int
    package var torch: String
    package var archive: String
    /// Versions of sets of operators, by namespace.
    package var operators: [String: Int]

    /// Majors of the schema that are read.
    static let supported = [8]
  }

  /// The range of a symbol, where it is bounded.
  package struct SymbolRange: Equatable, Sendable {
    package var minimum: Int?
    package var maximum: Int?
  }

  /// Whether a file is such an archive.
  package static func isProgram(_ file: MappedFile) throws(CheckpointError) -> Bool {
    guard FileKind.isZip(file.bytes) else { return false }
    return ProgramArchive.isProgram(try ZipArchive(file))
  }

  package static func open(
    _ path: String, files: InputFiles = InputFiles()
  ) throws(CheckpointError) -> ExportedProgram {
    try ExportedProgram(files.open(path), memory: files.memory)
  }

  /// - Parameter memory: Bytes that numbers may take which cannot be read where they lie.
  /// - Throws: `CheckpointError` naming the node, the weight or the place in a document at fault.
  package init(_ file: MappedFile, memory: Int = .max) throws(CheckpointError) {
    let archive = try ProgramArchive(file, UnpackingBudget(memory))
    let name = "models/\(archive.model).json"
    try self.init(
      archive.document(name), name, archive: archive,
      weights: { _ throws(CheckpointError) in
        (try archive.weights(.weights), try archive.weights(.constants))
      })
  }

  /// A network whose document and tensors lie in a file of another kind.
  ///
  /// - Parameters:
  ///   - tensors: By their names in the `state_dict`; those that the graph does not read may be missing.
  ///   - tied: Names of one tensor each, of which the first is there.
  package init(
    document: StoredTensor, tensors: [String: StoredTensor], tied: [[String]]
  ) throws(CheckpointError) {
    try self.init(
      document, document.name, archive: nil,
      weights: { signature throws(CheckpointError) in
        (Weight.all(signature, tensors, tied), [:])
      })
  }

  private init(
    _ document: StoredTensor, _ name: String, archive: ProgramArchive?,
    weights: (Signature) throws(CheckpointError) -> ([String: Weight], [String: Weight])
  ) throws(CheckpointError) {
    path = document.file
    (self.archive, self.document) = (archive, document)
    let json = try document.withBytes { bytes throws(CheckpointError) in
      try JSONValue(parsing: bytes, name: name, file: document.file)
    }
    versions = try Versions(json, archive: archive?.version ?? "packed")
    let expressions = SymbolicExpressions()
    let module = json["graph_module"]
    graph = try Graph(module["graph"], expressions)
    signature = try Signature(module["signature"], expressions)
    symbols = try SymbolRange.read(json["range_constraints"])
    (self.weights, constants) = try weights(signature)
    let call = try CallSignature(module)
    userInputs = try call.inputs(signature.inputs, graph, path)
    userOutputs = try call.outputs(signature.outputs, path)
    try ProgramCheck(file: path).run(graph)
    try checkSignature()
  }
}

// MARK: - Weights

extension ExportedProgram {
  /// The tensor that an input of the graph stands for, nil for the user's inputs.
  package func weight(of input: Signature.Input) throws(CheckpointError) -> Weight? {
    guard let (name, isPersistent) = input.weight else { return nil }
    let (first, second) = isPersistent ? (weights, constants) : (constants, weights)
    if let weight = first[name] ?? second[name] { return weight }
    throw CheckpointError(
      .missingTensor(name, near: nearMisses(name, among: first.keys)), at: .init(file: path),
      hint: first.isEmpty ? "The archive has a graph without weights; save it again." : nil)
  }

  /// The names of each tensor that has several, in the order of the graph's inputs: tied weights.
  package var tiedWeights: [[String]] {
    var groups: [[String]] = []
    var known: [Weight.View: Int] = [:]
    for input in signature.inputs {
      guard let name = input.weight?.name, let weight = weights[name] else { continue }
      if let group = known[weight.view] {
        groups[group].append(name)
      } else {
        known[weight.view] = groups.count
        groups.append([name])
      }
    }
    return groups.filter { $0.count > 1 }
  }

  /// The example inputs of the export, one for each of `userInputs`; nil for what is no tensor.
  /// Without examples the list is empty.
  ///
  /// - Throws: What the file of examples has wrong: it is read only now.
  package func sampleInputs() throws(CheckpointError) -> [StoredTensor?] {
    guard let samples = try archive?.sampleInputs() else { return [] }
    return userInputs.map { samples.tensors[$0.argumentPath] }
  }
}

// MARK: - Checks

extension ExportedProgram {
  /// The signature lists the graph's inputs and outputs once more, with what they are for.
  private func checkSignature() throws(CheckpointError) {
    let location = CheckpointError.Location(file: path)
    for (what, found, expected) in [
      ("inputs", graph.inputs.count, signature.inputs.count),
      ("outputs", graph.outputs.count, signature.outputs.count),
    ] where found != expected {
      throw CheckpointError(
        .invalidProgram("the graph has \(found) \(what), its signature \(expected)"), at: location)
    }
    for (argument, input) in zip(graph.inputs, signature.inputs) {
      guard let value = input.value else { continue }
      if argument.names != [value] {
        throw CheckpointError(
          .invalidProgram(
            "the signature has an input \(quoted(value)) that the graph has not there"),
          at: location)
      }
      if archive == nil, let name = input.weight?.name, weights[name] == nil { continue }
      guard let weight = try weight(of: input), let declared = graph.tensors[value] else {
        continue
      }
      let shape = declared.sizes.map(\.expression.constant)
      if shape != weight.tensor.shape {
        throw CheckpointError(
          .shapeMismatch(found: weight.tensor.shape, expected: shape.map { $0 ?? 0 }),
          at: weight.tensor.location)
      }
      if let dtype = declared.dtype.stored, dtype != weight.tensor.dtype {
        throw CheckpointError(
          .wrongDType(found: weight.tensor.dtype, expected: [dtype]), at: weight.tensor.location)
      }
    }
    for (argument, output) in zip(graph.outputs, signature.outputs) {
      if let value = output.value, argument.names != [value] {
        throw CheckpointError(
          .invalidProgram(
            "the signature has an output \(quoted(value)) that the graph has not there"),
          at: location)
      }
    }
  }
}

// MARK: - Reading

extension ExportedProgram.Versions {
  fileprivate init(_ document: JSONValue, archive: String) throws(CheckpointError) {
    major = try document["schema_version"]["major"].integer()
    minor = try document["schema_version"]["minor"].integer()
    torch = try document["torch_version"].string(default: "unknown")
    self.archive = archive
    operators = [:]
    let sets = document["opset_version"]
    for name in try sets.keys() { operators[name] = try sets[name].integer() }
    if !Self.supported.contains(major) {
      throw document["schema_version"]["major"].wrong(
        Self.supported.map(String.init).joined(separator: " or "),
        hint:
          "The archive is by PyTorch \(printable(torch, limit: 60)); export it with a version whose "
          + "schema is read.")
    }
  }
}

extension ExportedProgram.SymbolRange {
  fileprivate static func read(
    _ document: JSONValue
  ) throws(CheckpointError) -> [String: ExportedProgram.SymbolRange] {
    var ranges: [String: ExportedProgram.SymbolRange] = [:]
    for name in try document.keys() {
      let range = document[name]
      ranges[name] = ExportedProgram.SymbolRange(
        minimum: try bound(range["min_val"]), maximum: try bound(range["max_val"]))
    }
    return ranges
  }

  /// Infinity is null, a word, or a number that no size reaches.
  private static func bound(_ value: JSONValue) throws(CheckpointError) -> Int? {
    guard value.exists else { return nil }
    switch try value.content() {
    case .integer(let number): return number
    case .real(let number) where abs(number) >= 0x1p63: return nil
    case .string("Infinity"), .string("-Infinity"): return nil
    default: throw value.wrong("an integer or null")
    }
  }
}
