import TensorModule

/// A symmetric matrix known only by its products: all a solver may know of it.
///
/// Equal inputs must give equal products, bit by bit; a solver tells rounding from progress by
/// comparing them.
public protocol LinearOperator<Scalar> {
  /// Of its vectors.
  associatedtype Scalar: EngineScalar

  /// P: the operator maps `[P]` to `[P]`.
  var dimension: Int { get }

  /// A declaration, not a computation: `v^T A v >= 0` for every `v`.
  var isPositiveSemidefinite: Bool { get }

  /// Writes `A v` into `product` and returns `v^T A v` in double.
  ///
  /// An operator that computes `|B v|^2` on its way should return that: it does not cancel, and it
  /// is exact where the product has been rounded to `Scalar`. Others return
  /// `operations.dot(v, product)`.
  func apply(_ v: Vector<Scalar>, into product: Vector<Scalar>) throws(SolveError) -> Double

  /// Relative rounding of what the products are made of: that of `Scalar`, unless vectors are kept
  /// in a higher precision than products have.
  var rounding: Double { get }

  /// Fraction of `|A| |v|^2` below which `v^T A v` is rounding. Computed as `|B v|^2`, whose `B v`
  /// has errors of `rounding |B| |v|`, it is `rounding` squared; as an inner product of `v` with a
  /// rounded `A v`, it is `rounding` itself, which is what an operator gets that says nothing.
  var quadraticRounding: Double { get }

  /// Called when a vector has new entries and inner products with it come next. Where vectors are
  /// pairs (`VectorOperations.InnerProduct`) and products fill the first halves only, this
  /// brings the second half up to date; elsewhere there is nothing to do.
  func settle(_ x: Vector<Scalar>) throws(SolveError)
}

extension LinearOperator {
  public var rounding: Double { Double(Scalar.ulpOfOne) }
  public var quadraticRounding: Double { rounding }
  public func settle(_ x: Vector<Scalar>) throws(SolveError) {}
}

// MARK: -

/// `A + mu I`
public struct DampedOperator<Base: LinearOperator>: LinearOperator {
  /// A
  public let base: Base
  /// Not negative, in the units of the operator.
  public let mu: Double
  private let operations: VectorOperations<Base.Scalar>

  /// - Parameter mu: Not negative, in the units of the operator.
  public init(_ base: Base, mu: Double, operations: VectorOperations<Base.Scalar>) {
    precondition(mu >= 0 && mu.isFinite, "DampedOperator: mu = \(mu)")
    self.base = base
    self.mu = mu
    self.operations = operations
  }

  public var dimension: Int { base.dimension }
  public var isPositiveSemidefinite: Bool { base.isPositiveSemidefinite }
  public var rounding: Double { base.rounding }
  public var quadraticRounding: Double { base.quadraticRounding }
  public func settle(_ x: Vector<Base.Scalar>) throws(SolveError) { try base.settle(x) }

  public func apply(
    _ v: Vector<Base.Scalar>, into product: Vector<Base.Scalar>
  ) throws(SolveError) -> Double {
    let quadratic = try base.apply(v, into: product)
    if mu == 0 { return quadratic }
    operations.axpby(mu, v, 1, product)
    return quadratic + mu * operations.dot(v, v)
  }
}
