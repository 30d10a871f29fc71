import TensorModule
import TestSupport
import Testing

@testable import GraphModule

/// The operations of transformers and adapters against plain loops over dual numbers: values,
/// and the whole Jacobian, whose products jvp, vjp and per-sample gradients must be.
///
/// Every real input is `x + b` with a parameter b of its own, so that the gradient of b is the
/// cotangent of the input. What trains decides which paths an operation takes: everything,
/// and each parameter alone.
struct TransformerOperationTests {
  @Test(arguments: transformerCases)
  func derivativesAreExactInDouble(_ test: TransformerCase) {
    // Some dozen roundings of terms of the size of the largest result.
    check(test, Double.self, tolerance: 1e-13)
  }

  @Test(arguments: transformerCases)
  func derivativesAreExactInSingle(_ test: TransformerCase) {
    // The same in units of 2^-24.
    check(test, Float.self, tolerance: 2e-5)
  }

  private func check<S: EngineScalar>(_ test: TransformerCase, _: S.Type, tolerance: Double) {
    let graph = test.graph
    let names = graph.parameters.map(\.name)
    for isTwice in [false, true] {
      let graph = isTwice ? test.twice : graph
      for trained in [names] + names.map({ [$0] }) {
        let program = Program(graph: graph) { trained.contains($0.name) }
        check(
          test, program, S.self, factor: isTwice ? 2 : 1, tolerance: tolerance,
          "\(trained)\(isTwice ? ", twice" : "")")
      }
    }
  }

