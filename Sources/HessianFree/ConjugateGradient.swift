import TensorModule

// Linear conjugate gradients: Algorithm 5 of Wu et al. 2024 (arXiv 2406.06420), which is Hestenes
// and Stiefel 1952, (3:1a)-(3:1f), from x = 0. Departures:
//   - every `residualCheckInterval` steps, and before the tolerance is believed, the true residual
//     b - A x is formed. When the recurrence has drifted from it by more than 10 x the tolerance
//     AND no longer gains anything, or claims to have converged, it starts again from the true
//     one. While it still gains it is left alone: the drift lies in directions that hardly count
//     for the model, and starting again gives up conjugacy to all earlier directions. On a spectrum
//     fading over 12 orders, 3000 steps in double end at 1.002 times the least `|x|_A / x^T b` this
//     way, and at 1.09 times when every drift restarts; over 8 orders in float32 at 1.0003 and 1.04;
//   - a step after which the model has gained less than before, by more than rounding, is taken back;
//   - the best iterate that a product has confirmed is kept aside (`SolveBook`);
//   - while their directions fit into `historyBytes`, residuals are made orthogonal to all earlier
//     ones, as they would be in exact arithmetic (`ResidualHistory`). Not with a preconditioner,
//     whose residuals are orthogonal in another inner product.

/// Settings of a linear conjugate gradient solve; the problem is in the call.
public struct ConjugateGradient: Equatable, Sendable {
  /// When it ends, and what it may keep.
  public var limits: SolveLimits

  /// A solver holds its settings only.
  public init(_ limits: SolveLimits = SolveLimits()) { self.limits = limits }

  /// The vectors of a solve, made once and used again by the next one: r, v, w and the iterate kept
  /// aside; z for the first solve that has a preconditioner; residuals as far as a solve keeps them.
  public final class Workspace<Scalar: EngineScalar> {
    /// Of the space that the solve is in.
    public let operations: VectorOperations<Scalar>
    fileprivate let r, v, w, kept: Vector<Scalar>
    fileprivate private(set) lazy var z = operations.vectors()
    fileprivate let history: ResidualHistory<Scalar>

    /// - Parameter operations: Of the space in whose inner product the operator is symmetric.
    public init(_ operations: VectorOperations<Scalar>) {
      self.operations = operations
      (r, v) = (operations.vectors(), operations.vectors())
      (w, kept) = (operations.vectors(), operations.vectors())
      history = ResidualHistory(operations: operations)
    }

    /// P
    public var dimension: Int { operations.count }
  }
}

