import Curvature
import TensorModule
import TestSupport
import Testing

@testable import GraphModule

/// Every operation of the table against plain loops over dual numbers: values, and the whole
/// Jacobian, whose products jvp, vjp and per-sample gradients must be, and whose rows the Gram
/// matrix must multiply.
///
/// Every real input is `x + b` with a parameter b of its own, so that the gradient of b is the
/// cotangent of the input; or b alone, which all samples share. What trains decides which paths an
/// operation takes: everything, and each parameter alone.
struct OperationCaseTests {
  @Test func optionsOfAnySizeAreErrors() {
    for far in [Int.min, -1, 1 << 40, Int.max] {
      let kinds: [View.Kind] = [
        .slice(axis: 0, start: 0, step: far, count: 2),
        .slice(axis: far, start: 0, step: 1, count: 1),
        .slice(axis: 0, start: far, step: 1, count: 1),
        .slice(axis: 0, start: 0, step: 1, count: far),
        .expand([far, 2]), .permute([far]),
      ]
      for kind in kinds {
        var view = View(kind)
        #expect(throws: GraphError.self) {
          try view.bind(Operands(inputs: [ValueType([2])], parameters: []))
        }
      }
    }
  }

  /// Larger ones would be rounded where they are computed in single precision.
  @Test func indicesAreThoseThatSinglePrecisionHas() throws {
    let operands = Operands(inputs: [try ValueType([2])], parameters: [])
    for bound in [Int.min, 0, (1 << 24) + 1, Int.max] {
      var operation = WholeNumbers(below: bound)
      #expect(throws: GraphError.self) { try operation.bind(operands) }
    }
    var largest = WholeNumbers(below: 1 << 24)
    #expect(try largest.bind(operands).element == .index(bound: 1 << 24))
  }

  /// What a description may apply them to is answered by a type or an error, never a trap.
  @Test(arguments: operationCases)
  func wrongOperandsAreErrors(_ test: OperationCase) throws {
    let shapes: [[Int]] = [[], [1], [7], [2, 3], [3, 2], [1, 1, 1], [5, 4, 3], [2, 2, 2, 2]]
    let large = try ValueType([1 << 15, 1 << 15])
    let own = try test.inputs.map { try ValueType($0.shape, $0.isReal ? .real : .boolean) }
    var tries: [Operands] = []
    for other in try shapes.map({ try ValueType($0) }) + [large, ValueType([4], .boolean)] {
      for place in own.indices {
        var inputs = own
        inputs[place] = other
        tries.append(Operands(inputs: inputs, parameters: test.parameters))
      }
      tries.append(
        Operands(inputs: own.map { _ in other }, parameters: test.parameters))
      tries.append(Operands(inputs: own + [other], parameters: test.parameters))
    }
    for shape in shapes + [[1 << 20, 1 << 10], [3, 3, 1 << 20, 1 << 10]] {
      for slot in test.parameters.indices {
        var parameters = test.parameters
        parameters[slot] = shape
        tries.append(Operands(inputs: own, parameters: parameters))
      }
      tries.append(Operands(inputs: own, parameters: test.parameters + [shape]))
    }
    tries.append(Operands(inputs: [], parameters: test.parameters))
    tries.append(Operands(inputs: own, parameters: []))
    var refused = 0
    for operands in tries {
      var operation = test.operation
      do throws(GraphError) { _ = try operation.bind(operands) } catch { refused += 1 }
    }
    #expect(refused > 0)
  }

  @Test func everyFunctionHasARow() {
    let tested = Set(operationCases.compactMap { ($0.operation as? Activation)?.function.name })
    #expect(tested == Set(ElementFunction.all.map(\.name)))
  }

  @Test(arguments: operationCases)
  func derivativesAreExactInDouble(_ test: OperationCase) throws {
    // Some dozen roundings of terms of the size of the largest result.
    try check(test, Double.self, tolerance: 1e-13)
  }

  @Test(arguments: operationCases)
  func derivativesAreExactInSingle(_ test: OperationCase) throws {
    // The same in units of 2^-24.
    try check(test, Float.self, tolerance: 2e-5)
  }

  private func check<S: EngineScalar>(
    _ test: OperationCase, _: S.Type, tolerance: Double
  ) throws {
    var forms = [OperationGraph.Form.plain, .twice]
    forms += test.realPlaces.map { .sharing($0) }
    for form in forms {
      let built = try OperationGraph(test, form)
      let names = built.graph.parameters.filter { !$0.isBuffer }.map(\.name)
      for trained in [names] + names.map({ [$0] }) {
        let program = Program(graph: built.graph, passes: []) { trained.contains($0.name) }
        OperationCheck<S>(built, program, tolerance: tolerance, label: "\(form), \(trained)").run()
      }
    }
  }
}

