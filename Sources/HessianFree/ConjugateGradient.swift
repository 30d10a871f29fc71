import TensorModule

// Linear conjugate gradients: Algorithm 5 of Wu et al. 2024 (arXiv 2406.06420), which is Hestenes
// and Stiefel 1952, (3:1a)-(3:1f), from x = 0. Departures:
//   - every `residualCheckInterval` steps, and before the tolerance is believed, the true residual
//     b - A x is formed. When the recurrence has drifted from it by more than 10 x the tolerance
//     AND no longer gains anything, or claims to have converged, it starts again from the true
//     one. While it still gains it is left alone: the drift lies in directions that hardly count
//     for gamma, and starting again gives up conjugacy to all earlier directions. On a spectrum
//     fading over 12 orders, 3000 steps in double end at 1.002 times the least gamma this way, and
//     at 1.09 times when every drift restarts; over 8 orders in float32 at 1.0003 and 1.04;
//   - a step after which gamma has risen by more than rounding is taken back;
//   - the best iterate that a product has confirmed is kept aside;
//   - while their directions fit into `historyBytes`, residuals are made orthogonal to all earlier
//     ones, as they would be in exact arithmetic (`ResidualHistory`).

/// Settings of a linear conjugate gradient solve; the problem is in the call.
public struct ConjugateGradient: Equatable, Sendable {
  /// Stop when `|r| <= relativeTolerance |b|`.
  public var relativeTolerance: Double
  public var maxIterations: Int
  /// Steps between two true residuals.
  public var residualCheckInterval: Int
  /// A lower bound on gamma over all directions, if one is known (method.md 2, the certificate).
  public var gammaBound: Double?
  /// Stop when `gamma <= (1 + certificateGap) gammaBound`; 0 turns this off.
  public var certificateGap: Double
  /// Memory for the directions of earlier residuals; 0 turns reorthogonalisation off. It is also
  /// off with a preconditioner, whose residuals are orthogonal in another inner product.
  public var historyBytes: Int

  public init(
    relativeTolerance: Double = 1e-6, maxIterations: Int = 1000, residualCheckInterval: Int = 50,
    gammaBound: Double? = nil, certificateGap: Double = 1e-3, historyBytes: Int = 1 << 28
  ) {
    precondition(relativeTolerance >= 0, "ConjugateGradient: tolerance \(relativeTolerance)")
    precondition(maxIterations >= 0, "ConjugateGradient: \(maxIterations) iterations")
    precondition(
      residualCheckInterval > 0, "ConjugateGradient: a check every \(residualCheckInterval) steps")
    precondition(certificateGap >= 0, "ConjugateGradient: gap \(certificateGap)")
    self.relativeTolerance = relativeTolerance
    self.maxIterations = maxIterations
    self.residualCheckInterval = residualCheckInterval
    self.gammaBound = gammaBound
    self.certificateGap = certificateGap
    self.historyBytes = historyBytes
  }

  /// The vectors of a solve, allocated once and used again by the next one: r, v, w and the
  /// iterate kept aside; z for the first solve that has a preconditioner.
  public final class Workspace<Scalar: EngineScalar> {
    public let operations: VectorOperations<Scalar>
    fileprivate let r: Vector<Scalar>
    fileprivate let v: Vector<Scalar>
    fileprivate let w: Vector<Scalar>
    fileprivate let kept: Vector<Scalar>
    fileprivate let history: ResidualHistory<Scalar>
    fileprivate private(set) lazy var z = Vector<Scalar>(count: operations.count)

    /// - Parameter innerProduct: That in which the operator is symmetric.
    public init(
      dimension: Int, pool: WorkerPool,
      innerProduct: VectorOperations<Scalar>.InnerProduct = .euclidean
    ) {
      operations = VectorOperations(pool: pool, count: dimension, innerProduct: innerProduct)
      r = Vector(count: dimension)
      v = Vector(count: dimension)
      w = Vector(count: dimension)
      kept = Vector(count: dimension)
      history = ResidualHistory(operations: operations)
    }

    public var dimension: Int { operations.count }
  }
}

