import TensorModule

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

// LSQR (Paige and Saunders 1982, with the damping of their second paper): `min |B x - w|`, whose
// normal equations are `F x = g` for F = B^T B and g = B^T w. In exact arithmetic its iterates are
// those of conjugate gradients on F, for the same two products a step, but the condition number of
// F, the square of B's, never enters. alpha, beta, u, v, rho, theta, phi are the paper's names; its
// w, the search direction, is d here. Departures:
//   - B x is carried along in the space of the rows, in double, for one more recurrence of short
//     vectors. `|B x|^2` and `x^T g = (B x) . w` are then sums of squares and products; in the paper's
//     own estimates, and in conjugate gradients, they are differences;
//   - while they fit into `historyBytes`, the vectors of the shorter side (u or v) are kept and each
//     new one is made orthogonal to all of them. One side is enough (Simon and Zha 2000);
//   - every `residualCheckInterval` steps, and before the tolerance is believed, the residual
//     `B^T (w - B x)` is formed by products; a step after which less is gained than before is taken
//     back (`SolveBook`).

/// Settings of an LSQR solve; the problem is in the call.
public struct LSQR: Equatable, Sendable {
  /// When it ends, and what it may keep.
  public var limits: SolveLimits
  /// mu of `min |B x - w|^2 + mu |x|^2`.
  public var damping: Double

  /// - Parameter damping: mu, not negative.
  public init(_ limits: SolveLimits = SolveLimits(), damping: Double = 0) {
    precondition(damping >= 0 && damping.isFinite, "LSQR: damping \(damping)")
    (self.limits, self.damping) = (limits, damping)
  }

  /// The vectors of a solve, made once and used again by the next one: v, d, a product and the
  /// iterate kept aside, `[P]`; u, the images of v, d and x, `[M]` in double; vectors of the shorter side
  /// as far as a solve keeps them.
  public final class Workspace<Scalar: EngineScalar> {
    /// Of the space of the columns, `[P]`.
    public let long: VectorOperations<Scalar>
    /// Of the space of the rows, `[M]`.
    public let short: VectorOperations<Double>
    fileprivate let v, d, product, kept: Vector<Scalar>
    fileprivate let u, image, imageOfD, imageOfX: Vector<Double>
    fileprivate let historyOfU: ResidualHistory<Double>
    fileprivate let historyOfV: ResidualHistory<Scalar>

    /// - Parameters:
    ///   - short: Of the space of the rows, `[M]`.
    ///   - long: Of that of the columns, `[P]`.
    public init(rows short: VectorOperations<Double>, columns long: VectorOperations<Scalar>) {
      (self.short, self.long) = (short, long)
      (v, d) = (long.vectors(), long.vectors())
      (product, kept) = (long.vectors(), long.vectors())
      (u, image) = (short.vectors(), short.vectors())
      (imageOfD, imageOfX) = (short.vectors(), short.vectors())
      historyOfU = ResidualHistory(operations: short)
      historyOfV = ResidualHistory(operations: long)
    }

    /// M
    public var rows: Int { short.count }
    /// P
    public var columns: Int { long.count }
  }
}

