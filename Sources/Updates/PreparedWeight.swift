import Curvature
import GraphModule
import TensorModule

/// The gradients of one weight as matrix steps take them: in the form that takes less, in units of their own and
/// in orthonormal bases of what they span.
struct PreparedWeight: Sendable {
  let reduced: ReducedMatrices
  /// What the matrices are multiplied by to be gradients, `2^exponent`.
  let size: Double
  let exponent: Int
  /// What rounding has left in those of each sample, as a share of them, `[N]`.
  let errors: [Double]

  /// - Parameter unit: What the matrices are divided by.
  /// - Returns: `nil` where they are nothing but rounding.
  static func prepared(
    _ all: GradientMatrices, unit: Double, level: TensorLevel
  ) throws(LinearAlgebraError) -> PreparedWeight? {
    let (smaller, cancellation) = all.inSmallerForm()
    // In units of its own: one tensor's gradients may be 1e-60 of another's.
    let (matrices, own) = smaller.normalized
    let size = unit * own
    let share = level.share(
      of: matrices.squareNorm.squareRoot() * size, entries: all.rows * all.columns)
    if share.isRounding { return nil }
    return PreparedWeight(
      reduced: try matrices.reduced(), size: size, exponent: unit.exponent + own.exponent,
      errors: zip(level.errors, cancellation).map { $0 * max(share.errorFactor, $1) })
  }
}

/// Those of all weights, kept for the methods that come after the first. Several weights may be set at the same
/// time.
final class PreparedWeights: @unchecked Sendable {
  private enum State {
    case unknown
    case known(PreparedWeight?)
  }

  private let states: UnsafeMutableBufferPointer<State>

  /// - Parameter parameters: Of the graph.
  init(parameters: Int) {
    states = .allocate(capacity: parameters)
    states.initialize(repeating: .unknown)
  }

  deinit {
    states.deinitialize()
    states.deallocate()
  }

  func isKnown(_ parameter: ParameterID) -> Bool {
    if case .known = states[parameter.index] { true } else { false }
  }

  subscript(parameter: ParameterID) -> PreparedWeight? {
    if case .known(let weight) = states[parameter.index] { weight } else { nil }
  }

  func set(_ parameter: ParameterID, _ weight: PreparedWeight?) {
    states[parameter.index] = .known(weight)
  }
}

/// How large gradients are, and what rounding leaves in them where they cancel.
struct TensorLevel {
  /// Of gradients in double that exact arithmetic has zero, as a share of what they are summed from.
  static var rounding: Double { 1e-14 }

  /// Of rows, `[N]`, as shares of their norms.
  let errors: [Double]
  /// The root of the sum of all rows' squares, for one entry on the average.
  let ofEntry: Double

  init<S: EngineScalar>(_ gradients: BatchGradients<S>) {
    errors = Array(gradients.errors.relative[..<gradients.samples])
    let ones = (0..<gradients.gram.count).map { $0 < gradients.samples ? 1.0 : 0 }
    ofEntry =
      gradients.size(of: ones) * gradients.gram.unit
      / Double(max(gradients.linearization.parameterCount, 1)).squareRoot()
  }

  /// - Parameter size: The root of the sum of squares of one tensor's gradients.
  /// - Returns: Whether it is nothing but rounding, and by how much its errors, as shares of it, are larger
  ///   than those of whole rows.
  func share(of size: Double, entries: Int) -> (isRounding: Bool, errorFactor: Double) {
    let usual = ofEntry * Double(entries).squareRoot()
    return (size <= Self.rounding * usual, size > 0 ? max(1, usual / size) : 1)
  }
}
