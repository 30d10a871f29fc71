import Checkpoints
import GraphModule

/// Builds the graph of an exported program: the value of every node for one sample, from the values of
/// those before it. What an operator computes is told by `Operators`.
struct ProgramImporter {
  let program: ExportedProgram
  /// Values of the symbols in sizes.
  let sizes: ProgramSizes
  /// Tensors of the program by their names, from wherever they are read.
  let weights: [String: StoredTensor]
  var builder: TensorBuilder
  /// By the names of the program's graph.
  var values: [String: ImportedTensor] = [:]
  private let roles: ProgramRoles
  /// Tensors that are read as numbers of the graph itself.
  private(set) var constants: Set<String> = []
  private(set) var notes: [String] = []
  /// Numbers that nodes have made before any data come, and how many may be, 1 GB.
  private var constantCount = 0
  private static let mostConstants = 1 << 27
  /// Of one sample's output; `nil` for the last axis.
  var classAxis: Int?

  static func model(
    _ program: ExportedProgram, _ weights: [String: StoredTensor], _ data: DataFile?,
    _ reading: OutputReading
  ) throws(CheckpointError) -> Model {
    let program = program.withoutRegions
    do {
      var importer = ProgramImporter(
        program, weights: weights, sizes: try ProgramSizes(program, data: data))
      let graph = try importer.run(reading)
      let read = Set(graph.parameters.map(\.name))
      let trained = program.weights.values.filter { $0.isParameter && $0.requiresGradient }
      return Model(
        graph: graph, type: type,
        unreadTensors: Set(program.weights.keys).union(program.constants.keys).subtracting(read),
        adapted: Set(trained.map(\.name)).intersection(read), constants: importer.constants,
        classAxis: importer.classAxis, notes: importer.notes)
    } catch let error as CheckpointError {
      throw error
    } catch let error as ImportFailure {
      throw failure(error.reason, program)
    } catch {
      throw failure("\(error)", program)
    }
  }

  /// What reports call such a model.
  static let type = Model.exported

  private static func failure(_ reason: String, _ program: ExportedProgram) -> CheckpointError {
    CheckpointError(.unsupportedProgram(reason), at: .init(file: program.path))
  }

  init(
    _ program: ExportedProgram, weights: [String: StoredTensor], sizes: ProgramSizes
  ) {
    self.program = program
    self.weights = weights
    self.sizes = sizes
    let roles = ProgramRoles(program)
    self.roles = roles
    builder = TensorBuilder(
      samples: sizes.samples, isSymbolic: sizes.isSymbolic, read: { roles.isRead($0) })
  }

  mutating func run(_ reading: OutputReading) throws -> Graph {
    try addInputs()
    try addWeights()
    let mutations = try ProgramMutations(program.graph) { try sizes.isContiguous($0) }
    let live = mutations.live(program.userOutputs.flatMap(\.argument.names))
    let nodes = program.graph.nodes.enumerated().filter {
      live.contains($0.offset) && !ProgramSizes.isSize($0.element)
    }
    let unsupported = nodes.map(\.element).filter { Operators.builder($0.operation) == nil }
    if !unsupported.isEmpty { throw unsupportedOperators(unsupported) }
    for (index, node) in nodes {
      try atNode(node) { importer in
        try importer.add(node)
        if Operators.functional(node.operation) != nil {
          try importer.change(node, at: index, mutations)
        }
      }
    }
    if let note = mutations.note(program.signature) { notes.append(note) }
    return try ProgramOutput(self, values).finish(&self, reading)
  }

  // MARK: - Inputs

  private mutating func addInputs() throws {
    for input in program.userInputs {
      let name = input.path.joined(separator: ".")
      guard case .tensor(let value) = input.argument, let type = program.graph.tensors[value] else {
        continue
      }
      let kind = try Self.kind(type.dtype, value)
      let shape = try sizes.values(of: type)
      guard shape.first == sizes.samples else {
        throw failure(
          "the input \(name), \(shape), has no batch dimension in front",
          hint:
            "Every input is [samples, ...]: make what all samples share a buffer of the network.")
      }
      let own = Array(shape.dropFirst())
      let isIndex = kind == .integer && roles.indices.contains(value)
      let id = try builder.graph.input(
        name, shape: own, kind: isIndex ? .index(bound: Int(Int32.max)) : .real)
      values[value] = ImportedTensor(
        sizes: shape, batch: .init(axis: 0), kind: kind,
        storage: .node(id, order: Array(0..<own.count + 2)))
    }
    if values.isEmpty { throw failure("it has no input that is a tensor") }
  }

  static func kind(
    _ type: ExportedProgram.ScalarType, _ name: String
  ) throws -> ImportedTensor.Kind {
    switch type {
    case .float16, .float32, .float64, .bfloat16: .real
    case .bool: .boolean
    case .uint8, .int8, .int16, .int32, .int64, .uint16, .uint32, .uint64: .integer
    default: throw ImportFailure("\(name) is of the type torch.\(type), which is not supported")
    }
  }

  // MARK: - Parameters, buffers and constants

