import Curvature
import GraphModule
import TensorModule

/// A direction put together tensor by tensor, each with a power of two of its own until all are
/// there: one tensor's part may be 1e-60 of another's while both are formed.
///
/// Parts of different tensors may be set at the same time.
final class DirectionParts<S: EngineScalar> {
  private let program: Program
  private let vector: Vector<S>
  /// Per parameter of the graph; `absent` where there is no part, or one of zeros.
  private let exponents: UnsafeMutablePointer<Int>
  private static var absent: Int { .min }
  /// What stands for a part that is not finite.
  private static var invalid: Int { .max }
  /// Of each parameter, as two factors.
  private let errors: UnsafeMutablePointer<(value: Double, exponent: Int)>
  /// The same of what solves have left out, in the metric of the curvature.
  private let missing: UnsafeMutablePointer<(value: Double, exponent: Int)>
  private let count: Int
  /// Of blocks that are solved for by iterations, one after the other.
  var solves = BlockSolves()
  /// Of each parameter and sample, for each of the errors with which it is measured.
  private let responses: [SampleResponses]

  /// - Parameters:
  ///   - samples: N, where what errors do to the samples is measured.
  ///   - errors: With how many of them.
  init(_ program: Program, samples: Int = 0, errors draws: Int = 0) {
    self.program = program
    responses = (0..<draws).map { _ in
      SampleResponses(parameters: program.graph.parameters.count, samples: samples)
    }
    vector = Vector(count: program.parameterCount)
    count = max(program.graph.parameters.count, 1)
    exponents = .allocate(capacity: count)
    exponents.initialize(repeating: Self.absent, count: count)
    errors = .allocate(capacity: count)
    errors.initialize(repeating: (0, 0), count: count)
    missing = .allocate(capacity: count)
    missing.initialize(repeating: (0, 0), count: count)
  }

  deinit {
    exponents.deallocate()
    errors.deallocate()
    missing.deallocate()
  }

  /// How far the part of one tensor, or of a layer named by one of its tensors, may be from exact
  /// arithmetic: `value` times two to the power `exponent`.
  func setError(_ parameter: ParameterID, _ value: Double, exponent: Int) {
    errors[parameter.index] = (value, exponent)
  }

  /// What one of the errors e of the part of a tensor does along the gradients of the samples, `[N]`: `g_n . e` of
  /// the tensor.
  func setResponse(_ parameter: ParameterID, error: Int, _ values: [Double], exponent: Int) {
    responses[error].set(parameter, values, exponent: exponent, isBound: false)
  }

  /// A bound on its size, whatever the error.
  func setResponseBound(_ parameter: ParameterID, _ values: [Double], exponent: Int) {
    for response in responses {
      response.set(parameter, values, exponent: exponent, isBound: true)
    }
  }

  /// `|d - exact d|` of a block, which is named by one of its tensors, in the metric of the curvature:
  /// `value` times two to the power `exponent`.
  func setMissing(_ parameter: ParameterID, _ value: Double, exponent: Int) {
    missing[parameter.index] = (value, exponent)
  }

  /// The part of one tensor: `values`, in its storage order, times two to the power `exponent`.
  func set(_ parameter: ParameterID, _ values: UnsafePointer<Double>, exponent: Int) {
    let count = program.graph.parameters[parameter.index].count
    set(parameter, values, rows: 1, columns: count, stride: count, exponent: exponent)
  }

  /// The same of values in rows, from one of which to the next there are `stride`.
  func set(
    _ parameter: ParameterID, _ values: UnsafePointer<Double>, rows: Int, columns: Int, stride: Int,
    exponent: Int
  ) {
    let largest = (0..<rows).reduce(0.0) {
      let own = Kernels.largest(values + $1 * stride, count: columns)
      return own.isFinite ? max($0, own) : .infinity
    }
    guard largest.isFinite else {
      exponents[parameter.index] = Self.invalid
      return
    }
    if largest == 0 { return }
    let own = max(largest.exponent, -1022)
    let target = vector.pointer + program.offsets[parameter.index]!
    let factor = Double(sign: .plus, exponent: -own, significand: 1)
    withUnsafeTemporaryAllocation(of: Double.self, capacity: Self.tile) {
      let tile = $0.baseAddress!
      for row in 0..<rows {
        for first in Swift.stride(from: 0, to: columns, by: Self.tile) {
          let count = min(Self.tile, columns - first)
          Kernels.copy(values + row * stride + first, tile, count: count)
          Kernels.axpby(0, tile, factor, tile, count: count)
          Kernels.fromDouble(tile, target + row * columns + first, count: count)
        }
      }
    }
    exponents[parameter.index] = exponent + own
  }

  /// Numbers that are converted at once, in the first-level cache.
  private static var tile: Int { 2048 }

