import Testing

@testable import GraphModule

/// Files and engine have their own orders of a weight.
struct ParameterStorageTests {
  @Test func transposedWeightsHaveOutputsAsRows() {
    let spec = ParameterSpec(
      name: "w", shape: [2, 3], storage: .transposed, isBuffer: false)
    #expect(spec.shapeOfUse == [3, 2])
    // [in, out] = [2, 3]
    let file: [Double] = [1, 2, 3, 4, 5, 6]
    var (engine, back) = ([Double](repeating: 0, count: 6), [Double](repeating: 0, count: 6))
    spec.reorder(file, into: &engine)
    #expect(engine == [1, 4, 2, 5, 3, 6])
    spec.reorder(engine, into: &back, toFile: true)
    #expect(back == file)
  }

  @Test func linearLayersTakeThem() throws {
    let builder = GraphBuilder()
    let x = try builder.input("x", shape: [4, 2], kind: .real)
    let weight = try builder.parameter("w", shape: [2, 3], storage: .transposed)
    let y = try builder.apply(Linear(), to: [x], parameters: [weight], name: "layer")
    #expect(builder.type(y).shape == [4, 3])
  }
}