extension OperationCase {
  /// Inputs of numbers, the first alone where all are one value.
  var realPlaces: [Int] {
    let real = inputs.indices.filter { inputs[$0].isReal }
    return isOneValue ? Array(real.prefix(1)) : real
  }

  /// Different numbers for every sample; booleans are never all false.
  func whole(_ sample: Int) -> [[Int]] {
    inputs.compactMap { input in
      let places = 0..<input.shape.reduce(1, *)
      switch input {
      case .real: return nil
      case .index(_, let bound): return places.map { ($0 * 3 + sample * 2) % bound }
      case .boolean: return places.map { ($0 + sample) % 3 == 0 ? 0 : 1 }
      }
    }
  }
}

/// The graph of a case.
struct OperationGraph {
  enum Form: Equatable {
    case plain
    /// The operation applied two times to the same values and parameters, and added.
    case twice
    /// With this input made of its parameter alone.
    case sharing(Int)
  }
  let test: OperationCase
  let form: Form
  let graph: Graph

  init(_ test: OperationCase, _ form: Form) throws {
    self.test = test
    self.form = form
    let b = GraphBuilder()
    var values: [ValueID?] = []
    for (i, input) in test.inputs.enumerated() {
      let kind: ValueType.Element =
        switch input {
        case .real: .real
        case .index(_, let bound): .index(bound: bound)
        case .boolean: .boolean
        }
      let isUsed = !input.isReal || test.realPlaces.contains(i)
      values.append(isUsed ? try b.input("x\(i)", shape: input.shape, kind: kind) : nil)
    }
    for i in test.realPlaces {
      let shift = try b.parameter("b\(i)", shape: test.inputs[i].shape)
      values[i] =
        form == .sharing(i)
        ? try b.apply(ParameterValue(), to: [], parameters: [shift], name: "shared\(i)")
        : try b.apply(AddParameter(), to: [values[i]!], parameters: [shift], name: "shift\(i)")
    }
    let own = try test.parameters.enumerated().map { i, shape in
      try b.parameter(
        "p\(i)", shape: shape, storage: shape.count == 4 ? .channelsLast : .plain,
        isBuffer: i < test.frozen)
    }
    let first = test.realPlaces.first.flatMap { values[$0] }
    let inputs = values.map { $0 ?? first! }
    /// As numbers, where it gives whole ones.
    func applied(_ name: String) throws -> ValueID {
      let value = try b.apply(test.operation, to: inputs, parameters: own, name: name)
      return b.type(value).element == .real
        ? value : try b.apply(Cast(), to: [value], name: name)
    }
    var output = try applied("operation")
    if form == .twice {
      let again = try applied("again")
      output = try b.apply(Sum(), to: [output, again], name: "sum")
    }
    graph = b.finish(output: output, shape: [b.type(output).count])
  }
}

/// One program of a case, in one precision.
private struct OperationCheck<S: EngineScalar> {
  let built: OperationGraph
  let program: Program
  let tolerance: Double
  let label: String
  private let samples = 3
  private let parameters: [[Double]]
  /// Per sample and real input.
  private let inputs: [[[Double]]]
  private let cotangents: [[Double]]
  private let directions: [[Double]]

  init(_ built: OperationGraph, _ program: Program, tolerance: Double, label: String) {
    self.built = built
    self.program = program
    self.tolerance = tolerance
    self.label = label
    var random = SeededGenerator(seed: 5)
    let test = built.test
    // The parameter is in every form of the first input.
    parameters = program.graph.parameters.enumerated().map { place, spec in
      random.normals(spec.count, scale: 0.7).map {
        spec.isBuffer ? abs($0) : $0 + (place == 0 ? test.offset : 0)
      }
    }
    inputs = (0..<samples).map { _ in
      test.realPlaces.map { place in
        random.normals(test.inputs[place].shape.reduce(1, *), scale: 0.8)
      }
    }
    let outputs = samples * program.graph.outputShape[0]
    cotangents = (0..<3).map { _ in random.normals(outputs) }
    directions = (0..<3).map { _ in random.normals(program.parameterCount) }
  }

  private var store: ParameterStore<S> {
    ParameterStore(parameters.map { Vector($0.map { S($0) }) })
  }

  private var batch: BatchInputs<S> {
    let test = built.test
    var (real, whole) = (0, 0)
    var values: [BatchInputs<S>.Values] = []
    for (i, input) in test.inputs.enumerated() {
      if !input.isReal {
        values.append(
          .index(IndexVector((0..<samples).flatMap { test.whole($0)[whole].map(Int32.init) })))
        whole += 1
      } else if test.realPlaces.contains(i) {
        values.append(.real(Vector(inputs.flatMap { $0[real].map { S($0) } })))
        real += 1
      }
    }
    return BatchInputs(samples: samples, values: values)
  }

