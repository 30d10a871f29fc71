import Curvature
import GraphModule
import TensorModule

@testable import Models

/// One ATen operator on numbers, for two samples, by the engine.
struct OperatorProbe {
  static let samples = 2
  var builder = TensorBuilder()
  private var inputs: [BatchInputs<Double>.Values] = []

  /// An input `[samples, sizes]`, sample behind sample.
  mutating func input(_ sizes: [Int], _ values: [Double]) throws -> ImportedTensor {
    let id = try builder.graph.input("x\(inputs.count)", shape: sizes, kind: .real)
    inputs.append(.real(Vector(values)))
    return ImportedTensor(
      sizes: [builder.samples] + sizes, batch: .init(axis: 0), kind: .real,
      storage: .node(id, order: Array(0..<sizes.count + 2)))
  }

  /// Whole numbers that the graph takes for computed ones.
  mutating func indices(_ sizes: [Int], _ values: [Double]) throws -> ImportedTensor {
    builder.with(try input(sizes, values), kind: .integer)
  }

  static func constant(_ sizes: [Int], _ values: [Double], _ kind: ImportedTensor.Kind = .real)
    -> ImportedTensor
  {
    ImportedTensor(sizes: sizes, batch: nil, kind: kind, storage: .constant(values))
  }

  /// The first result of an operator.
  mutating func call(
    _ name: Substring, _ arguments: [String: OperatorCall.Value], sizes: [Int] = []
  ) throws -> ImportedTensor {
    guard let build = Operators.builder(name) else { throw ImportFailure("no \(name)") }
    return try build(
      &builder, OperatorCall(results: [(sizes, .real)], arguments: arguments))[0]
  }

  /// The numbers of both samples.
  mutating func values(of result: ImportedTensor) throws -> [Double] {
    guard result.batch == .init(axis: 0) else { throw ImportFailure("samples are not in front") }
    let count = result.sizes.dropFirst().reduce(1, *)
    let flat = try builder.viewed(result, [builder.samples, count])
    // Something to train.
    let offset = try builder.parameter("offset", [count])
    let moved = try builder.sum(flat, offset)
    let id = try builder.reshaped(builder.canonical(moved), to: [count])
    return Linearization(
      program: Program(graph: builder.graph.finish(output: id, shape: [count])) { _ in true },
      parameters: ParameterStore([Vector<Double>([Double](repeating: 0, count: count))]),
      inputs: BatchInputs(samples: Self.samples, values: inputs), pool: WorkerPool(threads: 1)
    ).allLogits
  }
}
