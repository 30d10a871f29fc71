import Foundation
import TensorModule
import TestSupport

@testable import GraphModule

/// What an operation is applied to in a case.
enum OperationInput: Sendable {
  case real([Int])
  case index([Int], bound: Int)
  case boolean([Int])

  var shape: [Int] {
    switch self {
    case .real(let shape), .index(let shape, _), .boolean(let shape): shape
    }
  }

  var isReal: Bool { if case .real = self { true } else { false } }
}

/// An operation and its value in plain loops: one row for each operation and each way it can take.
/// `OperationCaseTests` compares everything else with it.
struct OperationCase: Sendable, CustomStringConvertible {
  let description: String
  let operation: any GraphModule.Operation
  let inputs: [OperationInput]
  /// Shapes of the operation's own parameters.
  let parameters: [[Int]]
  /// Whether all inputs are one value.
  let isOneValue: Bool
  /// Added to the numbers of the first input, for functions that are not defined everywhere.
  let offset: Double
  /// How many of the parameters, from the first, are stored statistics: never trained, and positive.
  let frozen: Int
  /// The value from real inputs, whole inputs and parameters of one sample.
  let value: @Sendable (_ x: [[Dual]], _ whole: [[Int]], _ parameters: [[Dual]]) -> [Dual]

  init(
    _ description: String, _ operation: any GraphModule.Operation, _ inputs: [OperationInput],
    parameters: [[Int]] = [], isOneValue: Bool = false, offset: Double = 0,
    frozen: Int = 0,
    _ value:
      @escaping @Sendable (
        _ x: [[Dual]], _ whole: [[Int]], _ parameters: [[Dual]]
      ) -> [Dual]
  ) {
    self.description = description
    self.operation = operation
    self.inputs = inputs
    self.parameters = parameters
    self.isOneValue = isOneValue
    self.offset = offset
    self.frozen = frozen
    self.value = value
  }
}

let operationCases: [OperationCase] = Array(
  [
    elementCases, layerOperationCases, layerCasesOfTransformers, viewCases, tensorCases,
  ].joined())