extension ConjugateGradient {
  /// Solves `A x = b` for symmetric positive semi-definite `A` by linear conjugate gradients from
  /// `x = 0`, using only products `A v`.
  ///
  /// From a zero start the iterates stay in the range of `A`, so when `A` is singular and `b` lies
  /// in its range the limit is the minimum-norm solution `A^+ b`. With `A = F` and `b = g` that is
  /// the natural gradient. (With a preconditioner: the solution of least `x^T M x`.)
  ///
  /// gamma of an iterate takes no product: `x^T A x = x^T (b - r)`. In exact arithmetic it never
  /// rises (Wu et al. 2024, F.2.1). Here a step after which it has risen by more than rounding is
  /// taken back and the recurrence started again from the true residual, until that brings nothing
  /// either. With damping this holds for the damped operator, while the gamma reported is that of
  /// the operator without it.
  ///
  /// - Parameters:
  ///   - a: The operator, `[P] -> [P]`. Equal inputs must give equal products.
  ///   - b: Right-hand side, `[P]`, in the units of the summed (not averaged) gradient.
  ///   - preconditioner: `M^-1`, symmetric positive definite; none is the paper's own solver.
  ///   - workspace: For `P` elements. What an earlier solve left in it has no influence.
  ///   - observe: Called after each iteration.
  ///   - proceeds: Asked after each iteration that has not converged; `false` ends the solve.
  ///   - visit: Called after each iteration with its number and the iterate, which changes
  ///     afterwards: to be copied, not kept.
  /// - Returns: The best iterate with what is known of it, the trace, and `stop`. Reaching the
  ///   iteration limit or meeting curvature that is not positive is an outcome, not an error: read
  ///   `stop` before relying on `x`. A zero `b` gives `x = 0` after no products.
  /// - Throws: `SolveError.dimensionMismatch` if `a` and `b` differ in `P`;
  ///   `SolveError.notPositiveSemidefinite` if `a` does not declare that it is;
  ///   `SolveError.nonFinite` naming the operand and iteration where NaN or infinity appeared.
  /// - Complexity: One product per iteration, one per residual check, one for the final residual; two
  ///   for each check where vectors are pairs, whose inner products are settled by a product.
  ///   Four vectors of `P` elements in the workspace, one more with a preconditioner, and the
  ///   result; an iteration allocates nothing. Inner products accumulate in double precision.
  ///
  /// Sources: Wu et al. 2024 (arXiv 2406.06420), Algorithm 5 and F.2.1; Hestenes and Stiefel 1952,
  /// (3:1a)-(3:1f); van der Vorst and Ye 2000 on when replacing residuals does harm.
  public func solve<A: LinearOperator>(
    _ a: A, rhs b: Vector<A.Scalar>, preconditioner: (any Preconditioner<A.Scalar>)? = nil,
    workspace: Workspace<A.Scalar>, observing observe: ((TraceEntry) -> Void)? = nil,
    proceeding proceeds: ((TraceEntry) -> Bool)? = nil,
    visiting visit: ((_ iteration: Int, _ x: Vector<A.Scalar>) -> Void)? = nil
  ) throws(SolveError) -> SolveResult<A.Scalar> {
    try requireMatching(a, b, preconditioner, workspace)
    let clock = ContinuousClock()
    let start = clock.now
    let vectors = workspace.operations
    let (r, v, w) = (workspace.r, workspace.v, workspace.w)
    let x = Vector<A.Scalar>(count: a.dimension)
    let rounding = Rounding(a.rounding)
    let settles = vectors.innerProduct != .euclidean
    var result = SolveResult(zero: x)

    try a.settle(b)
    var rr = vectors.square(b)  // r^T r
    guard rr.isFinite else {
      throw .nonFinite(.rightHandSide, iteration: 0, index: vectors.firstNonFinite(b))
    }
    let bNorm = rr.squareRoot()
    if bNorm == 0 { return result }
    result.residual = 1
    result.recurrenceResidual = 1
    result.trace.reserveCapacity(min(maxIterations, 1 << 16))
    result.checks.reserveCapacity(min(maxIterations / residualCheckInterval + 4, 1 << 12))

    var k = 0  // steps in x
    var best = Confirmed()  // the iterate in workspace.kept
    var progress = ProgressMeter(rounding: rounding)
    var steps = LanczosSteps(capacity: min(maxIterations, 1 << 16))
    var highestGain = 0.0  // of the recurrence
    var lastGain = 0.0  // of the last iterate confirmed

    // Leaves the true residual b - A x in w, and x in workspace.kept if it is the best so far.
    func confirm() throws(SolveError) -> ResidualCheck {
      try a.settle(x)
      let quadratic = try a.apply(x, into: w)
      result.products += settles ? 2 : 1
      vectors.axpby(1, b, -1, w)
      try a.settle(w)
      let residual = vectors.norm(w) / bNorm
      guard quadratic.isFinite && residual.isFinite else {
        throw .nonFinite(.product, iteration: k, index: vectors.firstNonFinite(w))
      }
      let xb = vectors.dot(x, b)
      let gain = gainAlong(xb, quadratic)
      progress.record(gain: gain, residual: residual)
      lastGain = gain
      if best.isWorse(than: gain, residual, highest: progress.highestGain, rounding) {
        let withoutDamping = subtractDamping(a.damping, from: quadratic, x, vectors, rounding)
        best = Confirmed(
          iterate: k, gain: gain, residual: residual, gamma: gamma(withoutDamping, xb))
        vectors.copy(x, to: workspace.kept)
      }
      result.checks.append(
        ResidualCheck(
          iteration: k, trueResidual: residual, recurrenceResidual: rr.squareRoot() / bNorm,
          difference: vectors.distance(w, r) / bNorm, restarted: false))
      return result.checks[result.checks.count - 1]
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
          .preconditioned, iteration: k, index: vectors.firstNonFinite(workspace.z))
      }
      guard rz > 0 || rr == 0 else { throw .preconditionerNotPositive(value: rz, iteration: k) }
      return rz
    }

    // Few directions of many are not worth their memory.
    let room = historyBytes / max(a.dimension * MemoryLayout<A.Scalar>.stride, 1)
    let capacity = preconditioner == nil && room >= min(maxIterations, 100) ? room : 0
    workspace.history.removeAll()

    vectors.copy(b, to: r)
    workspace.history.append(r, norm: bNorm, capacity: capacity)
    var rz = try precondition()
    var z: Vector<A.Scalar> { preconditioner == nil ? r : workspace.z }
    vectors.copy(z, to: v)
    var vMv = rz  // v^T M v
    var largestCurvature = 0.0  // max of v^T A v / v^T M v
    let drift = 10 * relativeTolerance

    // Starts again from the true residual, which is in w. False if the last such attempt has
    // brought nothing, or if the recurrence has overstated the gain: then gamma could only rise.
    func startAgain() throws(SolveError) -> Bool {
      guard progress.sinceRestart(), lastGain >= highestGain * (1 - rounding.slack) else {
        return false
      }
      vectors.copy(w, to: r)
      rr = vectors.square(r)
      steps.startAgain()
      workspace.history.removeAll()
      workspace.history.append(r, norm: rr.squareRoot(), capacity: capacity)
      result.checks[result.checks.count - 1].restarted = true
      rz = try precondition()
      vectors.copy(z, to: v)
      vMv = rz
      return true
    }

    while true {
      if k == maxIterations {
        result.stop = .iterationLimit(maxIterations)
        break
      }
      let vAv = try a.apply(v, into: w)
      result.products += 1
      guard vAv.isFinite else {
        throw .nonFinite(.quadraticForm, iteration: k + 1, index: vectors.firstNonFinite(w))
      }
      largestCurvature = max(largestCurvature, vAv / vMv)
      let threshold = 4 * a.quadraticRounding * largestCurvature * vMv
      guard vAv > threshold else {
        // A recurrence that has drifted off can have led here by itself.
        if k > 0, try confirm().difference > drift, try startAgain() { continue }
        result.stop = .curvature(quadratic: vAv, threshold: threshold, iteration: k + 1)
        break
      }

      let alpha = rz / vAv
      let sums = try step(alpha)
      rr = sums.residualSquared
      guard rr.isFinite else {
        throw .nonFinite(.residual, iteration: k + 1, index: vectors.firstNonFinite(r))
      }
      let xb = sums.iterateDotRightHandSide
      let xAx = xb - sums.iterateDotResidual
      let gain = gainAlong(xb, xAx)
      guard gain >= highestGain * (1 - rounding.slack), gain > 0 else {
        vectors.axpby(-alpha, v, 1, x)
        _ = try confirm()
        if try startAgain() { continue }
        result.stop = .stagnated(relativeResidual: best.residual, iteration: best.iterate)
        break
      }
      highestGain = max(highestGain, gain)
      steps.append(alpha: alpha, residual: rz)
      k += 1
      let entry = TraceEntry(
        iteration: k, relativeResidual: rr.squareRoot() / bNorm,
        gamma: gamma(subtractDamping(a.damping, from: xAx, x, vectors, rounding), xb),
        seconds: seconds(clock.now - start))
      result.trace.append(entry)
      observe?(entry)
      visit?(k, x)

      if let gammaBound, certificateGap > 0, entry.gamma <= (1 + certificateGap) * gammaBound {
        result.stop = .certificate(gamma: entry.gamma, bound: gammaBound, gap: certificateGap)
        break
      }
      let meetsTolerance = entry.relativeResidual <= relativeTolerance
      if meetsTolerance || k % residualCheckInterval == 0 {
        let check = try confirm()
        let isFaithful = check.difference <= drift
        if check.trueResidual <= relativeTolerance || meetsTolerance && isFaithful {
          result.stop = .tolerance(
            relativeResidual: entry.relativeResidual, limit: relativeTolerance)
          break
        }
        if !isFaithful, meetsTolerance || progress.hasPaused, try startAgain() { continue }
        if meetsTolerance || progress.isStalled {
          result.stop = .stagnated(relativeResidual: best.residual, iteration: best.iterate)
          break
        }
      }

      if let proceeds, !proceeds(entry) {
        result.stop = .abandoned(iteration: k)
        break
      }

      if capacity > 0 {
        workspace.history.orthogonalize(r)
        rr = vectors.square(r)
        workspace.history.append(r, norm: rr.squareRoot(), capacity: capacity)
      }
      let rzBefore = rz
      rz = try precondition()
      let beta = rz / rzBefore
      vectors.axpby(1, z, beta, v)
      vMv = rz + beta * beta * vMv
    }

    // The true residual of the last iterate, unless it has just been formed.
    if k > 0 && result.checks.last?.iteration != k { _ = try confirm() }
    result.iterations = k
    result.recurrenceResidual = result.trace.last?.relativeResidual ?? 1
    if best.iterate == 0 {
      vectors.fill(x, 0)
    } else {
      vectors.copy(workspace.kept, to: x)
      (result.iterate, result.residual) = (best.iterate, best.residual)
      result.gamma = best.gamma
      if a.damping == 0 && best.iterate == k {
        // The true residual may lie above that of the recurrence.
        let excess = max(1, rr > 0 ? best.residual * bNorm / rr.squareRoot() : 1)
        let last = try precondition() * excess * excess
        result.leastGammaEstimate = steps.leastGamma(below: best.gamma, residual: last)
      }
    }
    return result
  }
}