  /// The value of one sample, with its derivative with respect to one entry of a parameter.
  private func reference(
    _ sample: Int, _ derivative: (parameter: Int, entry: Int)? = nil
  ) -> [Dual] {
    var duals = parameters.map { $0.map { Dual($0) } }
    if let (parameter, entry) = derivative { duals[parameter][entry].derivative = 1 }
    let test = built.test
    let shifted = test.realPlaces.enumerated().map { i, place in
      built.form == .sharing(place)
        ? duals[i] : zip(inputs[sample][i], duals[i]).map { Dual($0) + $1 }
    }
    let factor = Dual(built.form == .twice ? 2 : 1)
    return test.value(shifted, test.whole(sample), Array(duals.dropFirst(shifted.count)))
      .map { factor * $0 }
  }

  /// J [N, P, out]
  private var jacobian: [[[Double]]] {
    let columns = program.trainable.flatMap { id in
      (0..<program.graph.parameters[id.index].count).map { (parameter: id.index, entry: $0) }
    }
    return (0..<samples).map { n in
      columns.map { column in reference(n, column).map(\.derivative) }
    }
  }

  func run() {
    let run = Run(program, store, batch, directions: 3)
    let expected = (0..<samples).flatMap { reference($0).map(\.value) }
    #expect(mismatch(run.values, expected, tolerance: tolerance) == nil, "value, \(label)")
    let jacobian = jacobian
    // Whole numbers have no derivative, and nothing asks for one.
    guard program.isActive[program.graph.output.index] else {
      #expect(jacobian.joined().joined().allSatisfy { $0 == 0 }, "\(label)")
      return
    }
    checkTangents(run, jacobian)
    let gradients = cotangents.map { w in
      let outputs = program.graph.outputShape[0]
      return jacobian.enumerated().map { n, columns in
        columns.map { dot($0, Array(w[n * outputs..<(n + 1) * outputs])) }
      }
    }
    checkGradients(run, gradients)
    checkGramMatrix(gradients)
  }

  private func checkTangents(_ run: Run<S>, _ jacobian: [[[Double]]]) {
    let vectors = directions.map { Vector($0.map { S($0) }) }
    let stacked = run.jvp(vectors)
    let size = jacobian.joined().joined().reduce(0) { max($0, abs($1)) } * 3
    for (r, v) in directions.enumerated() {
      let product = jacobian.flatMap { rows in
        (0..<program.graph.outputShape[0]).map { o in dot(rows.map { $0[o] }, v) }
      }
      func agrees(_ found: [Double]) -> Bool {
        mismatch(found, product, tolerance: tolerance, scale: size) == nil
      }
      #expect(agrees(stacked[r]), "jvp \(r), \(label)")
      #expect(agrees(run.jvp([vectors[r]])[0]), "direction \(r) alone, \(label)")
    }
  }

  private func checkGradients(_ run: Run<S>, _ expected: [[[Double]]]) {
    let (sums, rows) = run.vjp(cotangents)
    for (r, w) in cotangents.enumerated() {
      let size = expected[r].joined().reduce(0) { max($0, abs($1)) }
      var total = [Double](repeating: 0, count: program.parameterCount)
      for n in 0..<samples {
        #expect(
          mismatch(rows[r][n], expected[r][n], tolerance: tolerance, scale: size) == nil,
          "gradient of sample \(n), cotangent \(r), \(label)")
        for p in total.indices { total[p] += expected[r][n][p] }
      }
      #expect(
        mismatch(sums[r], total, tolerance: tolerance, scale: 3 * size) == nil,
        "gradient, cotangent \(r), \(label)")
      let alone = run.vjp([w]).sums[0]
      #expect(
        mismatch(alone, sums[r], tolerance: tolerance, scale: 3 * size) == nil,
        "cotangent \(r) alone, \(label)")
    }
  }

  /// In the form that each parameter has its gradients in, by factors where there are any.
  private func checkGramMatrix(_ gradients: [[[Double]]]) {
    let linearization = Linearization(
      program: program, parameters: store, inputs: batch, pool: WorkerPool(threads: 1))
    let outputs = program.graph.outputShape[0]
    let draws = 2
    let stored = linearization.perSampleGradients(
      draws: draws, scales: [Double](repeating: 1, count: draws * samples)
    ) { chunk, target in
      for d in 0..<draws {
        for i in 0..<chunk.count * outputs {
          target[d * chunk.count * outputs + i] = S(cotangents[d][chunk.first * outputs + i])
        }
      }
    }
    let gram = stored.gramMatrix()
    let rows = gradients.prefix(draws).flatMap { $0 }
    let size = rows.reduce(0) { max($0, dot($1, $1)) }
    for (i, a) in rows.enumerated() {
      for (j, b) in rows.enumerated() {
        // Of squares: twice the error of a gradient.
        #expect(
          mismatch([gram[i, j]], [dot(a, b)], tolerance: 2 * tolerance, scale: size) == nil,
          "Gram matrix, \(i) and \(j), \(label)")
      }
    }
  }
}