private let layerCasesOfTransformers: [OperationCase] = [
  attention("plain", queries: 3, keys: 3),
  attention("one head", queries: 2, keys: 2, heads: 1, width: 4),
  attention("one query", queries: 1, keys: 4),
  attention("more queries than keys", queries: 4, keys: 2),
  attention("more keys than a vector", queries: 2, keys: 19, heads: 1, width: 2),
  // 108 weights, which are not kept, of 54 numbers in Q, K and V.
  attention("more weights than inputs", queries: 6, keys: 6, heads: 3, width: 1),
  // The same in tiles of two queries, or of all: with all that hides keys, and with a table.
  attention("in tiles", queries: 6, keys: 6, heads: 3, width: 1, tileSize: 12),
  attention(
    "in tiles, masked", queries: 5, keys: 6, heads: 4, width: 1, hasMask: true, tileSize: 12),
  attention(
    "in tiles, causal", queries: 6, keys: 6, heads: 3, width: 1, row: window(isCausal: true),
    tileSize: 12),
  attention(
    "in tiles, within a window", queries: 7, keys: 7, heads: 3, width: 1,
    row: { $0 <= 0 && $0 > -3 ? 0 : -1 }, tileSize: 14),
  attention(
    "in tiles, causal and masked", queries: 6, keys: 6, heads: 3, width: 1, hasMask: true,
    row: { $0 <= 1 ? 0 : -1 }, tileSize: 12),
  attention(
    "in tiles, causal with a table", queries: 6, keys: 6, heads: 3, width: 1,
    row: window(isCausal: true), hasTable: true, tileSize: 12),
  attention(
    "in tiles, queries from the second key on", queries: 4, keys: 6, heads: 4, width: 1,
    row: window(isCausal: true), hasTable: true, first: 1, tileSize: 6),
  // Scores of the order of 1: a cap of 0.7 moves them far, and has derivatives from 0.1 to 1. Kept with it they are
  // twice as many.
  attention("capped", queries: 3, keys: 3, heads: 1, width: 4, cap: 0.7),
  attention(
    "capped, causal with a table", queries: 4, keys: 4, heads: 1, width: 4,
    row: window(isCausal: true), hasTable: true, cap: 0.7),
  attention("capped and masked", queries: 3, keys: 4, heads: 1, width: 5, hasMask: true, cap: 0.7),
  attention("capped, kept without it, not with it", queries: 3, keys: 3, width: 2, cap: 0.7),
  attention("capped in tiles", queries: 6, keys: 6, heads: 3, width: 1, cap: 0.7, tileSize: 12),
  attention(
    "capped in tiles, within a window", queries: 7, keys: 7, heads: 3, width: 1,
    row: { $0 <= 0 && $0 > -3 ? 0 : -1 }, cap: 0.7, tileSize: 14),
  attention(
    "capped in tiles, causal with a table", queries: 6, keys: 6, heads: 3, width: 1,
    row: window(isCausal: true), hasTable: true, cap: 0.7, tileSize: 12),
  attention(
    "capped in tiles, masked", queries: 5, keys: 6, heads: 4, width: 1, hasMask: true, cap: 0.7,
    tileSize: 12),
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
  attention("one head of keys for all", queries: 3, keys: 4, heads: 3, width: 2, each: 3),
  attention(
    "heads of keys for two each, causal", queries: 4, keys: 4, heads: 4, width: 2,
    row: window(isCausal: true), each: 2),
  attention(
    "in tiles, heads of keys for two each, causal and masked", queries: 6, keys: 6, heads: 4,
    width: 1, hasMask: true, row: { $0 <= 1 ? 0 : -1 }, tileSize: 12, each: 2),
  headLinear(heads: 2, width: 3, columns: 4, isTransposed: false, hasBias: false),
  headLinear(heads: 2, width: 2, columns: 3, isTransposed: false, hasBias: true),
  headLinear(heads: 2, width: 3, columns: 4, isTransposed: true, hasBias: false),
  headLinear(heads: 3, width: 1, columns: 2, isTransposed: true, hasBias: true),
  headLinear(heads: 1, width: 2, columns: 5, isTransposed: true, hasBias: false),
  lowRank(positions: 1, rank: 1, outputs: 3),
  lowRank(positions: 3, rank: 2, outputs: 4),
  lowRank(positions: 2, rank: 5, outputs: 3),
  OperationCase("prepend", Prepend(prefix: 2), [.real([3, 2])], parameters: [[2, 2]]) { x, _, p in
    p[0] + x[0]
  },
  OperationCase(
    "prepend of a part of the table", Prepend(prefix: 2), [.real([3, 2])], parameters: [[4, 2]]
  ) { x, _, p in p[0].prefix(4) + x[0] },
  OperationCase("add parameter", AddParameter(), [.real([3, 2])], parameters: [[1, 3, 2]]) {
    x, _, p in zip(x[0], p[0]).map { $0 + $1 }
  },
]

