import TensorModule

/// A rectangular matrix B known only by its products, `[M, P]`, for problems `min |B x - w|`.
///
/// The space of the rows is usually the shorter one. Its vectors are in double whatever the
/// precision of the other: they cost little, and what is orthogonal among them stays so.
public protocol FactorOperator<Scalar> {
  /// Of vectors of the long side.
  associatedtype Scalar: EngineScalar

  /// M
  var rows: Int { get }
  /// P
  var columns: Int { get }

  /// `u = B v`
  func apply(_ v: Vector<Scalar>, into u: Vector<Double>) throws(SolveError)

  /// `B^T u = scale v`: writes v and returns the scale, positive, which keeps v in the range of
  /// `Scalar` however small u is.
  func applyTransposed(_ u: Vector<Double>, into v: Vector<Scalar>) throws(SolveError) -> Double
}
