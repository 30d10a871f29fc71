import Checkpoints
import GraphModule
import TensorModule

/// The values of all sizes of a program: those that the data decide, and a number that stands for the
/// samples.
struct ProgramSizes {
  /// Where the number of samples is a symbol, `TensorBuilder.nominalSamples`; in a static program the
  /// number of the example.
  let samples: Int
  private let symbols: [String: Int]
  private let sampleSymbols: Set<String>
  private let graph: ExportedProgram.Graph

  /// - Parameter data: What binds the other symbols; without, they are as in the example.
  init(_ program: ExportedProgram, data: DataFile?) throws {
    graph = program.graph
    var bound: [String: Int] = [:]
    var sampleSymbols: Set<String> = []
    var samples: Int?
    for input in program.userInputs {
      guard case .tensor(let value) = input.argument, let type = graph.tensors[value],
        let first = type.sizes.first
      else { continue }
      if case .symbol(let name) = first.expression {
        sampleSymbols.insert(name)
      } else if let size = first.expression.constant {
        if let samples, samples != size {
          throw ImportFailure(
            "its inputs have \(samples) and \(size) as their first dimension, which is the batch's; "
              + "export it with dynamic_shapes")
        }
        samples = size
      }
    }
    if !sampleSymbols.isEmpty {
      samples = TensorBuilder.nominalSamples
      for name in sampleSymbols { bound[name] = TensorBuilder.nominalSamples }
    }
    let found = try data?.inputs(program.inputNames)
    /// Where the data have a size that a symbol stands for.
    var places: [String: String] = [:]
    for input in program.userInputs {
      guard case .tensor(let value) = input.argument, let type = graph.tensors[value] else {
        continue
      }
      let tensor = found?[input.path.joined(separator: ".")]
      if let tensor, tensor.shape.count != type.sizes.count {
        throw CheckpointError(
          .unexpectedValue(
            "the shape", found: "\(tensor.shape)", expected: "\(type.sizes.count) dimensions"),
          at: tensor.location)
      }
      for (axis, size) in type.sizes.enumerated().dropFirst() {
        guard case .symbol(let name) = size.expression, !sampleSymbols.contains(name) else {
          continue
        }
        let length = tensor?.shape[axis] ?? size.example ?? 2
        if let known = bound.updateValue(length, forKey: name), let tensor, known != length {
          var expected = tensor.shape
          expected[axis] = known
          throw CheckpointError(
            .shapeMismatch(found: tensor.shape, expected: expected), at: tensor.location,
            hint: "The network has one size for this dimension and for \(places[name] ?? name).")
        }
        places[name] = tensor.map { "dimension \(axis) of \($0.name)" }
      }
    }
    guard let samples else { throw ImportFailure("it has no input that is a tensor") }
    (self.samples, symbols, self.sampleSymbols) = (samples, bound, sampleSymbols)
  }

  /// Whether the program is the same for any number of samples.
  var isSymbolic: Bool { !sampleSymbols.isEmpty }

  func values(of type: ExportedProgram.TensorType) throws -> [Int] {
    try type.sizes.map { try $0.expression.integer(symbols) }
  }

  /// Whether the numbers of a tensor lie side by side, row by row.
  func isContiguous(_ type: ExportedProgram.TensorType) throws -> Bool {
    let (sizes, strides) = (
      try values(of: type), try type.strides.map { try $0.expression.integer(symbols) }
    )
    guard sizes.count == strides.count else { return false }
    var expected = 1
    for (size, stride) in zip(sizes, strides).reversed() where size != 1 {
      if stride != expected { return false }
      // Such a tensor has no memory to lie in.
      guard let next = checkedProduct(expected, size) else { return false }
      expected = next
    }
    return true
  }

  func integer(
    _ number: ExportedProgram.Symbolic<Int>
  ) throws -> (value: Int, dependsOnSamples: Bool) {
    switch number {
    case .value(let value): return (value, false)
    case .name(let name):
      guard let expression = graph.integers[name]?.expression else {
        throw ImportFailure("the size \(name) has no expression")
      }
      return (
        try expression.integer(symbols), !expression.symbols.isDisjoint(with: sampleSymbols)
      )
    }
  }

  func real(_ number: ExportedProgram.Symbolic<Double>) throws -> Double {
    switch number {
    case .value(let value): return value
    case .name(let name):
      guard let expression = graph.reals[name]?.expression else {
        throw ImportFailure("the number \(name) has no expression")
      }
      if !expression.symbols.isDisjoint(with: sampleSymbols) {
        throw ImportFailure.mixing("\(name) is made of the number of samples")
      }
      return try expression.real(symbols)
    }
  }

  /// Whether a node computes with sizes, whose expressions the program has, or checks them.
  static func isSize(_ node: ExportedProgram.Node) -> Bool {
    let checks: Set<Substring> = [
      "aten._assert_scalar.default", "aten.sym_constrain_range_for_size.default",
      "aten._assert_tensor_metadata.default", "aten.sym_constrain_range.default",
    ]
    if checks.contains(node.operation) { return true }
    return !node.outputs.isEmpty
      && node.outputs.allSatisfy { output in
        switch output {
        case .symbolicInteger, .symbolicReal, .symbolicBool, .integer, .real, .bool: true
        default: false
        }
      }
  }
}

extension ExportedProgram {
  /// The names that the data have for the inputs that are tensors.
  var inputNames: [String] {
    userInputs.compactMap { input in
      if case .tensor = input.argument { input.path.joined(separator: ".") } else { nil }
    }
  }
}