extension ConjugateGradient {
  /// Solves `A x = b` for symmetric positive semi-definite `A` by linear conjugate gradients from
  /// `x = 0`, using only products `A v`.
  ///
  /// From a zero start the iterates stay in the range of `A`, so when `A` is singular and `b` lies
  /// in its range the limit is the minimum-norm solution `A^+ b`. (With a preconditioner: the solution
  /// of least `x^T M x`.)
  ///
  /// What the model gains takes no product: `x^T A x = x^T (b - r)`. In exact arithmetic it never falls.
  /// Here a step after which it has fallen by more than rounding is taken back and the recurrence
  /// started again from the true residual, until that brings nothing either.
  ///
  /// - Parameters:
  ///   - a: The operator, `[P] -> [P]`. Equal inputs must give equal products.
  ///   - b: Right-hand side, `[P]`.
  ///   - x: For the solution, `[P]`; what is in it has no influence.
  ///   - preconditioner: `M^-1`, symmetric positive definite; none is the paper's own solver.
  ///   - workspace: For `P` elements. What an earlier solve left in it has no influence.
  ///   - observer: Sees every step, and may end the solve.
  /// - Returns: The best iterate with what is known of it, all steps, and `stop`. Reaching the
  ///   iteration limit or meeting curvature that is not positive is an outcome, not an error: read
  ///   `stop` before relying on `x`. A zero `b` gives `x = 0` after no products.
  /// - Throws: `SolveError.dimensionMismatch` if `a`, `b` and the others differ in `P`;
  ///   `SolveError.notPositiveSemidefinite` if `a` does not declare that it is;
  ///   `SolveError.nonFinite` naming the operand and iteration where NaN or infinity appeared.
  /// - Complexity: One product per iteration, one per residual check, one for the final residual; two
  ///   for each check where vectors are pairs, whose inner products are settled by a product.
  ///   Four vectors of `P` elements, one more with a preconditioner, and the residuals that are kept,
  ///   all in the workspace: a second solve allocates no vector. Inner products accumulate in double.
  ///
  /// Sources: Wu et al. 2024 (arXiv 2406.06420), Algorithm 5 and F.2.1; Hestenes and Stiefel 1952,
  /// (3:1a)-(3:1f); van der Vorst and Ye 2000 on when replacing residuals does harm.
  public func solve<A: LinearOperator>(
    _ a: A, rhs b: Vector<A.Scalar>, into x: Vector<A.Scalar>,
    preconditioner: (any Preconditioner<A.Scalar>)? = nil, workspace: Workspace<A.Scalar>,
    observer: (any SolveObserver<A.Scalar>)? = nil
  ) throws(SolveError) -> SolveResult<A.Scalar> {
    try requireMatching(a, b, x, preconditioner, workspace)
    let vectors = workspace.operations
    let (r, v, w, history) = (workspace.r, workspace.v, workspace.w, workspace.history)
    let settles = vectors.innerProduct != .euclidean
    let book = SolveBook(
      limits, rounding: a.rounding, x: x, kept: workspace.kept, vectors, observer)

    try a.settle(b)
    var rr = vectors.square(b)  // r^T r
    guard rr.isFinite else {
      throw .nonFinite(.rightHandSide, iteration: 0, index: vectors.firstNonFinite(b))
    }
    let bNorm = rr.squareRoot()
    if bNorm == 0 { return book.result }
    book.open()

    // Leaves the true residual b - A x in w.
    func confirm() throws(SolveError) -> ResidualCheck {
      try a.settle(x)
      let quadratic = try a.apply(x, into: w)
      book.result.products += settles ? 2 : 1
      vectors.axpby(1, b, -1, w)
      try a.settle(w)
      let residual = vectors.norm(w) / bNorm
      guard quadratic.isFinite && residual.isFinite else {
        throw .nonFinite(.product, iteration: book.iterations, index: vectors.firstNonFinite(w))
      }
      let terms = ModelTerms(vectors.dot(x, b), quadratic)
      return book.confirm(
        gain: terms.gain, terms: terms, residual: residual, recurrence: rr.squareRoot() / bNorm,
        difference: vectors.distance(w, r) / bNorm)
    }

    // x += alpha v, r -= alpha w.
    func step(_ alpha: Double) throws(SolveError) -> VectorOperations<A.Scalar>.StepSums {
      if !settles {
        return vectors.conjugateGradientStep(alpha: alpha, v: v, w: w, x: x, r: r, b: b)
      }
      vectors.axpby(alpha, v, 1, x)
      vectors.axpby(-alpha, w, 1, r)
      try a.settle(r)
      return vectors.stepSums(x: x, r: r, b: b)
    }

    // z = M^-1 r; returns r^T z.
    func precondition() throws(SolveError) -> Double {
      guard let preconditioner else { return rr }
      try preconditioner.apply(r, into: workspace.z)
      let rz = vectors.dot(r, workspace.z)
      guard rz.isFinite else {
        throw .nonFinite(
          .preconditioned, iteration: book.iterations, index: vectors.firstNonFinite(workspace.z))
      }
      guard rz > 0 || rr == 0 else {
        throw .preconditionerNotPositive(value: rz, iteration: book.iterations)
      }
      return rz
    }

    let bytes = a.dimension * MemoryLayout<A.Scalar>.stride
    let capacity = preconditioner == nil ? limits.keptVectors(of: bytes) : 0
    var rz = 0.0
    var vMv = 0.0  // v^T M v

    var z: Vector<A.Scalar> { preconditioner == nil ? r : workspace.z }

    // The first direction, from a residual.
    func begin(_ residual: Vector<A.Scalar>) throws(SolveError) {
      vectors.copy(residual, to: r)
      history.begin(capacity: capacity)
      history.append(r, norm: rr.squareRoot())
      rz = try precondition()
      vectors.copy(z, to: v)
      vMv = rz
    }

    // From the true residual, which is in w.
    func startAgain() throws(SolveError) -> Bool {
      guard book.startsAgain() else { return false }
      rr = vectors.square(w)
      try begin(w)
      return true
    }

    try begin(b)
    var largestCurvature = 0.0  // max of v^T A v / v^T M v
    while book.hasNext {
      let vAv = try a.apply(v, into: w)
      book.result.products += 1
      guard vAv.isFinite else {
        throw .nonFinite(
          .quadraticForm, iteration: book.iterations + 1, index: vectors.firstNonFinite(w))
      }
      largestCurvature = max(largestCurvature, vAv / vMv)
      let threshold = 4 * a.quadraticRounding * largestCurvature * vMv
      guard vAv > threshold else {
        // A recurrence that has drifted off can have led here by itself.
        if book.iterations > 0, try confirm().difference > limits.drift, try startAgain() {
          continue
        }
        book.result.stop = .curvature(
          quadratic: vAv, threshold: threshold, iteration: book.iterations + 1)
        break
      }

      let alpha = rz / vAv
      let sums = try step(alpha)
      rr = sums.residualSquared
      guard rr.isFinite else {
        throw .nonFinite(
          .residual, iteration: book.iterations + 1, index: vectors.firstNonFinite(r))
      }
      let xb = sums.iterateDotRightHandSide
      let terms = ModelTerms(xb, xb - sums.iterateDotResidual)
      guard book.isGain(terms.gain) else {
        vectors.axpby(-alpha, v, 1, x)
        _ = try confirm()
        if try startAgain() { continue }
        book.stagnate()
        break
      }
      let residual = rr.squareRoot() / bNorm
      book.enter(
        alpha: alpha, residual: rz, gain: terms.gain, terms: terms, relativeResidual: residual)
      let next = try book.next(
        isSpent: residual <= limits.relativeTolerance, confirm: confirm, startAgain: startAgain)
      if next == .end { break }
      if next == .restarted { continue }

      if capacity > 0 {
        history.orthogonalize(r)
        rr = vectors.square(r)
        history.append(r, norm: rr.squareRoot())
      }
      let rzBefore = rz
      rz = try precondition()
      let beta = rz / rzBefore
      vectors.axpby(1, z, beta, v)
      vMv = rz + beta * beta * vMv
    }
    return try book.close(confirm: confirm) { (relative: Double) throws(SolveError) in
      // The true residual may lie above that of the recurrence.
      let excess = max(1, rr > 0 ? relative * bNorm / rr.squareRoot() : 1)
      return try precondition() * excess * excess
    }
  }
}

// MARK: -

private func requireMatching<A: LinearOperator>(
  _ a: A, _ b: Vector<A.Scalar>, _ x: Vector<A.Scalar>,
  _ preconditioner: (any Preconditioner<A.Scalar>)?,
  _ workspace: ConjugateGradient.Workspace<A.Scalar>
) throws(SolveError) {
  let others = [
    ("right-hand side", b.count), ("solution", x.count), ("workspace", workspace.dimension),
    ("preconditioner", preconditioner?.dimension ?? a.dimension),
  ]
  for (what, count) in others where count != a.dimension {
    throw .dimensionMismatch(what: what, found: count, expected: a.dimension)
  }
  if !a.isPositiveSemidefinite { throw .notPositiveSemidefinite }
}
