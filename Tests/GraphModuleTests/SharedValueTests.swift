import Curvature
import Synchronization
import TensorModule
import TestSupport
import Testing

@testable import GraphModule

/// Values that all samples share.
struct SharedValueTests {
  /// How often a value is computed, whatever the number of samples, chunks and passes.
  @Test(arguments: [(false, 1), (true, 12)])
  func frozenSharedValuesAreComputedOnce(_ trains: Bool, expected: Int) throws {
    let b = GraphBuilder()
    let x = try b.input("x", shape: [2, 3], kind: .real)
    let table = try b.parameter("table", shape: [2, 3])
    let weight = try b.parameter("weight", shape: [3])
    let value = try b.apply(ParameterValue(), to: [], parameters: [table], name: "table")
    let counter = Counter()
    let counted = try b.apply(Counted(counter: counter), to: [value], name: "counted")
    let sum = try b.apply(Sum(), to: [x, counted], name: "sum")
    let scale = try b.apply(ParameterValue(), to: [], parameters: [weight], name: "weight")
    let output = try b.apply(Product(), to: [sum, scale], name: "product")
    let program = Program(graph: b.finish(output: output, shape: [6])) {
      trains || $0.name == "weight"
    }
    var random = SeededGenerator(seed: 3)
    let samples = 12
    let linearization = Linearization<Double>(
      program: program, parameters: ParameterStore([6, 3].map { Vector(random.normals($0)) }),
      inputs: BatchInputs(samples: samples, values: [.real(Vector(random.normals(samples * 6)))]),
      pool: WorkerPool(threads: 2))
    // By samples: one row where the value is one.
    #expect(counter.rows.withLock { $0 } == expected)
    _ = linearization
  }

  final class Counter: Sendable {
    let rows = Mutex(0)
  }

  /// The value itself.
  struct Counted: GraphModule.Operation {
    let counter: Counter
    private var size = 0

    init(counter: Counter) { self.counter = counter }

    mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
      size = operands.inputs[0].count
      return operands.inputs[0]
    }

    func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

    func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
      counter.rows.withLock { $0 += pass.samples }
      Kernels.copy(pass.value(0), pass.output, count: pass.samples * size)
    }

    func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
      Kernels.copy(pass.tangent(0)!, pass.output, count: pass.directions * pass.samples * size)
    }

    func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {}
  }

  @Test func typesSayWhatIsShared() throws {
    let b = GraphBuilder()
    let x = try b.input("x", shape: [3], kind: .real)
    let constant = try b.apply(Constant([1, 2, 3], shape: [3]), to: [], name: "constant")
    let both = try b.apply(Sum(), to: [constant, constant], name: "both")
    let sum = try b.apply(Sum(), to: [x, both], name: "sum")
    #expect(b.type(both).isShared && !b.type(x).isShared && !b.type(sum).isShared)
  }

  @Test func constantsThatDoNotFitAreErrors() throws {
    let b = GraphBuilder()
    for constant in [
      Constant([1, 2], shape: [3]), Constant([1, 5], shape: [2], element: .index(bound: 5)),
      Constant([0.5], shape: [1], element: .index(bound: 5)),
      Constant([2], shape: [1], element: .boolean),
    ] {
      let error = #expect(throws: GraphError.self) {
        try b.apply(constant, to: [], name: "a constant")
      }
      #expect(error?.node == "a constant")
    }
  }
}