/// Operations whose entries are entries of their inputs.
private let viewCases: [OperationCase] = [
  picks("take rows", Take([0, 2, 3]), [5, 2], [0, 1, 4, 5, 6, 7]),
  picks("take one row", Take([1]), [3, 3], [3, 4, 5]),
  picks("take columns twice", Take(axis: 1, [2, 0, 2]), [2, 3], [2, 0, 2, 5, 3, 5]),
  picks(
    "permute", View(.permute([2, 0, 1])), [2, 3, 4], (0..<24).map { $0 % 6 * 4 + $0 / 6 }),
  picks(
    "permute, neither first nor last", View(.permute([0, 2, 1])), [2, 3, 4],
    (0..<24).map { $0 / 12 * 12 + $0 % 3 * 4 + $0 % 12 / 3 }),
  picks("first to last", View.firstToLast(3), [2, 3, 2], [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]),
  picks("expand", View(.expand([2, 3, 4])), [3, 1], (0..<24).map { $0 / 4 % 3 }),
  picks(
    "slice", View(.slice(axis: 1, start: 1, step: 2, count: 2)), [2, 4, 2],
    [2, 3, 6, 7, 10, 11, 14, 15]),
  picks(
    "flip", View(.slice(axis: 0, start: 2, step: -1, count: 3)), [3, 2], [4, 5, 2, 3, 0, 1]),
  OperationCase(
    "concatenate", Concatenate(axis: 1), [.real([2, 1]), .real([2, 3]), .real([2, 2])]
  ) { x, _, _ in
    let (a, b, c) = (rows(x[0], 1), rows(x[1], 3), rows(x[2], 2))
    return Array([a[0], b[0], c[0], a[1], b[1], c[1]].joined())
  },
  OperationCase(
    "concatenate with itself", Concatenate(axis: 0), [.real([2, 2]), .real([2, 2])],
    isOneValue: true
  ) { x, _, _ in x[0] + x[0] },
  OperationCase(
    "where", Where(), [.boolean([3, 1]), .real([3, 2]), .real([2])]
  ) { x, whole, _ in (0..<6).map { i in whole[0][i / 2] != 0 ? x[0][i] : x[1][i % 2] } },
  OperationCase(
    "where, one value", Where(), [.boolean([4]), .real([4]), .real([4])], isOneValue: true
  ) { x, _, _ in x[0] },
  sparse("sparse map", [2, 3, 2]), sparse("sparse map of the last dimension", [2, 3]),
  turned("halves that are turned", 20), turned("more runs than are copied at a time", 2),
  picks(
    "sparse map that takes", SparseMap(axis: 0, SparseMatrix(columns: 3, taking: [2, 0, 2])!),
    [3, 2],
    [4, 5, 0, 1, 4, 5]),
  windows("sparse map of windows", isTransposed: false),
  windows("sparse map of windows put back", isTransposed: true),
  OperationCase("gated activation", GatedActivation(.tanh), [.real([3, 2]), .real([3, 2])]) {
    x, _, _ in zip(x[0], x[1]).map { gated($0, $1) }
  },
  OperationCase(
    "gated activation of one value", GatedActivation(.tanh), [.real([5]), .real([5])],
    isOneValue: true
  ) { x, _, _ in x[0].map { gated($0, $0) } },
  OperationCase("detach", Detach(), [.real([2, 3])]) { x, _, _ in x[0].map { Dual($0.value) } },
  OperationCase(
    "detach of the rows of an index", Detach(index: 1), [.real([4, 2]), .index([4], bound: 2)]
  ) { x, whole, _ in
    x[0].enumerated().map { whole[0][$0 / 2] == 1 ? Dual($1.value) : $1 }
  },
  OperationCase("gather", Gather(axis: 1), [.real([2, 4]), .index([2, 3], bound: 4)]) {
    x, whole, _ in (0..<6).map { i in x[0][i / 3 * 4 + whole[0][i]] }
  },
  OperationCase("scatter", Scatter(axis: 1, size: 4), [.real([2, 3]), .index([2, 3], bound: 4)]) {
    x, whole, _ in
    var y = [Dual](repeating: Dual(0), count: 8)
    for i in 0..<6 { y[i / 3 * 4 + whole[0][i]] = y[i / 3 * 4 + whole[0][i]] + x[0][i] }
    return y
  },
  OperationCase(
    "gather of a shorter index along the first dimension", Gather(axis: 0),
    [.real([3, 4, 2]), .index([2, 3, 1], bound: 3)]
  ) { x, whole, _ in (0..<6).map { i in x[0][whole[0][i] * 8 + i % 3 * 2] } },
  OperationCase(
    "scatter along the first dimension", Scatter(axis: 0, size: 4),
    [.real([3, 2, 2]), .index([3, 2, 2], bound: 3)]
  ) { x, whole, _ in
    var y = [Dual](repeating: Dual(0), count: 16)
    for i in 0..<12 {
      let place = whole[0][i] * 4 + i % 4
      y[place] = y[place] + x[0][i]
    }
    return y
  },
  OperationCase("whole numbers", WholeNumbers(below: 3), [.real([9])], offset: 1) { x, _, _ in
    x[0].map { Dual(min(max($0.value.rounded(), 0), 2)) }
  },
  OperationCase("place of the largest", ExtremePlace(isMaximum: true), [.real([3, 4])]) {
    x, _, _ in rows(x[0], 4).map { row in Dual(Double(place(row.map(\.value), max))) }
  },
  OperationCase("place of the smallest", ExtremePlace(isMaximum: false), [.real([2, 5])]) {
    x, _, _ in rows(x[0], 5).map { row in Dual(Double(place(row.map(\.value), min))) }
  },
  OperationCase("place among one", ExtremePlace(isMaximum: true), [.real([3, 1])]) {
    _, _, _ in [Dual](repeating: Dual(0), count: 3)
  },
  OperationCase("lookup", Lookup(), [.real([4, 2]), .index([3], bound: 4)]) { x, whole, _ in
    Array(whole[0].map { rows(x[0], 2)[$0] }.joined())
  },
  OperationCase("lookup of one row", Lookup(), [.real([4, 3]), .index([], bound: 4)]) {
    x, whole, _ in rows(x[0], 3)[whole[0][0]]
  },
]