  private func check<S: EngineScalar>(
    _ test: TransformerCase, _ program: Program, _: S.Type, factor: Double, tolerance: Double,
    _ label: String
  ) {
    let samples = 3
    var random = SeededGenerator(seed: 5)
    let parameters = program.graph.parameters.map { random.normals($0.count, scale: 0.7) }
    let inputs = (0..<samples).map { _ in
      test.realInputs.map { random.normals($0, scale: 0.8) }
    }
    let masks = (0..<samples).map { test.mask($0) }
    var values: [BatchInputs<S>.Values] = test.realInputs.indices.map { i in
      .real(Vector(inputs.flatMap { $0[i].map { S($0) } }))
    }
    if test.maskSize > 0 {
      values.append(.index(IndexVector(masks.flatMap { $0.map(Int32.init) })))
    }
    let run = Run(
      program, ParameterStore(parameters.map { Vector($0.map { S($0) }) }),
      BatchInputs(samples: samples, values: values), directions: 3)

    func reference(_ sample: Int, _ derivative: (parameter: Int, entry: Int)?) -> [Dual] {
      var duals = parameters.map { $0.map { Dual($0) } }
      if let (parameter, entry) = derivative { duals[parameter][entry].derivative = 1 }
      let shifted = inputs[sample].enumerated().map { i, x in
        zip(x, duals[i]).map { Dual($0) + $1 }
      }
      let own = Array(duals.dropFirst(shifted.count))
      return test.value(shifted, masks[sample], own).map { Dual(factor) * $0 }
    }
    let expected = (0..<samples).flatMap { reference($0, nil).map(\.value) }
    #expect(mismatch(run.values, expected, tolerance: tolerance) == nil, "value, \(label)")

    // J [N, out, P] column by column.
    let columns = program.trainable.flatMap { id in
      (0..<program.graph.parameters[id.index].count).map { (parameter: id.index, entry: $0) }
    }
    let jacobian = (0..<samples).map { n in
      columns.map { column in reference(n, column).map(\.derivative) }
    }
    let outputs = test.operation.outputSize
    let directions = (0..<3).map { _ in random.normals(columns.count) }
    let vectors = directions.map { Vector($0.map { S($0) }) }
    let stacked = run.jvp(vectors)
    for (r, v) in directions.enumerated() {
      let product = jacobian.flatMap { rows in
        (0..<outputs).map { o in dot(rows.map { $0[o] }, v) }
      }
      let size = jacobian.joined().joined().reduce(0) { max($0, abs($1)) } * 3
      func agrees(_ found: [Double]) -> Bool {
        mismatch(found, product, tolerance: tolerance, scale: size) == nil
      }
      #expect(agrees(stacked[r]), "jvp \(r), \(label)")
      #expect(agrees(run.jvp([vectors[r]])[0]), "direction \(r) alone, \(label)")
    }
    let cotangents = (0..<3).map { _ in random.normals(samples * outputs) }
    let (sums, rows) = run.vjp(cotangents)
    for (r, w) in cotangents.enumerated() {
      let expected = jacobian.enumerated().map { n, columns in
        columns.map { dot($0, Array(w[n * outputs..<(n + 1) * outputs])) }
      }
      let size = expected.joined().reduce(0) { max($0, abs($1)) }
      var total = [Double](repeating: 0, count: columns.count)
      for n in 0..<samples {
        #expect(
          mismatch(rows[r][n], expected[n], tolerance: tolerance, scale: size) == nil,
          "gradient of sample \(n), cotangent \(r), \(label)")
        for p in total.indices { total[p] += expected[n][p] }
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
}

/// An operation and its value in plain loops.
struct TransformerCase: Sendable, CustomStringConvertible {
  let description: String
  let operation: any Operation
  /// Entries of the operation's own parameters.
  var parameters: [Int] = []
  /// Whether all inputs are one value.
  var isOneValue = false
  /// Keys of the mask, the last input.
  var maskSize = 0
  /// The value from inputs, mask and parameters of one sample.
  let value: @Sendable (_ x: [[Dual]], _ mask: [Int], _ parameters: [[Dual]]) -> [Dual]

  var realInputs: [Int] {
    let sizes = operation.inputSizes
    return isOneValue ? [sizes[0]] : sizes.dropLast(maskSize > 0 ? 1 : 0)
  }

  /// Another part of the keys for every sample, never none.
  func mask(_ sample: Int) -> [Int] { (0..<maskSize).map { ($0 + sample) % 3 == 0 ? 0 : 1 } }

  var graph: Graph { built(times: 1) }
  /// The operation applied two times to the same values and parameters, and added.
  var twice: Graph { built(times: 2) }

  private func built(times: Int) -> Graph {
    var b = GraphBuilder()
    let reals = realInputs.enumerated().map { i, size in
      b.input("x\(i)", shape: [size], kind: .real)
    }
    var last: [ValueID] = []
    if maskSize > 0 { last = [b.input("mask", shape: [maskSize], kind: .index(bound: 2))] }
    let shifts = realInputs.enumerated().map { i, size in
      b.parameter("b\(i)", shape: [size])!
    }
    let own = parameters.enumerated().map { i, size in b.parameter("p\(i)", shape: [size])! }
    var inputs = zip(reals, shifts).enumerated().map { i, pair in
      b.apply(
        AddParameter(size: realInputs[i]), to: [pair.0], parameters: [pair.1], name: "shift\(i)")
    }
    if isOneValue { inputs = operation.inputSizes.map { _ in inputs[0] } }
    var output = b.apply(operation, to: inputs + last, parameters: own, name: "operation")
    for _ in 1..<times {
      let again = b.apply(operation, to: inputs + last, parameters: own, name: "again")
      output = b.apply(Sum(size: operation.outputSize), to: [output, again], name: "sum")
    }
    return b.finish(output: output, shape: [operation.outputSize])
  }
}

/// Row of a distance in a table of five, as for a window of distances.
private func window(isCausal: Bool) -> @Sendable (Int) -> Int32 {
  { distance in
    isCausal && distance > 0 ? -1 : Int32(min(abs(distance) + (distance > 0 ? 2 : 0), 4))
  }
}

private func attention(
  _ name: String, queries: Int, keys: Int, heads: Int = 2, width: Int = 3, scale: Double = 0.6,
  hasMask: Bool = false, row: (@Sendable (Int) -> Int32)? = nil, hasTable: Bool = false,
  first: Int = 0
) -> TransformerCase {
  let operation = Attention(
    queries: queries, keys: keys, heads: heads, width: width, scale: scale, hasMask: hasMask,
    buckets: row.map {
      PositionBuckets(queries: (0..<queries).map { first + $0 }, keys: keys, row: $0)
    }, tableRows: hasTable ? 5 : 0)
  return TransformerCase(
    description: "attention, " + name, operation: operation,
    parameters: hasTable ? [5 * heads] : [], maskSize: hasMask ? keys : 0
  ) { x, mask, parameters in
    let columns = heads * width
    var output = [Dual](repeating: Dual(0), count: queries * columns)
    for h in 0..<heads {
      for q in 0..<queries {
        var weights: [Dual] = []
        for k in 0..<keys {
          let bucket = row.map { Int($0(k - q - first)) } ?? 0
          if bucket < 0 || (hasMask && mask[k] == 0) {
            weights.append(Dual(0))
            continue
          }
          var score = hasTable ? parameters[0][bucket * heads + h] : Dual(0)
          for d in 0..<width {
            let i = h * width + d
            score = score + Dual(scale) * x[0][q * columns + i] * x[1][k * columns + i]
          }
          weights.append(score.exponential)
        }
        let sum = weights.reduce(Dual(0), +)
        for k in 0..<keys {
          for d in 0..<width {
            let i = h * width + d
            output[q * columns + i] =
              output[q * columns + i] + weights[k] / sum * x[2][k * columns + i]
          }
        }
      }
    }
    return output
  }
}

private func lowRank(positions: Int, rank: Int, outputs: Int) -> TransformerCase {
  let scale = -1.5
  return TransformerCase(
    description: "low-rank update, \(positions) x \(rank) x \(outputs)",
    operation: LowRankUpdate(positions: positions, rank: rank, outputs: outputs, scale: scale),
    parameters: [outputs * rank]
  ) { x, _, parameters in
    (0..<positions * outputs).map { i in
      let (t, o) = (i / outputs, i % outputs)
      var sum = x[0][i]
      for r in 0..<rank {
        sum = sum + Dual(scale) * parameters[0][o * rank + r] * x[1][t * rank + r]
      }
      return sum
    }
  }
}

private func headLinear(
  positions: Int = 2, heads: Int, width: Int, columns: Int, isTransposed: Bool, hasBias: Bool
) -> TransformerCase {
  let scale = 0.7
  let (inputs, outputs) = isTransposed ? (width, columns) : (columns, width)
  return TransformerCase(
    description: "linear of \(heads) heads, \(width) x \(columns)"
      + (isTransposed ? ", transposed" : "") + (hasBias ? ", bias" : ""),
    operation: HeadLinear(
      positions: positions, heads: heads, width: width, columns: columns, scale: scale,
      isTransposed: isTransposed, hasBias: hasBias),
    parameters: [heads * width * columns] + (hasBias ? [heads * width] : [])
  ) { x, _, parameters in
    (0..<positions * heads * outputs).map { i in
      let (at, o) = (i / outputs, i % outputs)
      let h = at % heads
      // The bias of keys moves nothing.
      var sum = hasBias && !isTransposed ? parameters[1][h * width + o] : Dual(0)
      for k in 0..<inputs {
        let (row, column) = isTransposed ? (k, o) : (o, k)
        let weight = parameters[0][(h * width + row) * columns + column]
        sum = sum + Dual(scale) * weight * x[0][at * inputs + k]
      }
      return sum
    }
  }
}

let transformerCases: [TransformerCase] = [
  attention("plain", queries: 3, keys: 3),
  attention("one head", queries: 2, keys: 2, heads: 1, width: 4),
  attention("one query", queries: 1, keys: 4),
  attention("more queries than keys", queries: 4, keys: 2),
  attention("more keys than a vector", queries: 2, keys: 19, heads: 1, width: 2),
  // 108 weights, which are not kept, of 54 numbers in Q, K and V.
  attention("more weights than inputs", queries: 6, keys: 6, heads: 3, width: 1),
  attention("mask", queries: 3, keys: 4, hasMask: true),
  attention("causal", queries: 4, keys: 4, row: window(isCausal: true)),
  attention(
    "causal with a table", queries: 4, keys: 4, row: window(isCausal: true),
    hasTable: true),
  attention(
    "table", queries: 2, keys: 5, scale: 1, row: window(isCausal: false),
    hasTable: true),
  attention(
    "mask and table", queries: 3, keys: 5, hasMask: true,
    row: window(isCausal: false), hasTable: true),
  attention(
    "last queries, causal with a table", queries: 2, keys: 4, row: window(isCausal: true),
    hasTable: true, first: 2),
  headLinear(heads: 2, width: 3, columns: 4, isTransposed: false, hasBias: false),
  headLinear(heads: 2, width: 2, columns: 3, isTransposed: false, hasBias: true),
  headLinear(heads: 2, width: 3, columns: 4, isTransposed: true, hasBias: false),
  headLinear(heads: 3, width: 1, columns: 2, isTransposed: true, hasBias: true),
  headLinear(heads: 1, width: 2, columns: 5, isTransposed: true, hasBias: false),
  lowRank(positions: 1, rank: 1, outputs: 3),
  lowRank(positions: 3, rank: 2, outputs: 4),
  lowRank(positions: 2, rank: 5, outputs: 3),
  TransformerCase(
    description: "prepend", operation: Prepend(prefix: 2, tokens: 3, columns: 2), parameters: [4]
  ) { x, _, parameters in parameters[0] + x[0] },
  TransformerCase(
    description: "prepend of a part of the table",
    operation: Prepend(prefix: 2, tokens: 3, columns: 2), parameters: [8]
  ) { x, _, parameters in parameters[0].prefix(4) + x[0] },
  TransformerCase(
    description: "add parameter", operation: AddParameter(size: 6), parameters: [6]
  ) { x, _, parameters in zip(x[0], parameters[0]).map { $0 + $1 } },
  TransformerCase(
    description: "select rows", operation: SelectRows(rows: [0, 2, 3], of: 5, columns: 2)
  ) { x, _, _ in [0, 1, 4, 5, 6, 7].map { x[0][$0] } },
  TransformerCase(
    description: "select one row", operation: SelectRows(rows: [1], of: 3, columns: 3)
  ) { x, _, _ in Array(x[0][3..<6]) },
  TransformerCase(description: "product", operation: Product(size: 5)) { x, _, _ in
    zip(x[0], x[1]).map { $0 * $1 }
  },
  TransformerCase(
    description: "product with itself", operation: Product(size: 5), isOneValue: true
  ) { x, _, _ in x[0].map { $0 * $0 } },
  TransformerCase(description: "scale", operation: Scale(factor: -0.3, size: 4)) { x, _, _ in
    x[0].map { Dual(-0.3) * $0 }
  },
  // One value for everything, as in attention without projections.
  TransformerCase(
    description: "attention to itself",
    operation: Attention(queries: 2, keys: 2, heads: 1, width: 2, scale: 1, hasMask: false),
    isOneValue: true
  ) { x, mask, parameters in
    attention("", queries: 2, keys: 2, heads: 1, width: 2, scale: 1)
      .value([x[0], x[0], x[0]], mask, parameters)
  },
]