// MARK: -

/// `x^T F x = x^T A x - mu x^T x`; NaN where nothing but rounding is left.
private func subtractDamping<Scalar>(
  _ mu: Double, from quadratic: Double, _ x: Vector<Scalar>, _ vectors: VectorOperations<Scalar>,
  _ rounding: Rounding
) -> Double {
  if mu == 0 { return quadratic }
  let difference = quadratic - mu * vectors.square(x)
  return difference > 4 * rounding.eps * quadratic ? difference : .nan
}

private func requireMatching<A: LinearOperator>(
  _ a: A, _ b: Vector<A.Scalar>, _ preconditioner: (any Preconditioner<A.Scalar>)?,
  _ workspace: ConjugateGradient.Workspace<A.Scalar>
) throws(SolveError) {
  let p = a.dimension
  if b.count != p {
    throw .dimensionMismatch(what: "right-hand side", found: b.count, expected: p)
  }
  if let preconditioner, preconditioner.dimension != p {
    throw .dimensionMismatch(what: "preconditioner", found: preconditioner.dimension, expected: p)
  }
  if workspace.dimension != p {
    throw .dimensionMismatch(what: "workspace", found: workspace.dimension, expected: p)
  }
  if !a.isPositiveSemidefinite { throw .notPositiveSemidefinite }
}

extension SolveResult {
  init(zero x: Vector<Scalar>) {
    self.init(
      x: x, stop: .zeroRightHandSide, iterations: 0, iterate: 0, products: 0, residual: 0,
      recurrenceResidual: 0, gamma: .nan, leastGammaEstimate: nil, trace: [], checks: [])
  }
}