private func gated(_ x: Dual, _ u: Dual) -> Dual {
  x.apply(tanh(x.value), slope: 1 / cosh(x.value) / cosh(x.value)) * u
}

private func place(_ row: [Double], _ extreme: (Double, Double) -> Double) -> Int {
  row.firstIndex(of: row.reduce(row[0], extreme))!
}

/// Windows of 2 x 2 on an image of 3 x 2 with padding beside it: `[places, taps]` of the pixels, two
/// channels.
private func windows(_ name: String, isTransposed: Bool) -> OperationCase {
  let axes: [KroneckerMatrix.Axis] = [
    .init(
      SparseMatrix(columns: 3, taking: [0, 1, 1, 2])!, rowOffsets: [0, 2, 12, 14],
      columnOffsets: [0, 2, 4]),
    .init(
      SparseMatrix(columns: 2, taking: [nil, 0, 0, 1, 1, nil])!,
      rowOffsets: [0, 1, 4, 5, 8, 9], columnOffsets: [0, 1]),
  ]
  // What tap (i, j) of window (y, x) sees.
  let sources = (0..<24).map { row -> Int? in
    let (y, x, i, j) = (row / 12, row / 4 % 3, row / 2 % 2, row % 2)
    return (0..<2).contains(x + j - 1) ? (y + i) * 2 + x + j - 1 : nil
  }
  let operation = SparseMap(axis: 0, grid: isTransposed ? axes.map(\.transposed) : axes)
  return OperationCase(name, operation, [.real([isTransposed ? 24 : 6, 2])]) { x, _, _ in
    if !isTransposed {
      return (0..<48).map { i in sources[i / 2].map { x[0][$0 * 2 + i % 2] } ?? Dual(0) }
    }
    return (0..<12).map { i in
      sources.indices.filter { sources[$0] == i / 2 }
        .reduce(Dual(0)) { $0 + x[0][$1 * 2 + i % 2] }
    }
  }
}

/// Rows of two entries, of none and of one.
private func sparse(_ name: String, _ shape: [Int]) -> OperationCase {
  let rows: [[SparseMap.Term]] = [
    [.init(0, 2), .init(2, -1)], [], [.init(1, 0.5)], [.init(2)],
  ]
  let operation = SparseMap(axis: 1, SparseMatrix(columns: 3, rows: rows)!)
  return OperationCase(name, operation, [.real(shape)]) { x, _, _ in
    let inner = shape.count > 2 ? shape[2] : 1
    return (0..<shape[0] * 4 * inner).map { place in
      let (outer, row, column) = (place / (4 * inner), place / inner % 4, place % inner)
      let entry = { (index: Int) in x[0][(outer * 3 + index) * inner + column] }
      switch row {
      case 0: return Dual(2) * entry(0) - entry(2)
      case 1: return Dual(0)
      case 2: return Dual(0.5) * entry(1)
      default: return entry(2)
      }
    }
  }
}

