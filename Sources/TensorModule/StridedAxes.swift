import CKernels

/// Axes over which two operands, a gate and an output are walked together: the sizes, and per array
/// how far its elements are apart. An array that does not move along an axis is repeated there; an
/// output that does not move is a sum.
public struct StridedAxes: Sendable {
  /// The most that there can be.
  public static let maximum = Int(CK_MAX_RANK)

  private(set) var strides = ck_strides()

  /// No axes: one element.
  public init() {}

  /// Adds an axis inside of those before.
  public mutating func append(_ size: Int, a: Int, b: Int = 0, gate: Int = 0, out: Int) {
    precondition(strides.rank < Self.maximum, "StridedAxes: more than \(Self.maximum) axes")
    let axis = strides.rank
    func set<Tuple>(_ tuple: inout Tuple, _ value: Int) {
      withUnsafeMutableBytes(of: &tuple) {
        $0.storeBytes(of: value, toByteOffset: axis * MemoryLayout<Int>.stride, as: Int.self)
      }
    }
    set(&strides.sizes, size)
    set(&strides.a, a)
    set(&strides.b, b)
    set(&strides.gate, gate)
    set(&strides.out, out)
    strides.rank += 1
  }
}

/// How far elements of a row-major array are apart along each of its dimensions.
public func rowMajorStrides(_ shape: [Int]) -> [Int] {
  var strides = [Int](repeating: 1, count: shape.count)
  for axis in shape.indices.dropLast().reversed() {
    strides[axis] = strides[axis + 1] * shape[axis + 1]
  }
  return strides
}

/// Those of an array that is repeated to fill a larger shape, dimensions matched from the last one:
/// 0 along what it lacks. `nil` if it does not fit.
public func broadcastStrides(_ shape: [Int], to target: [Int]) -> [Int]? {
  guard shape.count <= target.count else { return nil }
  let own = rowMajorStrides(shape)
  var strides = [Int](repeating: 0, count: target.count)
  for (axis, size) in shape.enumerated() {
    let place = axis + target.count - shape.count
    if size != 1 && size != target[place] { return nil }
    strides[place] = size == 1 ? 0 : own[axis]
  }
  return strides
}
