import TensorModule
import TestSupport
import Testing

@testable import GraphModule

/// Every pass on a graph that it rewrites, whose values, tangents and gradients stay what they were,
/// and on one that it must leave alone.
struct LoweringTests {
  @Test(arguments: loweringCases)
  func passesChangeNothingButTheWay(_ test: LoweringCase) throws {
    let graph = try test.build()
    let plain = Program(graph: graph, passes: [], isTrainable: test.trains)
    let lowered = Program(graph: graph, passes: [test.pass], isTrainable: test.trains)
    #expect(lowered.isLayerwise == (test.pass.keepsLayers || !test.applies))
    #expect(test.names(lowered) != test.names(plain) || !test.applies, "\(test): did not apply")
    #expect(test.names(lowered) == test.names(plain) || test.applies, "\(test): applied")
    #expect(lowered.graph.parameters.map(\.name) == plain.graph.parameters.map(\.name))
    let isSmaller =
      lowered.operationCount < plain.operationCount
      || lowered.graph.nodes.count <= plain.graph.nodes.count
    #expect(isSmaller, "\(test): costs more")
    // Sums of a few dozen terms in another order.
    try compare(plain, lowered, Double.self, tolerance: 1e-13)
    try compare(plain, lowered, Float.self, tolerance: 5e-5)
  }

  /// All passes, one after the other, on all graphs.
  @Test(arguments: loweringCases)
  func passesWorkTogether(_ test: LoweringCase) throws {
    let graph = try test.build()
    let plain = Program(graph: graph, passes: [], isTrainable: test.trains)
    let lowered = Program(graph: graph, isTrainable: test.trains)
    try compare(plain, lowered, Double.self, tolerance: 1e-13)
    #expect(lowered.layerwise.isLayerwise)
    try compare(plain, lowered.layerwise, Double.self, tolerance: 1e-13)
  }

  private func compare<S: EngineScalar>(
    _ plain: Program, _ lowered: Program, _: S.Type, tolerance: Double
  ) throws {
    let samples = 3
    var random = SeededGenerator(seed: 11)
    let parameters = plain.graph.parameters.map { random.normals($0.count, scale: 0.7) }
    let inputs: [BatchInputs<S>.Values] = plain.graph.inputs.map { spec in
      let count = samples * spec.shape.reduce(1, *)
      guard spec.kind == .real else {
        return .index(IndexVector((0..<count).map { Int32($0 % 4 == 1 ? 0 : 1) }))
      }
      return .real(Vector(random.normals(count).map { S($0) }))
    }
    let runs = [plain, lowered].map {
      Run(
        $0, ParameterStore(parameters.map { Vector($0.map { S($0) }) }),
        BatchInputs(samples: samples, values: inputs), directions: 2)
    }
    #expect(mismatch(runs[1].values, runs[0].values, tolerance: tolerance) == nil)
    let directions = (0..<2).map { _ in
      Vector(random.normals(plain.parameterCount).map { S($0) })
    }
    let tangents = runs.map { $0.jvp(directions) }
    let outputs = samples * plain.graph.outputShape.reduce(1, *)
    let cotangents = (0..<2).map { _ in random.normals(outputs) }
    let gradients = runs.map { $0.vjp(cotangents) }
    for r in 0..<2 {
      #expect(mismatch(tangents[1][r], tangents[0][r], tolerance: tolerance) == nil)
      let scale = gradients[0].sums[r].reduce(0) { max($0, abs($1)) }
      func agree(_ a: [Double], _ b: [Double]) -> Bool {
        mismatch(a, b, tolerance: tolerance, scale: scale) == nil
      }
      #expect(agree(gradients[1].sums[r], gradients[0].sums[r]))
      for n in 0..<samples { #expect(agree(gradients[1].rows[r][n], gradients[0].rows[r][n])) }
    }
  }
}

/// A graph with a pass that rewrites it, or must not.
struct LoweringCase: Sendable, CustomStringConvertible {
  let description: String
  let pass: any LoweringPass
  let applies: Bool
  let frozen: Set<String>
  let make: @Sendable (inout LoweringGraph) throws -> ValueID

  init(
    _ description: String, _ pass: any LoweringPass, applies: Bool = true,
    frozen: Set<String> = [], _ make: @escaping @Sendable (inout LoweringGraph) throws -> ValueID
  ) {
    self.description = description
    self.pass = pass
    self.applies = applies
    self.frozen = frozen
    self.make = make
  }

  func build() throws -> Graph {
    var graph = LoweringGraph()
    let output = try make(&graph)
    return graph.builder.finish(output: output, shape: [graph.builder.type(output).count])
  }

  func trains(_ spec: ParameterSpec) -> Bool { !frozen.contains(spec.name) }

  /// What is computed, and in which groups.
  func names(_ program: Program) -> [String] {
    program.graph.nodes.map { "\(type(of: $0.operation)) of \($0.size)" }
      + program.graph.tangentFusions.map { "\($0.nodes)" }
  }
}

/// Builds graphs in few words.
struct LoweringGraph {
  let builder = GraphBuilder()

  mutating func input(
    _ name: String, _ shape: [Int], _ kind: ValueType.Element = .real
  ) throws -> ValueID {
    try builder.input(name, shape: shape, kind: kind)
  }

  mutating func apply(
    _ operation: some GraphModule.Operation, _ inputs: ValueID...,
    parameters: [(String, [Int])] = [],
    storage: ParameterSpec.Storage = .plain
  ) throws -> ValueID {
    let ids = try parameters.map { name, shape in
      try builder.parameter(
        name, shape: shape, storage: shape.count == 4 ? .channelsLast : .plain)
    }
    return try builder.apply(operation, to: inputs, parameters: ids, name: "\(type(of: operation))")
  }

  mutating func linear(
    _ x: ValueID, _ name: String, _ outputs: Int, bias: Bool = false
  ) throws -> ValueID {
    let inputs = builder.type(x).shape.last!
    return try apply(
      Linear(), x,
      parameters: [(name, [outputs, inputs])] + (bias ? [(name + ".bias", [outputs])] : []))
  }

  /// `x + b`: a value that depends on a parameter.
  mutating func shifted(_ x: ValueID, _ name: String) throws -> ValueID {
    try apply(AddParameter(), x, parameters: [(name, builder.type(x).shape)])
  }

  /// `W x + s B A x`
  mutating func adapted(
    _ x: ValueID, _ name: String, _ outputs: Int, bias: Bool = false
  ) throws -> ValueID {
    let base = try linear(x, name, outputs, bias: bias)
    let up = try linear(linear(x, name + ".A", 2), name + ".B", outputs)
    return try apply(Sum(), base, apply(Scale(factor: 1.5), up))
  }

  mutating func attention(
    queries: ValueID, keys: ValueID, width: Int, heads: Int, mask: ValueID? = nil,
    buckets: PositionBuckets? = nil, isAdapted: Bool = false
  ) throws -> ValueID {
    let k = isAdapted ? try adapted(keys, "k", width, bias: true) : try linear(keys, "k", width)
    let v = isAdapted ? try adapted(keys, "v", width, bias: true) : try linear(keys, "v", width)
    let inputs = [queries, k, v] + (mask.map { [$0] } ?? [])
    return try builder.apply(
      Attention(heads: heads, scale: 0.6, buckets: buckets), to: inputs, name: "attention")
  }
}