/// Rows of one entry each in runs of so many, each run the opposite of the one behind it: of two, what turns the
/// halves of heads.
private func turned(_ name: String, _ run: Int) -> OperationCase {
  let columns = 40
  let sources = (0..<columns).map { ($0 + run) % columns }
  let signs = (0..<columns).map { $0 / run % 2 == 0 ? -1.0 : 0.5 }
  let rows = zip(sources, signs).map { [SparseMap.Term($0, $1)] }
  let operation = SparseMap(axis: 1, SparseMatrix(columns: columns, rows: rows)!)
  return OperationCase(name, operation, [.real([2, columns])]) { x, _, _ in
    (0..<2 * columns).map { place in
      let row = place % columns
      return Dual(signs[row]) * x[0][place - row + sources[row]]
    }
  }
}

private func picks(
  _ name: String, _ operation: any GraphModule.Operation, _ shape: [Int], _ places: [Int]
) -> OperationCase {
  OperationCase(name, operation, [.real(shape)]) { x, _, _ in places.map { x[0][$0] } }
}

/// Products, sums and what is made of rows.
private let tensorCases: [OperationCase] = [
  OperationCase("cumulative sum", CumulativeSum(axis: 1), [.real([2, 4, 2])]) { x, _, _ in
    var y = x[0]
    for i in y.indices where i % 8 >= 2 { y[i] = y[i] + y[i - 2] }
    return y
  },
  matrixProduct("plain", [2, 3], [3, 4]),
  matrixProduct("transposed", [2, 3], [4, 3], isTransposed: true),
  matrixProduct("one matrix for all", [3, 2, 2], [2, 3]),
  matrixProduct("in batches", [2, 2, 3], [2, 3, 2]),
  matrixProduct("in batches, transposed", [2, 2, 3], [2, 4, 3], isTransposed: true),
  matrixProduct("repeated", [2, 1, 2, 3], [3, 3, 2]),
  OperationCase(
    "matrix times its transpose", MatrixProduct(isTransposed: true),
    [.real([3, 2]), .real([3, 2])],
    isOneValue: true
  ) { x, _, _ in product(x[0], x[0], (3, 2, 3), isTransposed: true) },
  OperationCase("softmax", Softmax(), [.real([2, 3])]) { x, _, _ in
    rows(x[0], 3).flatMap(probabilities)
  },
  OperationCase("softmax of many", Softmax(), [.real([19])]) { x, _, _ in probabilities(x[0]) },
  OperationCase("logarithm of softmax", Softmax(isLogarithm: true), [.real([2, 3])]) { x, _, _ in
    rows(x[0], 3).flatMap(probabilities).map { p in p.apply(log(p.value), slope: 1 / p.value) }
  },
  reduction("sum", .sum, [2, 3, 2], [1]) { $0.reduce(Dual(0), +) },
  reduction("sum of all", .sum, [2, 3], [0, 1]) { $0.reduce(Dual(0), +) },
  reduction("mean", .mean, [3, 2, 2], [0, 2]) { $0.reduce(Dual(0), +) / Dual(Double($0.count)) },
  reduction("mean, dimensions kept", .mean, [3, 2], [1], keeps: true) {
    $0.reduce(Dual(0), +) / Dual(Double($0.count))
  },
  reduction("variance", .variance(correction: 1), [2, 4], [1]) { variance($0, 1) },
  reduction("biased variance", .variance(correction: 0), [3, 2, 2], [0, 1]) { variance($0, 0) },
  reduction("maximum", .maximum, [2, 3, 2], [1]) { row in
    row.max { $0.value < $1.value }!
  },
  reduction("minimum", .minimum, [3, 2], [0, 1]) { row in row.min { $0.value < $1.value }! },
  OperationCase("sum", Sum(), [.real([2, 3]), .real([2, 3])]) { x, _, _ in
    zip(x[0], x[1]).map { $0 + $1 }
  },
  OperationCase("difference", Sum(factor: -1), [.real([2, 3]), .real([2, 3])]) { x, _, _ in
    zip(x[0], x[1]).map { $0 - $1 }
  },
  OperationCase("sum, repeated", Sum(factor: 0.5), [.real([3, 1, 2]), .real([4, 1])]) { x, _, _ in
    (0..<24).map { i in x[0][i / 8 * 2 + i % 2] + Dual(0.5) * x[1][i / 2 % 4] }
  },
  OperationCase("product", Product(), [.real([5]), .real([5])]) { x, _, _ in
    zip(x[0], x[1]).map { $0 * $1 }
  },
  OperationCase("product, repeated", Product(), [.real([3]), .real([2, 2, 1])]) { x, _, _ in
    (0..<12).map { x[0][$0 % 3] * x[1][$0 / 3] }
  },
  OperationCase("product with itself", Product(), [.real([5]), .real([5])], isOneValue: true) {
    x, _, _ in x[0].map { $0 * $0 }
  },
  OperationCase("scale", Scale(factor: -0.3), [.real([4])]) { x, _, _ in
    x[0].map { Dual(-0.3) * $0 }
  },
  OperationCase("parameter as a value", ParameterValue(), [], parameters: [[2, 3]]) { _, _, p in
    p[0]
  },
  // One value for everything, as in attention without projections.
  OperationCase(
    "attention to itself", Attention(heads: 1, scale: 1),
    [.real([2, 2]), .real([2, 2]), .real([2, 2])], isOneValue: true
  ) { x, whole, p in
    attention("", queries: 2, keys: 2, heads: 1, width: 2, scale: 1)
      .value([x[0], x[0], x[0]], whole, p)
  },
  OperationCase(
    "attention to itself in tiles", Attention(heads: 3, scale: 0.6, tileSize: 12),
    [.real([6, 3]), .real([6, 3]), .real([6, 3])], isOneValue: true
  ) { x, whole, p in
    attention("", queries: 6, keys: 6, heads: 3, width: 1)
      .value([x[0], x[0], x[0]], whole, p)
  },
]

