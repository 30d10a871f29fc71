import GraphModule
import TensorModule
import TestSupport
import Testing

@testable import Models

/// What is put where indices say, against the definition in PyTorch's documentation.
struct ScatteringTests {
  private let x = (0..<12).map { Double($0) }
  private let source = (0..<16).map { 100 + Double($0) }

  /// `x[n, i[n, j]] = src[n, j]` for every j of the index, by loops.
  private func expected(_ index: [[Int]], adds: Bool, source: (Int, Int) -> Double) -> [Double] {
    var result = x
    for n in 0..<2 {
      for (j, i) in index[n].enumerated() {
        result[n * 6 + i] = (adds ? result[n * 6 + i] : 0) + source(n, j)
      }
    }
    return result
  }

  /// A source may be longer than the index: its first entries are meant.
  @Test(arguments: ["aten.scatter.src", "aten.scatter_add.default"])
  func entriesOfTheIndexCount(_ name: String) throws {
    for kind in ["constant", "computed"] {
      var probe = OperatorProbe()
      let (x, source) = (try probe.input([6], self.x), try probe.input([8], self.source))
      let rows = kind == "constant" ? [[4, 1, 3], [4, 1, 3]] : [[5], [2]]
      let count = rows[0].count
      let index: ImportedTensor
      if kind == "constant" {
        let one = OperatorProbe.constant([1, count], rows[0].map { Double($0) }, .integer)
        index = try probe.builder.expanded(one, [probe.builder.samples, count])
      } else {
        index = try probe.indices([count], rows.flatMap { $0.map { Double($0) } })
      }
      let result = try probe.call(
        name[...],
        [
          "self": .tensor(x), "dim": .number(1), "index": .tensor(index),
          "src": .tensor(source),
        ])
      let expected = expected(rows, adds: name.contains("add")) { self.source[$0 * 8 + $1] }
      #expect(try probe.values(of: result) == expected, "\(kind)")
    }
  }

  @Test func aNumberGoesWhereTheIndexIs() throws {
    var probe = OperatorProbe()
    let x = try probe.input([6], self.x)
    let index = try probe.indices([1], [5, 2])
    let result = try probe.call(
      "aten.scatter.value",
      ["self": .tensor(x), "dim": .number(-1), "index": .tensor(index), "value": .real(7)])
    #expect(try probe.values(of: result) == expected([[5], [2]], adds: false) { _, _ in 7 })
  }

  /// PyTorch raises an error; nothing that is written would pass for a result.
  @Test(arguments: ["aten.scatter.src", "aten.scatter.value", "aten.scatter_add.default"])
  func indicesBeyondTheEndGiveNoNumber(_ name: String) throws {
    var probe = OperatorProbe()
    let (x, source) = (try probe.input([6], self.x), try probe.input([8], self.source))
    let index = try probe.indices([1], [6, 2])
    let result = try probe.call(
      name[...],
      [
        "self": .tensor(x), "dim": .number(1), "index": .tensor(index),
        "src": .tensor(source), "value": .real(7),
      ])
    let values = try probe.values(of: result)
    #expect(values[..<6].contains { $0.isNaN })
    #expect(!values[6...].contains { $0.isNaN })
  }

  /// One row of indices is for the first row alone, and one column for the first column.
  @Test(arguments: ["aten.scatter.src", "aten.scatter.value", "aten.scatter_add.default"])
  func indicesAreNotRepeated(_ name: String) throws {
    var probe = OperatorProbe()
    let (x, source) = (try probe.input([3, 2], self.x), try probe.input([4, 2], self.source))
    let flat = try probe.builder.viewed(x, [probe.builder.samples, 6])
    let column = try probe.indices([1, 1], [2, 0])
    let row = OperatorProbe.constant([1, 2], [3, 1], .integer)
    for (x, index, source) in [(x, column, source), (flat, row, flat)] {
      #expect(throws: ImportFailure.self) {
        _ = try probe.call(
          name[...],
          [
            "self": .tensor(x), "dim": .number(1), "index": .tensor(index),
            "src": .tensor(source), "value": .real(7),
          ])
      }
    }
  }

  /// A step of a file led beyond the largest integer.
  @Test(arguments: ["aten.slice_scatter.default", "aten.slice.Tensor"])
  func stepsBeyondTheEnd(_ name: String) throws {
    var probe = OperatorProbe()
    let (x, source) = (try probe.input([6], self.x), try probe.input([2], self.source))
    for (start, step) in [(0, Int.max), (1, Int.max / 2), (5, 1), (0, 0), (0, -1), (0, Int.min)] {
      #expect(throws: ImportFailure.self, "\(start) \(step)") {
        _ = try probe.call(
          name[...],
          [
            "self": .tensor(x), "src": .tensor(source), "dim": .number(1),
            "start": .number(start), "step": .number(step),
          ], sizes: [probe.builder.samples, 2])
      }
    }
  }

  /// A slice over all samples is all there is; a part of the columns is a part.
  @Test func slicesOverAllSamples() throws {
    var probe = OperatorProbe()
    let (x, source) = (try probe.input([6], self.x), try probe.input([6], self.source.suffix(12)))
    let all = try probe.call(
      "aten.slice_scatter.default", ["self": .tensor(x), "src": .tensor(source), "dim": .number(0)])
    #expect(try probe.values(of: all) == Array(self.source.suffix(12)))
    let part = try probe.builder.sliced(source, 1, start: 0, count: 2)
    let columns = try probe.call(
      "aten.slice_scatter.default",
      [
        "self": .tensor(x), "src": .tensor(part), "dim": .number(1), "start": .number(-5),
        "step": .number(3),
      ])
    #expect(
      try probe.values(of: columns) == [0, 104, 2, 3, 105, 5, 6, 110, 8, 9, 111, 11])
  }
}
