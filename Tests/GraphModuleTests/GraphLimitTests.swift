import TensorModule
import Testing

@testable import GraphModule

/// Says that it holds as many numbers as it is told.
private struct Holding: Operation {
  let ownNumbers: Int

  mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType { try ValueType([1]) }
  func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds() }
  func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {}
  func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {}
  func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {}
}

/// A few lines of a file can ask for tables of any size, and for any number of steps.
struct GraphLimitTests {
  @Test func operationsHaveALimit() throws {
    let builder = GraphBuilder(mostNodes: 3)
    for _ in 0..<3 {
      _ = try builder.apply(Holding(ownNumbers: 0), to: [], name: "a")
    }
    #expect(throws: GraphError.self) {
      try builder.apply(Holding(ownNumbers: 0), to: [], name: "one more")
    }
  }

  @Test func numbersOfItsOwnHaveALimit() throws {
    let builder = GraphBuilder()
    for _ in 0..<2 { _ = try builder.apply(Holding(ownNumbers: 1 << 25), to: [], name: "a") }
    #expect(throws: GraphError.self) {
      try builder.apply(Constant([0], shape: [1]), to: [], name: "one more")
    }
  }
}