/// Row of a distance in a table of five, as for a window of distances.
private func window(isCausal: Bool) -> @Sendable (Int) -> Int32 {
  { distance in
    isCausal && distance > 0 ? -1 : Int32(min(abs(distance) + (distance > 0 ? 2 : 0), 4))
  }
}

private func attention(
  _ name: String, queries: Int, keys: Int, heads: Int = 2, width: Int = 3, scale: Double = 0.6,
  hasMask: Bool = false, row: (@Sendable (Int) -> Int32)? = nil, hasTable: Bool = false,
  first: Int = 0, cap: Double? = nil, tileSize: Int = 1 << 17, each: Int = 1
) -> OperationCase {
  let operation = Attention(
    heads: heads, scale: scale,
    buckets: row.map {
      PositionBuckets(queries: (0..<queries).map { first + $0 }, keys: keys, row: $0)
    }, cap: cap, tileSize: tileSize)
  let keyColumns = heads / each * width
  let sides = [[queries, heads * width], [keys, keyColumns], [keys, keyColumns]].map {
    OperationInput.real($0)
  }
  return OperationCase(
    "attention, " + name, operation, sides + (hasMask ? [.boolean([keys])] : []),
    parameters: hasTable ? [[5, heads]] : []
  ) { x, whole, parameters in
    let columns = heads * width
    var output = [Dual](repeating: Dual(0), count: queries * columns)
    for h in 0..<heads {
      for q in 0..<queries {
        var weights: [Dual] = []
        for k in 0..<keys {
          let bucket = row.map { Int($0(k - q - first)) } ?? 0
          if bucket < 0 || (hasMask && whole[0][k] == 0) {
            weights.append(Dual(0))
            continue
          }
          var score = Dual(0)
          for d in 0..<width {
            let i = h / each * width + d
            score =
              score + Dual(scale) * x[0][q * columns + h * width + d] * x[1][k * keyColumns + i]
          }
          if let cap { score = Dual(cap) * (score / Dual(cap)).tanh }
          if hasTable { score = parameters[0][bucket * heads + h] + score }
          weights.append(score.exponential)
        }
        let sum = weights.reduce(Dual(0), +)
        for k in 0..<keys {
          for d in 0..<width {
            let i = h * width + d
            output[q * columns + i] =
              output[q * columns + i]
              + weights[k] / sum * x[2][k * keyColumns + h / each * width + d]
          }
        }
      }
    }
    return output
  }
}

