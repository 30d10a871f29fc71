import TensorModule
import TestSupport
import Testing

@testable import GraphModule

/// Projections of keys and values on the other side of attention (`HeadLinear`) against the same
/// attention with every key and value projected: values, tangents and gradients.
struct GatheredAttentionTests {
  private static let (queries, keys, heads, width, columns) = (2, 5, 3, 2, 4)
  private static var narrow: Int { heads * width }

  @Test(arguments: [false, true])
  func agreesWithProjectedKeysAndValues(_ hasMask: Bool) throws {
    let plain = Program(graph: try graph(gathers: false, hasMask: hasMask)) { _ in true }
    let gathered = Program(graph: try graph(gathers: true, hasMask: hasMask)) { _ in true }
    #expect(plain.graph.parameters.map(\.name) == gathered.graph.parameters.map(\.name))
    let samples = 3
    var random = SeededGenerator(seed: 11)
    let parameters = plain.graph.parameters.map { random.normals($0.count, scale: 0.7) }
    let x = random.normals(samples * Self.queries * Self.narrow)
    let y = random.normals(samples * Self.keys * Self.columns)
    var inputs: [BatchInputs<Double>.Values] = [.real(Vector(x)), .real(Vector(y))]
    if hasMask {
      let mask = (0..<samples * Self.keys).map { Int32($0 % 4 == 1 ? 0 : 1) }
      inputs.append(.index(IndexVector(mask)))
    }
    let runs = [plain, gathered].map {
      Run(
        $0, ParameterStore(parameters.map { Vector($0) }),
        BatchInputs(samples: samples, values: inputs), directions: 2)
    }
    // Sums of a few dozen terms in another order.
    let tolerance = 1e-13
    #expect(mismatch(runs[1].values, runs[0].values, tolerance: tolerance) == nil)
    let directions = (0..<2).map { _ in Vector(random.normals(plain.parameterCount)) }
    let tangents = runs.map { $0.jvp(directions) }
    let cotangents = (0..<2).map { _ in random.normals(samples * Self.queries * Self.narrow) }
    let gradients = runs.map { $0.vjp(cotangents) }
    for r in 0..<2 {
      #expect(mismatch(tangents[1][r], tangents[0][r], tolerance: tolerance) == nil)
      #expect(mismatch(gradients[1].sums[r], gradients[0].sums[r], tolerance: tolerance) == nil)
      for n in 0..<samples {
        #expect(
          mismatch(gradients[1].rows[r][n], gradients[0].rows[r][n], tolerance: tolerance) == nil)
      }
    }
  }

  /// x + b are the queries, y + c the tokens.
  private func graph(gathers: Bool, hasMask: Bool) throws -> Graph {
    let (queries, keys, heads, columns, narrow) = (
      Self.queries, Self.keys, Self.heads, Self.columns, Self.narrow
    )
    var b = GraphBuilder()
    let x = try b.input("x", shape: [queries, narrow], kind: .real)
    let y = try b.input("y", shape: [keys, columns], kind: .real)
    let mask = hasMask ? [try b.input("mask", shape: [keys], kind: .index(bound: 2))] : []
    let shiftX = try b.parameter("b", shape: [queries, narrow])
    let shiftY = try b.parameter("c", shape: [keys, columns])
    let key = try ["key", "key.bias"].map {
      try b.parameter($0, shape: $0 == "key" ? [narrow, columns] : [narrow])
    }
    let value = try ["value", "value.bias"].map {
      try b.parameter($0, shape: $0 == "value" ? [narrow, columns] : [narrow])
    }
    let q = try b.apply(
      AddParameter(), to: [x], parameters: [shiftX], name: "q")
    let tokens = try b.apply(
      AddParameter(), to: [y], parameters: [shiftY], name: "tokens")
    let output: ValueID
    if gathers {
      func layer(_ isTransposed: Bool) -> HeadLinear {
        HeadLinear(heads: heads, isTransposed: isTransposed)
      }
      let looking = try b.apply(layer(true), to: [q], parameters: key, name: "key")
      let attention = Attention(heads: 1, scale: 0.6)
      let gathered = try b.apply(
        attention, to: [looking, tokens, tokens] + mask, name: "attention")
      output = try b.apply(layer(false), to: [gathered], parameters: value, name: "value")
    } else {
      let layer = Linear()
      let k = try b.apply(layer, to: [tokens], parameters: key, name: "key")
      let v = try b.apply(layer, to: [tokens], parameters: value, name: "value")
      let attention = Attention(heads: heads, scale: 0.6)
      output = try b.apply(attention, to: [q, k, v] + mask, name: "attention")
    }
    return b.finish(output: output, shape: [queries * narrow])
  }
}
