import TensorModule

/// A value as `[outer, length, inner]` around one of its dimensions.
struct Slabs: Sendable, Equatable {
  private(set) var outer = 1
  private(set) var length = 1
  private(set) var inner = 1

  init() {}

  init(_ shape: [Int], axis: Int) {
    outer = shape[..<axis].reduce(1, *)
    length = shape[axis]
    inner = shape[(axis + 1)...].reduce(1, *)
  }

  var count: Int { outer * length * inner }

  /// Slab `from` of every sample of x to slab `to` of the target, or added to it.
  func copy<S: EngineScalar>(
    _ from: Int, of x: UnsafePointer<S>, stride: Int, slabs count: Int = 1, samples: Int,
    to place: Int, of target: UnsafeMutablePointer<S>, _ other: Slabs, accumulate: Bool = false
  ) {
    var axes = StridedAxes()
    axes.append(samples, a: stride, out: other.count)
    axes.append(outer, a: length * inner, out: other.length * inner)
    axes.append(count * inner, a: 1, out: 1)
    Kernels.contract(
      axes, x + from * inner, to: target + place * inner, accumulate: accumulate)
  }
}

/// Entries of one dimension, in any order and any number of times: rows on which something depends.
package struct Take: Operation {
  package let axis: Int
  package let indices: [Int]
  private var from = Slabs()
  private var to = Slabs()

  package init(axis: Int = 0, _ indices: [Int]) {
    self.axis = axis
    self.indices = indices
  }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    var shape = try operands.real(0).shape
    guard shape.indices.contains(axis), indices.allSatisfy({ (0..<shape[axis]).contains($0) })
    else {
      throw operands.mismatch(0, "entry \(indices.max() ?? 0) in dimension \(axis)")
    }
    from = Slabs(shape, axis: axis)
    shape[axis] = indices.count
    to = Slabs(shape, axis: axis)
    return try ValueType(shape)
  }

  package func readsOneRow(_ input: Int) -> Bool { true }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    take(pass.value(0), stride: pass.stride(0), samples: pass.samples, pass.output)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    take(
      pass.tangent(0)!, stride: from.count, samples: pass.directions * pass.samples, pass.output)
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let samples = pass.directions * pass.samples
    if !accumulate { Kernels.zero(target, count: samples * from.count) }
    for (place, index) in indices.enumerated() {
      to.copy(
        place, of: pass.cotangent, stride: to.count, samples: samples, to: index, of: target, from,
        accumulate: true)
    }
  }

  private func take<S: EngineScalar>(
    _ x: UnsafePointer<S>, stride: Int, samples: Int, _ output: UnsafeMutablePointer<S>
  ) {
    for (place, index) in indices.enumerated() {
      from.copy(index, of: x, stride: stride, samples: samples, to: place, of: output, to)
    }
  }
}

/// Values behind each other along one dimension.
package struct Concatenate: Operation {
  package let axis: Int
  private var parts: [Slabs] = []
  private var whole = Slabs()

  package init(axis: Int) { self.axis = axis }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1 << 20, parameters: 0...0)
    var shape = try operands.real(0).shape
    guard shape.indices.contains(axis) else {
      throw operands.mismatch(0, "a dimension \(axis)")
    }
    parts = []
    var length = 0
    for input in operands.inputs.indices {
      let own = try operands.real(input).shape
      var expected = shape
      if own.indices.contains(axis) { expected[axis] = own[axis] }
      guard own == expected, let sum = checkedSum(length, own[axis]) else {
        throw operands.mismatch(input, "\(shape) but for dimension \(axis)")
      }
      parts.append(Slabs(own, axis: axis))
      length = sum
    }
    shape[axis] = length
    let type = try ValueType(shape)
    whole = Slabs(shape, axis: axis)
    return type
  }

  package func readsOneRow(_ input: Int) -> Bool { true }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: parts.map { _ in false })
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    forEachPart { input, part, place in
      part.copy(
        0, of: pass.value(input), stride: pass.stride(input), slabs: part.length,
        samples: pass.samples, to: place, of: pass.output, whole)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let samples = pass.directions * pass.samples
    let isWhole = parts.indices.allSatisfy { pass.tangent($0) != nil }
    if !isWhole { Kernels.zero(pass.output, count: samples * whole.count) }
    forEachPart { input, part, place in
      guard let tangent = pass.tangent(input) else { return }
      part.copy(
        0, of: tangent, stride: part.count, slabs: part.length, samples: samples, to: place,
        of: pass.output, whole)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    forEachPart { input, part, place in
      // Asked for again after the first write: one value may be several parts.
      guard let (target, accumulate) = pass.inputCotangent(input) else { return }
      whole.copy(
        place, of: pass.cotangent, stride: whole.count, slabs: part.length,
        samples: pass.directions * pass.samples, to: 0, of: target, part, accumulate: accumulate)
      pass.markWritten(input)
    }
  }

  private func forEachPart(_ body: (_ input: Int, _ part: Slabs, _ place: Int) -> Void) {
    var place = 0
    for (input, part) in parts.enumerated() {
      body(input, part, place)
      place += part.length
    }
  }
}
