import TensorModule
import TestSupport
import Testing

@testable import GraphModule

/// Cotangents of which some rows are multiples of those of the first direction.
struct CotangentMultipleTests {
  private static let (positions, inputs, outputs, samples) = (3, 7, 1030, 2)
  private static var rows: Int { positions * samples }

  @Test(arguments: [0, 1, 5, 12])
  func productsAreThoseOfEachDirectionAlone(multiples: Int) throws {
    // What differs by four units in the last place is taken for the same.
    try check(Double.self, multiples, tolerance: 4e-15)
    try check(Float.self, multiples, tolerance: 2e-6)
  }

  private func check<S: EngineScalar>(_: S.Type, _ multiples: Int, tolerance: Double) throws {
    let cotangents = Self.cotangents(multiples)
    let run = try Self.run(S.self)
    let together = run.vjp(cotangents).sums
    for (found, cotangent) in zip(together, cotangents) {
      let alone = run.vjp([cotangent]).sums[0]
      let scale = alone.reduce(0) { max($0, abs($1)) }
      #expect(mismatch(found, alone, tolerance: tolerance, scale: scale) == nil)
    }
    let multiplied = multiples == 0 ? nil : 3 * Self.rows - multiples
    #expect(Self.multiplied(cotangents, S.self) == multiplied)
  }

  /// A label that takes up nearly all of the first direction, and of which next to nothing is in the second:
  /// the difference of two large products would have lost its digits.
  @Test func rowsThatCancelAreMultiplied() throws {
    var random = SeededGenerator(seed: 9)
    var first = random.normals(Self.rows * Self.outputs, scale: 1e-6)
    var second = first.map { -2 * $0 }
    for row in 0..<Self.rows {
      first[row * Self.outputs + 5] = 1
      second[row * Self.outputs + 5] = 1e-7
    }
    #expect(Self.multiplied([first, second], Double.self) == nil)
    // Rows that are short are not looked at.
    let short = [[1.0, 2, 3], [2, 4, 6]]
    #expect(Self.multiplied(short, Double.self, rows: 1, columns: 3) == nil)
  }

  @Test func onlyFewPlacesMayDiffer() {
    var random = SeededGenerator(seed: 10)
    let first = random.normals(Self.outputs)
    for count in [4, 5] {
      var second = first.map { 3 * $0 }
      for place in 0..<count { second[place * 100 + 1] += 1 }
      let found = Self.multiplied([first, second], Float.self, rows: 1, columns: Self.outputs)
      #expect(found == (count == 4 ? 1 : nil))
    }
  }

  // MARK: - Pieces

  /// Of three directions, of which so many rows of the later two are multiples.
  private static func cotangents(_ multiples: Int) -> [[Double]] {
    var random = SeededGenerator(seed: 7)
    var cotangents = (0..<3).map { _ in random.normals(rows * outputs) }
    for number in 0..<multiples {
      // Not side by side: 5 and 12 have no divisor in common.
      let place = number * 5 % (2 * rows)
      let (direction, row) = (1 + place / rows, place % rows)
      let factor = number == 3 ? 0 : 0.3 - Double(number)
      for column in row * outputs..<(row + 1) * outputs {
        cotangents[direction][column] = factor * cotangents[0][column]
      }
      for column in [number, 500, outputs - 1].prefix(number % 4) {
        cotangents[direction][row * outputs + column] += 0.7
      }
    }
    return cotangents
  }

  private static func multiplied<S: EngineScalar>(
    _ cotangents: [[Double]], _: S.Type, rows: Int = rows, columns: Int = outputs
  ) -> Int? {
    let memory = Vector(cotangents.joined().map { S($0) })
    return CotangentMultiples(
      memory.pointer, directions: cotangents.count, rows: rows, columns: columns)?.multiplied
  }

  private static func run<S: EngineScalar>(_: S.Type) throws -> Run<S> {
    let b = GraphBuilder()
    let x = try b.input("x", shape: [positions, inputs], kind: .real)
    let shift = try b.parameter("shift", shape: [positions, inputs])
    let weight = try b.parameter("weight", shape: [outputs, inputs])
    let moved = try b.apply(AddParameter(), to: [x], parameters: [shift], name: "moved")
    let output = try b.apply(Linear(), to: [moved], parameters: [weight], name: "head")
    let program = Program(graph: b.finish(output: output, shape: [positions * outputs])) {
      $0.name == "shift"
    }
    var random = SeededGenerator(seed: 8)
    func vector(_ count: Int) -> Vector<S> { Vector(random.normals(count).map { S($0) }) }
    return Run(
      program, ParameterStore([vector(positions * inputs), vector(outputs * inputs)]),
      BatchInputs(samples: samples, values: [.real(vector(samples * positions * inputs))]),
      directions: 3)
  }
}
