import GraphModule
import TensorModule

/// Images at other sizes, and their windows side by side.
extension Operators {
  static let resampling: [String: Builder] = {
    var table: [String: Builder] = [:]
    for (name, rank, mode) in [
      ("nearest1d", 1, Interpolation.nearest), ("nearest2d", 2, .nearest),
      ("nearest3d", 3, .nearest), ("_nearest_exact1d", 1, .nearestExact),
      ("_nearest_exact2d", 2, .nearestExact), ("_nearest_exact3d", 3, .nearestExact),
      ("linear1d", 1, .linear), ("bilinear2d", 2, .linear), ("trilinear3d", 3, .linear),
      ("bicubic2d", 2, .cubic),
    ] {
      let full = name.hasPrefix("_") ? "_upsample\(name)" : "upsample_\(name)"
      for overload in ["default", "vec"] {
        table["aten.\(full).\(overload)"] = { try [$0.interpolated($1, rank: rank, mode)] }
      }
    }
    table["aten.im2col.default"] = { builder, call in
      let x = try call.tensor("self")
      let window = try builder.blocks(call, image: Array(x.sizes.suffix(2)))
      let front = Array(x.sizes.dropLast(2))
      let flat = try builder.viewed(x, front + [window.pixels])
      let taps = try builder.mapped(
        flat, front.count, window.grid(.tapsFirst), front + [window.taps * window.places])
      return [try builder.viewed(taps, call.results[0].sizes)]
    }
    table["aten.col2im.default"] = { builder, call in
      let x = try call.tensor("self")
      let window = try builder.blocks(
        call, image: WindowGeometry.spread(call.integers("output_size"), 2))
      let front = Array(call.results[0].sizes.dropLast(2))
      let flat = try builder.viewed(x, front + [window.taps * window.places])
      let pixels = try builder.mapped(
        flat, front.count, window.grid(.tapsFirst).map(\.transposed), front + [window.pixels])
      return [try builder.viewed(pixels, call.results[0].sizes)]
    }
    return table
  }()
}

enum Interpolation {
  case nearest
  /// At the middle of every pixel.
  case nearestExact
  case linear
  case cubic

  /// Entries of one axis and their weights at a place of it.
  func terms(at place: Int, ratio: Double, size: Int, alignsCorners: Bool) -> [SparseMap.Term] {
    let middle = ratio * (Double(place) + 0.5) - 0.5
    switch self {
    case .nearest: return [.init(min(Int(Double(place) * ratio), size - 1))]
    case .nearestExact: return [.init(min(Int((Double(place) + 0.5) * ratio), size - 1))]
    case .linear:
      let at = alignsCorners ? ratio * Double(place) : max(middle, 0)
      let first = min(Int(at), size - 1)
      let weight = at - Double(first)
      return [.init(first, 1 - weight), .init(min(first + 1, size - 1), weight)]
    case .cubic:
      let at = alignsCorners ? ratio * Double(place) : middle
      let first = at.rounded(.down)
      return (-1...2).map { step in
        .init(
          min(max(Int(first) + step, 0), size - 1),
          Self.cubicWeight(abs(at - first - Double(step))))
      }
    }
  }

  /// Keys' kernel with PyTorch's a = -0.75.
  private static func cubicWeight(_ x: Double) -> Double {
    let a = -0.75
    return x <= 1
      ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
  }
}

extension TensorBuilder {
  fileprivate func blocks(_ call: OperatorCall, image: [Int]) throws -> WindowGeometry {
    try WindowGeometry(
      image: image, kernel: WindowGeometry.spread(call.integers("kernel_size"), 2),
      stride: WindowGeometry.spread(call.integers("stride"), 2),
      padding: WindowGeometry.spread(call.integers("padding"), 2).map { ($0, $0) },
      dilation: WindowGeometry.spread(call.integers("dilation"), 2))
  }

  mutating func interpolated(
    _ call: OperatorCall, rank: Int, _ mode: Interpolation
  ) throws -> ImportedTensor {
    let x = try call.tensor(call.has("input") ? "input" : "self")
    try requireFree(x, last: rank)
    let alignsCorners = try call.bool("align_corners", default: false)
    let factors = try scaleFactors(call, rank)
    var result = x
    for axis in 0..<rank {
      let dimension = x.rank - rank + axis
      let (size, count) = (x.sizes[dimension], call.results[0].sizes[dimension])
      let ratio =
        alignsCorners
        ? (count > 1 ? Double(size - 1) / Double(count - 1) : 0)
        : factors.map { 1 / $0[axis] } ?? Double(size) / Double(count)
      guard size > 0, (1...1 << 24).contains(count), (0...Double(1 << 24)).contains(ratio) else {
        throw ImportFailure("a dimension of \(size) at \(count) places")
      }
      let rows = (0..<count).lazy.map {
        mode.terms(at: $0, ratio: ratio, size: size, alignsCorners: alignsCorners)
      }
      result = try mapped(result, dimension, rows)
    }
    return result
  }

  /// Where the user has given them, they count, and not the ratio of the sizes.
  private func scaleFactors(_ call: OperatorCall, _ rank: Int) throws -> [Double]? {
    let names = rank == 1 ? ["scales"] : Array(["scales_d", "scales_h", "scales_w"].suffix(rank))
    let isList = call.has("scale_factors")
    guard isList || names.allSatisfy(call.has) else { return nil }
    let factors = try isList ? call.reals("scale_factors") : names.map { try call.real($0) }
    guard factors.count == rank else {
      throw ImportFailure("\(factors.count) scale factors of \(rank) dimensions")
    }
    return factors
  }
}