extension LSQR {
  /// Solves `min |B x - w|^2 + mu |x|^2` from `x = 0`, using only products with B and `B^T`.
  ///
  /// From a zero start the iterates stay in the range of `B^T`: without damping their limit is the
  /// solution of least norm, `B^+ w`, consistent or not.
  ///
  /// `((B x) . w)^2 / (|B x|^2 + mu |x|^2)` never falls from step to step.
  ///
  /// - Parameters:
  ///   - b: The operator, `[M, P]`. Equal inputs must give equal products.
  ///   - w: The target, `[M]`.
  ///   - x: For the solution, `[P]`; what is in it has no influence.
  ///   - workspace: For M and P. What an earlier solve left in it has no influence.
  ///   - observer: Sees every step, and may end the solve.
  /// - Returns: The best iterate with what is known of it, all steps, and `stop`, in the terms of
  ///   conjugate gradients on `B^T B x = B^T w`: residuals are those of these equations. Zero for a w
  ///   that `B^T` maps to zero.
  /// - Throws: `SolveError.dimensionMismatch`; `.nonFinite` naming operand and iteration.
  /// - Complexity: One product with B and one with `B^T` per iteration, per residual check, and for
  ///   the final residual; a pair counts as one of `products`. Four vectors of P and four of M elements,
  ///   and those that are kept, all in the workspace: a second solve allocates no vector.
  ///
  /// Sources: Paige and Saunders 1982, ACM TOMS 8 (1), 43-71 and 8 (2), 195-209.
  public func solve<B: FactorOperator>(
    _ b: B, target w: Vector<Double>, into x: Vector<B.Scalar>, workspace: Workspace<B.Scalar>,
    observer: (any SolveObserver<B.Scalar>)? = nil
  ) throws(SolveError) -> SolveResult<B.Scalar> {
    try requireMatching(b, w, x, workspace)
    let (long, short) = (workspace.long, workspace.short)
    let (u, v, d, product) = (workspace.u, workspace.v, workspace.d, workspace.product)
    let (image, imageOfD, imageOfX) = (workspace.image, workspace.imageOfD, workspace.imageOfX)
    let (historyOfU, historyOfV) = (workspace.historyOfU, workspace.historyOfV)
    let book = SolveBook(
      limits, rounding: Double(B.Scalar.ulpOfOne), x: x, kept: workspace.kept, long, observer)

    let wNorm = short.norm(w)
    guard wNorm.isFinite else {
      throw .nonFinite(.rightHandSide, iteration: 0, index: short.firstNonFinite(w))
    }
    if wNorm == 0 { return book.result }
    // beta u = w, alpha v = B^T u
    short.axpby(1 / wNorm, w, 0, u)
    let firstScale = try b.applyTransposed(u, into: v)
    let firstNorm = long.norm(v)
    guard firstNorm.isFinite else {
      throw .nonFinite(.product, iteration: 0, index: long.firstNonFinite(v))
    }
    if firstNorm == 0 { return book.result }
    long.axpby(1 / firstNorm, v, 0, v)
    var beta = wNorm
    var alpha = firstScale * firstNorm
    let gNorm = beta * alpha  // |B^T w|
    book.open()

    long.copy(v, to: d)
    short.fill(imageOfD, 0)
    short.fill(imageOfX, 0)
    var (rhobar, phibar) = (alpha, beta)
    let bytesOfU = b.rows * MemoryLayout<Double>.stride
    let keptU = limits.keptVectors(of: bytesOfU)
    let keptV = limits.keptVectors(
      of: b.columns * MemoryLayout<B.Scalar>.stride, beside: keptU * bytesOfU)
    historyOfU.begin(capacity: keptU)
    historyOfV.begin(capacity: keptV)
    historyOfU.append(u, norm: 1)
    historyOfV.append(v, norm: 1)
    var residual = gNorm  // |B^T (w - B x) - mu x| by the recurrence

    // With the gain of the damped model.
    func measures(_ image: Vector<Double>) -> (gain: Double, terms: ModelTerms) {
      let size = short.norm(image)
      let terms = ModelTerms(linear: short.dot(image, w), quadratic: size * size, norm: size)
      if damping == 0 { return (terms.gain, terms) }
      return (gainAlong(terms.linear, size * size + damping * long.dot(x, x)), terms)
    }

    // Forms B x and the true residual.
    func confirm() throws(SolveError) -> ResidualCheck {
      try b.apply(x, into: image)
      book.result.products += 1
      let (gain, terms) = measures(image)
      short.axpby(1, w, -1, image)
      let scale = try b.applyTransposed(image, into: product)
      if damping > 0 {
        long.axpby(-damping / gNorm, x, scale / gNorm, product)
      } else {
        long.axpby(scale / gNorm, product, 0, product)
      }
      let trueResidual = long.norm(product)
      guard trueResidual.isFinite && !gain.isNaN else {
        throw .nonFinite(
          .product, iteration: book.iterations, index: long.firstNonFinite(product))
      }
      return book.confirm(
        gain: gain, terms: terms, residual: trueResidual, recurrence: residual / gNorm,
        difference: abs(trueResidual - residual / gNorm))
    }

    let root = damping.squareRoot()
    var thetaOverRho = 0.0
    while book.hasNext {
      let number = book.iterations + 1
      // beta u = B v - alpha u
      try b.apply(v, into: image)
      book.result.products += 1
      short.axpby(1, image, -thetaOverRho, imageOfD)
      short.axpby(1, image, -alpha, u)
      if keptU > 0 { historyOfU.orthogonalize(u) }
      beta = short.norm(u)
      guard beta.isFinite else {
        throw .nonFinite(.product, iteration: number, index: short.firstNonFinite(u))
      }
      alpha = 0
      if beta > 0 {
        short.axpby(1 / beta, u, 0, u)
        historyOfU.append(u, norm: 1)
        // alpha v = B^T u - beta v
        let scale = try b.applyTransposed(u, into: product)
        long.axpby(scale, product, -beta, v)
        if keptV > 0 { historyOfV.orthogonalize(v) }
        alpha = long.norm(v)
        guard alpha.isFinite else {
          throw .nonFinite(.product, iteration: number, index: long.firstNonFinite(v))
        }
        if alpha > 0 {
          long.axpby(1 / alpha, v, 0, v)
          historyOfV.append(v, norm: 1)
        }
      }

      // Two rotations: the first takes the damping out, the second beta.
      let rhobar1 = hypot(rhobar, root)
      phibar *= rhobar / rhobar1
      let rho = hypot(rhobar1, beta)
      let (c, s) = (rhobar1 / rho, beta / rho)
      let phi = c * phibar
      let step = phi / rho
      long.axpby(step, d, 1, x)
      short.axpby(step, imageOfD, 1, imageOfX)
      let (gain, terms) = measures(imageOfX)
      guard gain.isFinite, rho > 0 else {
        throw .nonFinite(.residual, iteration: number, index: long.firstNonFinite(x))
      }
      guard book.isGain(gain) else {
        long.axpby(-step, d, 1, x)
        _ = try confirm()
        book.stagnate()
        break
      }
      let residualBefore = residual
      let theta = s * alpha
      rhobar = -c * alpha
      phibar = s * phibar
      residual = abs(phibar * alpha * c)
      // As a step of conjugate gradients on the normal equations: alpha = phi^2 / |residual|^2.
      book.enter(
        alpha: (phi / residualBefore) * (phi / residualBefore),
        residual: residualBefore * residualBefore, gain: gain, terms: terms,
        relativeResidual: residual / gNorm)
      let next = try book.next(isSpent: alpha == 0, confirm: confirm) { false }
      if next == .end { break }
      thetaOverRho = theta / rho
      long.axpby(1, v, -thetaOverRho, d)
    }
    return try book.close(confirm: confirm) { relative in
      // The true residual may lie above that of the recurrence.
      let last = max(residual, relative * gNorm)
      return last * last
    }
  }
}

private func requireMatching<B: FactorOperator>(
  _ b: B, _ w: Vector<Double>, _ x: Vector<B.Scalar>, _ workspace: LSQR.Workspace<B.Scalar>
) throws(SolveError) {
  let others = [
    ("target", w.count, b.rows), ("rows of the workspace", workspace.rows, b.rows),
    ("solution", x.count, b.columns), ("columns of the workspace", workspace.columns, b.columns),
  ]
  for (what, count, expected) in others where count != expected {
    throw .dimensionMismatch(what: what, found: count, expected: expected)
  }
}
