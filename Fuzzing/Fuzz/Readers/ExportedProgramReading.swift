import Checkpoints
import TensorModule

/// An archive by torch.export.save: members, or the file itself (`ZipInput`).
struct ExportedProgramReading: Reader {
  let name = "exported-program"
  let isText = true

  func read(_ input: ArraySlice<UInt8>) throws {
    try Scratch.withOpenFile(ZipInput.file(input)) { file in
      expectTypedErrors { _ = try TensorArchive(file, memory: Scoring.memory) }
      let program = try ExportedProgram(file, memory: Scoring.memory)
      for weight in program.weights.values.map(\.tensor) + program.constants.values.map(\.tensor) {
        expectTypedErrors {
          try weight.withBytes { bytes throws(CheckpointError) in
            precondition(bytes.count == weight.byteCount, "\(weight.name) has other bytes")
            precondition(bytes.reduce(0) { $0 &+ Int($1) } >= 0)
          }
        }
      }
      expectTypedErrors { _ = try program.sampleInputs() }
      precondition(program.tiedWeights.allSatisfy { $0.count > 1 })
      Self.walk(program.graph, bound: program.symbols.mapValues { $0.minimum ?? 7 })
    }
  }

  /// Every node in order, as an import does it: all that it uses is there.
  private static func walk(_ graph: ExportedProgram.Graph, bound: [String: Int]) {
    var known = Set(graph.inputs.flatMap(\.names))
    for node in graph.nodes {
      for input in node.inputs {
        precondition(known.isSuperset(of: input.argument.names), "\(node.name) lacks a value")
        for inner in input.argument.graphs { walk(inner, bound: bound) }
      }
      known.formUnion(node.outputs.flatMap(\.names))
      precondition(node.source.userFrame.map { !$0.file.contains("\n") } ?? true)
      precondition(node.source.modules.allSatisfy { !$0.path.contains(";") })
    }
    for type in graph.tensors.values {
      for value in type.sizes + type.strides { evaluate(value.expression, bound) }
    }
    for value in [graph.integers, graph.reals, graph.bools].flatMap(\.values) {
      evaluate(value.expression, bound)
    }
  }

  private static func evaluate(_ expression: SymbolicExpression, _ bound: [String: Int]) {
    var bound = bound
    for symbol in expression.symbols where bound[symbol] == nil { bound[symbol] = 3 }
    precondition(!expression.description.isEmpty)
    do throws(SymbolicExpression.Failure) {
      _ = try expression.integer(bound)
      _ = try expression.real(bound)
    } catch {
      precondition(!error.description.isEmpty)
    }
    _ = try? expression.bool(bound)
  }

  /// The members of the smallest archive, of its documents what the reader looks at.
  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]] {
    let archive = try ZipArchive(MappedFile(path: fixtures.path("data/exported/counter.pt2")))
    var members: [(name: String, content: [UInt8])] = []
    for member in archive.members where !member.name.contains("/.data/") {
      let name = "n/" + member.name.split(separator: "/").dropFirst().joined(separator: "/")
      var content = try archive.prefix(member.size, of: member)
      if name.hasSuffix(".json") {
        let text = String(decoding: content, as: UTF8.self)
        content = Array(try JSONValue(parsing: text, name: name, file: nil).content().text.utf8)
      }
      members.append((name, content))
    }
    let samples = members.filter { !$0.name.hasSuffix(".pt") }
    let symbols = samples.map { name, content in
      (name: name, content: Self.withSymbols(content))
    }
    return [
      "static": ZipInput.members(samples, flag: UInt8(ascii: "s")),
      "deflated": ZipInput.members(samples, flag: UInt8(ascii: "d")),
      "symbols": ZipInput.members(symbols, flag: UInt8(ascii: "s")),
    ]
  }

  /// Sizes of one element become expressions.
  private static func withSymbols(_ content: [UInt8]) -> [UInt8] {
    let text = String(decoding: content, as: UTF8.self).replacing(
      #""sizes":[{"as_int":1}"#,
      with: #""sizes":[{"as_expr":{"expr_str":"Mul(Integer(2), Symbol('s0', integer=True))"}}"#)
    return Array(text.utf8)
  }
}