  private mutating func addWeights() throws {
    for input in program.signature.inputs {
      guard let value = input.value, let (name, _) = input.weight, roles.isRead(value),
        let own = try program.weight(of: input)
      else { continue }
      let tensor = weights[roles.name(of: name)] ?? weights[name] ?? own.tensor
      let kind = try Self.kind(program.graph.tensors[value]!.dtype, value)
      let shape = own.tensor.shape
      let isParameter = if case .parameter = input { true } else { false }
      if kind == .real, isParameter || roles.statistics.contains(value) {
        let storage = roles.storage(of: name, shape)
        values[value] = try builder.parameter(
          roles.name(of: name), shape, storage, isBuffer: !isParameter)
      } else {
        guard tensor.shape == shape else {
          throw CheckpointError(
            .shapeMismatch(found: tensor.shape, expected: shape), at: tensor.location)
        }
        let numbers =
          tensor.dtype.isFloatingPoint
          ? try tensor.vector(of: Double.self).array : try tensor.integers().map(Double.init)
        constants.insert(roles.name(of: name))
        values[value] = ImportedTensor(
          sizes: shape, batch: nil, kind: kind, storage: .constant(numbers))
      }
    }
  }

  // MARK: - Nodes

  private mutating func add(_ node: ExportedProgram.Node) throws {
    let names = node.outputs.flatMap(\.names)
    let call = OperatorCall(
      results: try results(names), arguments: try arguments(of: node), names: names)
    guard let build = Operators.builder(node.operation) else { return }
    for (name, result) in zip(names, try build(&builder, call)) {
      values[name] = result
      constantCount += result.constants?.count ?? 0
    }
    guard constantCount <= Self.mostConstants else {
      throw ImportFailure("the program makes more than \(Self.mostConstants) constants")
    }
  }

  /// What goes wrong at a node is said with its name.
  private mutating func atNode(
    _ node: ExportedProgram.Node, _ body: (inout ProgramImporter) throws -> Void
  ) throws {
    builder.label = node.name
    do {
      try body(&self)
    } catch let error as ImportFailure {
      throw failure("\(place(node)): \(error.reason)", hint: Self.advice)
    } catch let error as GraphError {
      throw failure("\(place(node)): \(error)", hint: Self.advice)
    } catch let error as SymbolicExpression.Failure {
      throw failure("\(place(node)): \(error)", hint: Self.advice)
    }
  }

  func results(
    _ names: [String]
  ) throws -> [(sizes: [Int], kind: ImportedTensor.Kind)] {
    try names.compactMap { name in
      guard let type = program.graph.tensors[name] else { return nil }
      return (try sizes.values(of: type), try Self.kind(type.dtype, name))
    }
  }

  private static let advice: SettingText =
    "Change the network, or export a wrapper that leaves it out."

  func arguments(
    of node: ExportedProgram.Node
  ) throws -> [String: OperatorCall.Value] {
    var result: [String: OperatorCall.Value] = [:]
    for input in node.inputs { result[input.name] = try value(of: input.argument) }
    return result
  }

  private func value(of argument: ExportedProgram.Argument) throws -> OperatorCall.Value {
    switch argument {
    case .none, .optionalTensor(nil): return .none
    case .tensor(let name), .optionalTensor(.some(let name)): return .tensor(try value(name))
    case .tensors(let names): return .tensors(try names.map(value))
    case .optionalTensors(let names): return .tensors(try names.map { try $0.map(value) })
    case .integer(let number):
      return .integers([number], isList: false, dependsOnSamples: false)
    case .integers(let numbers):
      return .integers(numbers, isList: true, dependsOnSamples: false)
    case .real(let number): return .reals([number], isList: false)
    case .reals(let numbers): return .reals(numbers, isList: true)
    case .bool(let value): return .bool(value)
    case .string(let text): return .string(text)
    case .symbolicInteger(let number):
      let (value, depends) = try sizes.integer(number)
      return .integers([value], isList: false, dependsOnSamples: depends)
    case .symbolicIntegers(let numbers):
      let values = try numbers.map(sizes.integer)
      return .integers(
        values.map(\.value), isList: true, dependsOnSamples: values.contains { $0.dependsOnSamples }
      )
    case .symbolicReal(let number): return .reals([try sizes.real(number)], isList: false)
    case .dtype(let type):
      return .string(String(describing: type))
    case .memoryFormat, .layout, .device: return .ignored
    default: throw ImportFailure("an argument of it is of a kind that is not supported")
    }
  }

  private func value(_ name: String) throws -> ImportedTensor {
    if let value = values[name] { return value }
    throw ImportFailure("it reads \(name), a result that is not computed here")
  }

  // MARK: - Errors

  func failure(_ reason: String, hint: SettingText? = nil) -> CheckpointError {
    // The number that stands for the samples says nothing to a reader.
    let reason =
      sizes.isSymbolic ? reason.replacing(String(sizes.samples), with: "N") : reason
    return CheckpointError(.unsupportedProgram(reason), at: .init(file: program.path), hint: hint)
  }

  private func place(_ node: ExportedProgram.Node) -> String {
    "node \(node.name) (\(node.operation))" + Self.line(node)
  }

  private static func line(_ node: ExportedProgram.Node) -> String {
    guard let frame = node.source.userFrame else { return "" }
    let file = frame.file.split(separator: "/").last ?? ""
    return ", \(file) line \(frame.line)" + (frame.code.isEmpty ? "" : " `\(frame.code)`")
  }

  /// All operators that there is nothing for, each with how often and where first.
  private func unsupportedOperators(_ nodes: [ExportedProgram.Node]) -> CheckpointError {
    let groups = Dictionary(grouping: nodes, by: \.operation).sorted { $0.key < $1.key }
    let list = groups.map { name, nodes in
      "\(name) (\(nodes.count == 1 ? "once" : "\(nodes.count) times"), node \(nodes[0].name)"
        + Self.line(nodes[0]) + ")"
    }
    return failure(
      "\(nodes.count) of its \(program.graph.nodes.count) nodes use operators that are not supported: "
        + list.joined(separator: "; "),
      hint: "ep.run_decompositions() before saving may express them by others.")
  }
}