private func lowRank(positions: Int, rank: Int, outputs: Int) -> OperationCase {
  let scale = -1.5
  return OperationCase(
    "low-rank update, \(positions) x \(rank) x \(outputs)", LowRankUpdate(scale: scale),
    [.real([positions, outputs]), .real([positions, rank])], parameters: [[outputs, rank]]
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
) -> OperationCase {
  let scale = 0.7
  let (inputs, outputs) = isTransposed ? (width, columns) : (columns, width)
  let perHead = heads == 1 ? [columns] : [heads, columns]
  return OperationCase(
    "linear of \(heads) heads, \(width) x \(columns)"
      + (isTransposed ? ", transposed" : "") + (hasBias ? ", bias" : ""),
    HeadLinear(heads: heads, scale: scale, isTransposed: isTransposed),
    [.real([positions] + (isTransposed ? [heads * width] : perHead))],
    parameters: [[heads * width, columns]] + (hasBias ? [[heads * width]] : [])
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

private func matrixProduct(
  _ name: String, _ a: [Int], _ b: [Int], isTransposed: Bool = false
) -> OperationCase {
  let (m, k) = (a[a.count - 2], a[a.count - 1])
  let n = isTransposed ? b[b.count - 2] : b[b.count - 1]
  let batches = (a.dropLast(2).reduce(1, *), b.dropLast(2).reduce(1, *))
  // Those of the cases: the leading dimensions are equal, or one operand has none in a place.
  let repeats = batches.0 != batches.1 && batches.1 != 1
  let count = repeats ? batches.0 * batches.1 : max(batches.0, batches.1)
  return OperationCase(
    "matrix product, " + name, MatrixProduct(isTransposed: isTransposed), [.real(a), .real(b)]
  ) { x, _, _ in
    (0..<count).flatMap { i -> [Dual] in
      let first = repeats ? i / batches.1 : i % batches.0
      let second = i % batches.1
      return product(
        Array(x[0][first * m * k..<(first + 1) * m * k]),
        Array(x[1][second * k * n..<(second + 1) * k * n]), (m, k, n), isTransposed: isTransposed)
    }
  }
}

private func product(
  _ a: [Dual], _ b: [Dual], _ sizes: (m: Int, k: Int, n: Int), isTransposed: Bool
) -> [Dual] {
  let (m, k, n) = sizes
  return (0..<m * n).map { i in
    var sum = Dual(0)
    for j in 0..<k {
      let factor = isTransposed ? b[i % n * k + j] : b[j * n + i % n]
      sum = sum + a[i / n * k + j] * factor
    }
    return sum
  }
}

private func rows(_ x: [Dual], _ columns: Int) -> [[Dual]] {
  (0..<x.count / columns).map { Array(x[$0 * columns..<($0 + 1) * columns]) }
}

private func probabilities(_ row: [Dual]) -> [Dual] {
  let weights = row.map(\.exponential)
  let sum = weights.reduce(Dual(0), +)
  return weights.map { $0 / sum }
}

private func variance(_ row: [Dual], _ correction: Double) -> Dual {
  let mean = row.reduce(Dual(0), +) / Dual(Double(row.count))
  return row.reduce(Dual(0)) { $0 + ($1 - mean) * ($1 - mean) }
    / Dual(Double(row.count) - correction)
}

private func reduction(
  _ name: String, _ kind: Reduction.Kind, _ shape: [Int], _ axes: [Int], keeps: Bool = false,
  _ value: @escaping @Sendable ([Dual]) -> Dual
) -> OperationCase {
  OperationCase(
    "reduction, " + name, Reduction(kind, axes: axes, keepsDimensions: keeps), [.real(shape)]
  ) { x, _, _ in
    var groups: [[Int]: [Dual]] = [:]
    for i in x[0].indices {
      var (rest, place) = (i, [Int]())
      for axis in shape.indices.reversed() {
        if !axes.contains(axis) { place.insert(rest % shape[axis], at: 0) }
        rest /= shape[axis]
      }
      groups[place, default: []].append(x[0][i])
    }
    return groups.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { value($0.value) }
  }
}