  /// The parts of several tensors, one after the other in `values`.
  func set(_ group: [ParameterID], _ values: UnsafePointer<Double>, exponent: Int) {
    var values = values
    for parameter in group {
      set(parameter, values, exponent: exponent)
      values += program.graph.parameters[parameter.index].count
    }
  }

  /// The same as a share of the norm of the part, `[count]`.
  func setError(
    _ parameter: ParameterID, relative error: Double, of values: UnsafePointer<Double>, count: Int,
    exponent: Int
  ) {
    let norm = Kernels.dot(values, values, count: count).squareRoot()
    setError(parameter, norm > 0 ? error * norm : 0, exponent: exponent)
  }

  /// All parts in one scale, NaN where one of them is not finite, with an estimate of the whole
  /// direction's relative error.
  func finished() -> (scaled: ScaledVector<S>, relativeError: Double, missing: Double) {
    let present = program.trainable.filter { exponents[$0.index] != Self.absent }
    if present.contains(where: { exponents[$0.index] == Self.invalid }) {
      return (ScaledVector(vector: vector, scale: .nan), .infinity, .infinity)
    }
    guard let top = present.map({ exponents[$0.index] }).max() else {
      return (ScaledVector(vector: vector, scale: 1), 0, 0)
    }
    for parameter in present {
      let shift = max(exponents[parameter.index] - top, -1074)
      if shift == 0 { continue }
      let target = vector.pointer + program.offsets[parameter.index]!
      Kernels.axpby(
        0, target, Double(sign: .plus, exponent: shift, significand: 1), target,
        count: program.graph.parameters[parameter.index].count)
    }
    let norm = Kernels.dot(
      UnsafePointer(vector.pointer), UnsafePointer(vector.pointer), count: vector.count
    ).squareRoot()
    return (
      ScaledVector(
        vector: vector,
        scale: Double(sign: .plus, exponent: min(max(top, -1022), 1023), significand: 1)),
      size(of: errors, top: top) / norm, size(of: missing, top: top)
    )
  }

  /// Of the whole error of the direction that `finished` returns, `[N]`, where it was measured: of several the
  /// largest.
  var response: [Double]? {
    if responses.isEmpty { return nil }
    let top = program.trainable.lazy.map { self.exponents[$0.index] }.filter {
      $0 != Self.absent && $0 != Self.invalid
    }.max()
    let totals = responses.map { $0.total(top: top ?? 0) }
    return totals[0].indices.map { n in totals.reduce(0) { max($0, $1[n]) } }
  }

  /// The root of the sum of squares, over two to the power `top`.
  private func size(
    of errors: UnsafeMutablePointer<(value: Double, exponent: Int)>, top: Int
  ) -> Double {
    (0..<count).reduce(0.0) { sum, place in
      let (value, exponent) = errors[place]
      // Beyond the range of numbers it is as good as infinite.
      let shift = min(max(exponent - top, -1022), 1023)
      let own = value * Double(sign: .plus, exponent: shift, significand: 1)
      return sum + own * own
    }.squareRoot()
  }
}

/// Directions at several dampings that are put together at the same time.
struct DampedParts<S: EngineScalar> {
  /// With lambda in units of the square of the Gram matrix's.
  let all: [(lambda: Double, parts: DirectionParts<S>)]
  private let dampings: [(damping: Damping, lambda: Double)]
  private let parameterCount: Int

  init(_ program: Program, _ dampings: [Damping], _ lambdas: [BatchGradients<S>.Lambda]) {
    parameterCount = program.parameterCount
    all = lambdas.map { ($0.scaled, DirectionParts(program)) }
    self.dampings = zip(dampings, lambdas).map { ($0, $1.value) }
  }

  func finished() -> [Direction<S>] {
    zip(all, dampings).map { one, damping in
      let (scaled, error, missing) = one.parts.finished()
      var direction = Direction(
        damping: damping.damping, lambda: damping.lambda, scaled: scaled, relativeError: error)
      if one.parts.solves.blocks > 0 {
        (direction.missing, direction.solves) = (missing, one.parts.solves)
      }
      return direction
    }
  }

  /// In place of directions that cannot be formed in any precision.
  func beyondNumbers() -> [Direction<S>] {
    dampings.map {
      .beyondNumbers(damping: $0.damping, count: parameterCount, isOfEngine: false)
    }
  }
}

/// lambda of a whole batch in the units of one part of it: `scaled` times `from^2` is it times
/// `to^2`. Both units are powers of two.
///
/// What is beyond all numbers leaves nothing of the matrix either way; what is below them is none.
func rescaled(lambda scaled: Double, from: Double, to: Double) -> Double {
  guard scaled > 0 else { return 0 }
  if !scaled.isFinite { return 0x1p996 }
  let exponent = scaled.exponent + 2 * (from.exponent - to.exponent)
  if exponent < -1022 { return 0 }
  return Double(
    sign: .plus, exponent: min(exponent, 996), significand: scaled.significand)
}
