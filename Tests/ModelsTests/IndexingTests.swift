import GraphModule
import TensorModule
import TestSupport
import Testing

@testable import Models

/// What whole numbers choose, and operators that no fixture of a network has, against their definitions in
/// PyTorch's documentation. The numbers are small and whole: results are exact.
struct IndexingTests {
  /// Of both samples: `[2, 3, 2]`.
  private let x: [Double] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]

  private func value(_ n: Int, _ i: Int, _ j: Int) -> Double { x[(n * 3 + i) * 2 + j] }

  private func all<T>(_ value: (Int, Int, Int) -> T) -> [T] {
    (0..<12).map { value($0 / 6, $0 / 2 % 3, $0 % 2) }
  }

  private func list(_ values: [Int]) -> ImportedTensor {
    OperatorProbe.constant([values.count], values.map { Double($0) }, .integer)
  }

  // MARK: - Places

  @Test(arguments: ["aten.argmax.default", "aten.argmin.default"])
  func placesOfExtremes(_ name: String) throws {
    let isMaximum = name.contains("max")
    for (dimension, keeps) in [(1, false), (1, true), (-1, false), (2, true)] {
      var probe = OperatorProbe()
      let x = try probe.input([3, 2], self.x)
      let result = try probe.call(
        name[...],
        ["self": .tensor(x), "dim": .number(dimension), "keepdim": .bool(keeps)])
      let isFirst = dimension == 1
      let rest = isFirst ? [2] : [3]
      #expect(
        result.sizes.dropFirst() == (keeps ? isFirst ? [1, 2] : [3, 1] : rest)[...])
      #expect(result.kind == .integer)
      let rows = (0..<2).flatMap { n in
        isFirst
          ? (0..<2).map { j in (0..<3).map { value(n, $0, j) } }
          : (0..<3).map { i in (0..<2).map { value(n, i, $0) } }
      }
      let expected = rows.map { row in
        Double(row.firstIndex(of: isMaximum ? row.max()! : row.min()!)!)
      }
      #expect(try probe.values(of: result) == expected, "dimension \(dimension)")
    }
  }

  @Test func classesAsColumns() throws {
    var probe = OperatorProbe()
    let index = try probe.indices([3], [2, 0, 3, 1, 1, 0])
    let result = try probe.call(
      "aten.one_hot.default", ["self": .tensor(index), "num_classes": .number(4)])
    let expected = [2, 0, 3, 1, 1, 0].flatMap { one in (0..<4).map { $0 == one ? 1.0 : 0 } }
    #expect(try probe.values(of: result) == expected)
    #expect(throws: ImportFailure.self) {
      _ = try probe.call(
        "aten.one_hot.default", ["self": .tensor(index), "num_classes": .number(-1)])
    }
  }

  // MARK: - What is put at constant indices

  /// An index that comes twice: the last number stays, or both are added. A negative one counts from the
  /// end.
  @Test(arguments: [false, true])
  func numbersPutAtIndices(_ adds: Bool) throws {
    var probe = OperatorProbe()
    let x = try probe.input([3, 2], self.x)
    let values = OperatorProbe.constant([3, 1], [10, 20, 40])
    let result = try probe.call(
      "aten.index_put.default",
      [
        "self": .tensor(x), "indices": .tensors([nil, list([2, 0, -1])]),
        "values": .tensor(values), "accumulate": .bool(adds),
      ])
    let put: [Int: Double] = adds ? [0: 20, 2: 50] : [0: 20, 2: 40]
    let expected = all { n, i, j in
      adds ? value(n, i, j) + (put[i] ?? 0) : put[i] ?? value(n, i, j)
    }
    #expect(try probe.values(of: result) == expected)
  }

  @Test func numbersPutWhereAMaskSays() throws {
    var probe = OperatorProbe()
    let x = try probe.input([3, 2], self.x)
    let mask = OperatorProbe.constant([3], [1, 0, 1], .boolean)
    let result = try probe.call(
      "aten.index_put.default",
      [
        "self": .tensor(x), "indices": .tensors([nil, mask]),
        "values": .tensor(OperatorProbe.constant([], [7])),
      ])
    let expected = all { n, i, j in i == 1 ? value(n, i, j) : 7 }
    #expect(try probe.values(of: result) == expected)
  }

  @Test func rowsAddedCopiedAndFilled() throws {
    let source = OperatorProbe.constant([1, 2, 2], [10, 20, 30, 40])
    func result(_ name: Substring, _ more: [String: OperatorCall.Value]) throws -> [Double] {
      var probe = OperatorProbe()
      let x = try probe.input([3, 2], self.x)
      var arguments = more
      arguments["self"] = .tensor(x)
      arguments["dim"] = .number(1)
      if more["source"] == nil, more["value"] == nil {
        arguments["source"] = .tensor(
          try probe.builder.expanded(source, [probe.builder.samples, 2, 2]))
      }
      return try probe.values(of: probe.call(name, arguments))
    }
    func row(_ r: Int, _ j: Int) -> Double { [10, 20, 30, 40][r * 2 + j] }
    let added = try result(
      "aten.index_add.default", ["index": .tensor(list([1, 1])), "alpha": .real(2)])
    let both = (0..<2).map { 2 * (row(0, $0) + row(1, $0)) }
    #expect(added == all { n, i, j in value(n, i, j) + (i == 1 ? both[j] : 0) })
    let copied = try result("aten.index_copy.default", ["index": .tensor(list([2, 0]))])
    #expect(copied == all { n, i, j in i == 1 ? value(n, i, j) : row(i == 2 ? 0 : 1, j) })
    let filled = try result(
      "aten.index_fill.int_Scalar", ["index": .tensor(list([-1])), "value": .real(6)])
    #expect(filled == all { n, i, j in i == 2 ? 6 : value(n, i, j) })
    #expect(throws: ImportFailure.self) {
      _ = try result(
        "aten.index_fill.int_Scalar", ["index": .tensor(list([3])), "value": .real(6)])
    }
  }

  // MARK: - Computed indices

  /// `x[arange(N), index]`: a row of each sample's own; NaN where PyTorch raises an error.
  @Test func ownRowsOfSamples() throws {
    for index in [[2, 0], [-1, 1], [3, 1], [1, -4]] {
      var probe = OperatorProbe()
      let x = try probe.input([3, 2], self.x)
      let numbers = ImportedTensor(
        sizes: [probe.builder.samples], batch: .init(axis: 0), kind: .integer,
        storage: .sampleNumbers)
      let own = try probe.indices([], index.map { Double($0) })
      let result = try probe.call(
        "aten.index.Tensor", ["self": .tensor(x), "indices": .tensors([numbers, own])])
      #expect(result.sizes == [probe.builder.samples, 2])
      let values = try probe.values(of: result)
      for n in 0..<2 {
        let place = index[n] < 0 ? index[n] + 3 : index[n]
        for j in 0..<2 {
          let found = values[n * 2 + j]
          if (0..<3).contains(place) {
            #expect(found == value(n, place, j), "\(index)")
          } else {
            #expect(found.isNaN, "\(index)")
          }
        }
      }
    }
  }

  @Test func entriesGathered() throws {
    var probe = OperatorProbe()
    let x = try probe.input([3, 2], self.x)
    let index = try probe.indices([1, 2], [2, 0, 1, 2])
    let result = try probe.call(
      "aten.gather.default", ["self": .tensor(x), "dim": .number(1), "index": .tensor(index)])
    let expected = [value(0, 2, 0), value(0, 0, 1), value(1, 1, 0), value(1, 2, 1)]
    #expect(try probe.values(of: result) == expected)
  }

  /// NaN for indices beyond the table, as `indicesBeyondTheEndGiveNoNumber` has it.
  @Test func rowsOfATable() throws {
    var probe = OperatorProbe()
    let table = OperatorProbe.constant([3, 2], [1, 2, 3, 4, 5, 6])
    let index = try probe.indices([2], [2, 0, 1, 3])
    let result = try probe.call(
      "aten.embedding.default", ["weight": .tensor(table), "indices": .tensor(index)])
    let values = try probe.values(of: result)
    #expect(Array(values.prefix(6)) == [5, 6, 1, 2, 3, 4])
    #expect(values.suffix(2).allSatisfy { $0.isNaN })
  }

  // MARK: - Products

  @Test func productsOfEntries() throws {
    for (dimension, keeps) in [(1, false), (-1, true)] {
      var probe = OperatorProbe()
      // With a zero and a negative number.
      var numbers = self.x
      (numbers[3], numbers[8]) = (0, -5)
      let x = try probe.input([3, 2], numbers)
      let result = try probe.call(
        "aten.prod.dim_int",
        ["self": .tensor(x), "dim": .number(dimension), "keepdim": .bool(keeps)])
      var expected: [Double] = []
      for n in 0..<2 {
        let own = Array(numbers[n * 6..<n * 6 + 6])
        let products =
          dimension == 1
          ? [[0, 2, 4], [1, 3, 5]] : [[0, 1], [2, 3], [4, 5]]
        for places in products { expected.append(places.reduce(1) { $0 * own[$1] }) }
      }
      #expect(try probe.values(of: result) == expected)
    }
  }

  /// `a^T W_o b + bias_o`
  @Test func bilinearForms() throws {
    var probe = OperatorProbe()
    let (left, right): ([Double], [Double]) = ([1, 2, -1, 3], [1, 0, 2, -2, 1, 1])
    let weight = (0..<12).map { Double($0 * $0 % 7) - 3 }
    let a = try probe.input([2], left)
    let b = try probe.input([3], right)
    let result = try probe.call(
      "aten.bilinear.default",
      [
        "input1": .tensor(a), "input2": .tensor(b),
        "weight": .tensor(OperatorProbe.constant([2, 2, 3], weight)),
        "bias": .tensor(OperatorProbe.constant([2], [5, -5])),
      ])
    var expected: [Double] = []
    for n in 0..<2 {
      for o in 0..<2 {
        var sum: Double = o == 0 ? 5 : -5
        for i in 0..<2 {
          for j in 0..<3 {
            let term: Double = left[n * 2 + i] * right[n * 3 + j]
            sum += weight[(o * 2 + i) * 3 + j] * term
          }
        }
        expected.append(sum)
      }
    }
    #expect(try probe.values(of: result) == expected)
  }
}
