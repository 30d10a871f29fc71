import TensorModule
import TestSupport
import Testing

@testable import GraphModule

/// A graph at one position of a sample gives that row of the whole graph's output, and what acts row by
/// row is computed for that row alone.
struct OnePositionTests {
  private let positions = 3
  private let columns = 4

  /// Rows that attention mixes, and behind it a branch of layers, norms and products with its shortcut.
  private func graph() throws -> Graph {
    let builder = GraphBuilder()
    let x = try builder.input("x", shape: [positions, columns], kind: .real)
    let mixed = try builder.apply(Attention(heads: 2, scale: 0.7), to: [x, x, x], name: "mix")
    func layer(_ x: ValueID, _ name: String, _ outputs: Int) throws -> ValueID {
      let weight = try builder.parameter(name + ".weight", shape: [outputs, columns])
      let bias = try builder.parameter(name + ".bias", shape: [outputs])
      return try builder.apply(Linear(), to: [x], parameters: [weight, bias], name: name)
    }
    let gate = try builder.apply(
      Activation(.tanh), to: [layer(mixed, "gate", columns)], name: "gate")
    let product = try builder.apply(
      Product(), to: [gate, layer(mixed, "up", columns)], name: "product")
    let sum = try builder.apply(Sum(), to: [product, mixed], name: "sum")
    return builder.finish(output: try layer(sum, "head", 5), shape: [positions, 5])
  }

  @Test func outputIsTheRowOfThePosition() throws {
    let whole = try graph()
    let single = try whole.atOnePosition("place")
    #expect(single.outputShape == [5] && single.inputs.map(\.name) == ["x", "place"])
    #expect(single.parameters.map(\.name) == whole.parameters.map(\.name))
    var random = SeededGenerator(seed: 5)
    let parameters = ParameterStore(
      whole.parameters.map { Vector(random.normals($0.count, scale: 0.6)) })
    let inputs = random.normals(2 * positions * columns, scale: 1)
    let x = BatchInputs<Double>.Values.real(Vector(inputs))
    let programs = [whole, single].map { Program(graph: $0) { _ in true } }
    let direction = Vector(random.normals(programs[0].parameterCount, scale: 1))
    let all = Run(programs[0], parameters, BatchInputs(samples: 2, values: [x]), directions: 1)
    for place in 0..<positions {
      let places = IndexVector([Int32(place), Int32(positions - 1 - place)])
      let one = Run(
        programs[1], parameters, BatchInputs(samples: 2, values: [x, .index(places)]),
        directions: 1)
      func rows(_ values: [Double]) -> [Double] {
        [place, positions + positions - 1 - place].flatMap { values[5 * $0..<5 * ($0 + 1)] }
      }
      // Products of other heights are summed in the same order, or nearly so.
      #expect(mismatch(one.values, rows(all.values), tolerance: 1e-14) == nil)
      #expect(
        mismatch(one.jvp([direction])[0], rows(all.jvp([direction])[0]), tolerance: 1e-13) == nil)
      // <w, J v> = <J^T w, v>, for cotangents of the one row.
      let w = random.normals(10, scale: 1)
      let gradient = one.vjp([w]).sums[0]
      let (a, b) = (
        zip(w, one.jvp([direction])[0]).reduce(0) { $0 + $1.0 * $1.1 },
        zip(gradient, direction.array).reduce(0) { $0 + $1.0 * $1.1 }
      )
      #expect(mismatch(a, b, tolerance: 1e-12) == nil)
    }
  }

  @Test func layersBehindTheLastMixtureAreOfOneRow() throws {
    let single = try graph().atOnePosition("place")
    let layers = single.nodes.compactMap { $0.operation as? Linear }
    #expect(layers.map(\.positions) == [1, 1, 1])
    #expect(single.nodes.count { $0.operation is Attention } == 1)
    #expect(single.nodes.count { $0.operation is Lookup } == 1)
  }
}
