import Testing

@testable import Models

/// Windows in the padding, with strides and dilations, against loops over their taps.
struct WindowGeometryTests {
  /// One dimension of a window.
  private struct Side {
    let size: Int
    let kernel: Int
    let stride: Int
    let padding: Int
    let dilation: Int

    var places: Int { (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1 }

    /// What a tap of a window sees; `nil` in the padding.
    func source(_ place: Int, _ tap: Int) -> Int? {
      let at = place * stride + tap * dilation - padding
      return (0..<size).contains(at) ? at : nil
    }
  }

  private static let sides = [
    Side(size: 7, kernel: 3, stride: 2, padding: 1, dilation: 2),
    Side(size: 4, kernel: 2, stride: 1, padding: 1, dilation: 3),
    Side(size: 5, kernel: 3, stride: 3, padding: 1, dilation: 1),
  ]

  private static func count(_ sizes: [Int]) -> Int { sizes.reduce(1, *) }

  private static func index(_ number: Int, _ sizes: [Int]) -> [Int] {
    var rest = number
    let reversed = sizes.reversed().map { size -> Int in
      defer { rest /= size }
      return rest % size
    }
    return reversed.reversed()
  }

  /// The pixel that a tap of a window sees.
  private static func pixel(_ sides: [Side], place: Int, tap: Int) -> Int? {
    let (at, inside) = (index(place, sides.map(\.places)), index(tap, sides.map(\.kernel)))
    var pixel = 0
    for (axis, side) in sides.enumerated() {
      guard let source = side.source(at[axis], inside[axis]) else { return nil }
      pixel = pixel * side.size + source
    }
    return pixel
  }

  /// Distinct numbers in no order.
  private static func numbers(_ count: Int) -> [Double] {
    (0..<count).map { Double($0 * 37 % 499) - 250 }
  }

  private static func arguments(_ sides: [Side]) -> [String: OperatorCall.Value] {
    [
      "kernel_size": .list(sides.map(\.kernel)), "stride": .list(sides.map(\.stride)),
      "padding": .list(sides.map(\.padding)), "dilation": .list(sides.map(\.dilation)),
    ]
  }

  @Test(arguments: 1...3)
  func maximumPools(_ rank: Int) throws {
    let sides = Array(Self.sides.prefix(rank))
    let size = Self.count(sides.map(\.size))
    let x = Self.numbers(OperatorProbe.samples * size)
    var probe = OperatorProbe()
    var arguments = Self.arguments(sides)
    arguments["self"] = .tensor(try probe.input([1] + sides.map(\.size), x))
    let result = try probe.call(
      "aten.max_pool\(rank)d.default"[...], arguments,
      sizes: [probe.builder.samples, 1] + sides.map(\.places))
    let taps = Self.count(sides.map(\.kernel))
    let expected = (0..<OperatorProbe.samples).flatMap { n in
      (0..<Self.count(sides.map(\.places))).map { place in
        (0..<taps).compactMap { Self.pixel(sides, place: place, tap: $0) }
          .map { x[n * size + $0] }.max()!
      }
    }
    #expect(try probe.values(of: result) == expected)
  }

  /// Channels and taps in front of the places.
  @Test func windowsSideBySide() throws {
    let sides = Array(Self.sides.prefix(2))
    let (size, channels) = (Self.count(sides.map(\.size)), 2)
    let (places, taps) = (Self.count(sides.map(\.places)), Self.count(sides.map(\.kernel)))
    let x = Self.numbers(OperatorProbe.samples * channels * size)
    var probe = OperatorProbe()
    var arguments = Self.arguments(sides)
    arguments["self"] = .tensor(try probe.input([channels] + sides.map(\.size), x))
    let result = try probe.call(
      "aten.im2col.default", arguments,
      sizes: [probe.builder.samples, channels * taps, places])
    let expected = (0..<OperatorProbe.samples * channels).flatMap { image in
      (0..<taps * places).map { i in
        Self.pixel(sides, place: i % places, tap: i / places).map { x[image * size + $0] } ?? 0
      }
    }
    #expect(try probe.values(of: result) == expected)
  }

  @Test func windowsPutBack() throws {
    let sides = Array(Self.sides.prefix(2))
    let (size, channels) = (Self.count(sides.map(\.size)), 2)
    let (places, taps) = (Self.count(sides.map(\.places)), Self.count(sides.map(\.kernel)))
    let x = Self.numbers(OperatorProbe.samples * channels * taps * places)
    var probe = OperatorProbe()
    var arguments = Self.arguments(sides)
    arguments["output_size"] = .list(sides.map(\.size))
    arguments["self"] = .tensor(try probe.input([channels * taps, places], x))
    let result = try probe.call(
      "aten.col2im.default", arguments,
      sizes: [probe.builder.samples, channels] + sides.map(\.size))
    var expected = [Double](repeating: 0, count: OperatorProbe.samples * channels * size)
    for image in 0..<OperatorProbe.samples * channels {
      for i in 0..<taps * places {
        if let pixel = Self.pixel(sides, place: i % places, tap: i / places) {
          expected[image * size + pixel] += x[image * taps * places + i]
        }
      }
    }
    #expect(try probe.values(of: result) == expected)
  }
}
