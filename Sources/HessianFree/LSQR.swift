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
//     vectors. `|B x|^2` and `x^T g = (B x) . w` and with them gamma are then sums of squares and
//     products; in the paper's own estimates, and in conjugate gradients, they are differences;
//   - while they fit into `historyBytes`, the vectors of the shorter side (u or v) are kept and each
//     new one is made orthogonal to all of them. One side is enough (Simon and Zha 2000);
//   - every `residualCheckInterval` steps, and before the tolerance is believed, the residual
//     `B^T (w - B x)` is formed by products; a step after which gamma has risen is taken back.

/// Settings of an LSQR solve; the problem is in the call.
public struct LSQR: Equatable, Sendable {
  /// Stop when `|B^T (w - B x) - mu x| <= relativeTolerance |B^T w|`.
  public var relativeTolerance: Double
  public var maxIterations: Int
  /// Steps between two true residuals.
  public var residualCheckInterval: Int
  /// mu of `min |B x - w|^2 + mu |x|^2`.
  public var damping: Double
  /// Stop when `gamma <= (1 + certificateGap) / |w|`, the least that any direction can have; 0
  /// turns this off, and so does damping.
  public var certificateGap: Double
  /// Memory for the vectors kept of the shorter side; 0 turns reorthogonalisation off.
  public var historyBytes: Int

  public init(
    relativeTolerance: Double = 1e-6, maxIterations: Int = 1000, residualCheckInterval: Int = 50,
    damping: Double = 0, certificateGap: Double = 1e-3, historyBytes: Int = 1 << 28
  ) {
    precondition(relativeTolerance >= 0, "LSQR: tolerance \(relativeTolerance)")
    precondition(maxIterations >= 0, "LSQR: \(maxIterations) iterations")
    precondition(residualCheckInterval > 0, "LSQR: a check every \(residualCheckInterval) steps")
    precondition(damping >= 0 && damping.isFinite, "LSQR: damping \(damping)")
    precondition(certificateGap >= 0, "LSQR: gap \(certificateGap)")
    self.relativeTolerance = relativeTolerance
    self.maxIterations = maxIterations
    self.residualCheckInterval = residualCheckInterval
    self.damping = damping
    self.certificateGap = certificateGap
    self.historyBytes = historyBytes
  }

  /// The vectors of a solve, allocated once and used again by the next one: v, d, a product and the
  /// iterate kept aside, `[P]`; u, the images of v, d and x, `[M]` in double.
  public final class Workspace<Scalar: EngineScalar> {
    fileprivate let long: VectorOperations<Scalar>
    fileprivate let short: VectorOperations<Double>
    fileprivate let v, d, product, kept: Vector<Scalar>
    fileprivate let u, image, imageOfD, imageOfX: Vector<Double>
    fileprivate let historyOfU: ResidualHistory<Double>
    fileprivate let historyOfV: ResidualHistory<Scalar>

    public init(rows: Int, columns: Int, pool: WorkerPool) {
      long = VectorOperations(pool: pool, count: columns)
      short = VectorOperations(pool: pool, count: rows)
      v = Vector(count: columns)
      d = Vector(count: columns)
      product = Vector(count: columns)
      kept = Vector(count: columns)
      u = Vector(count: rows)
      image = Vector(count: rows)
      imageOfD = Vector(count: rows)
      imageOfX = Vector(count: rows)
      historyOfU = ResidualHistory(operations: short)
      historyOfV = ResidualHistory(operations: long)
    }

    public var rows: Int { short.count }
    public var columns: Int { long.count }
  }
}

extension LSQR {
  /// Solves `min |B x - w|^2 + mu |x|^2` from `x = 0`, using only products with B and `B^T`.
  ///
  /// From a zero start the iterates stay in the range of `B^T`: without damping their limit is the
  /// solution of least norm, `B^+ w`, consistent or not. With `B = A^T J` it is the natural gradient.
  ///
  /// `|B x|^2 / |w|^2` never falls from step to step. It is the lower end of the bracket of the
  /// efficiency of x: `(1 / |w| / gamma)^2`.
  ///
  /// - Parameters:
  ///   - b: The operator, `[M, P]`. Equal inputs must give equal products.
  ///   - w: The target, `[M]`.
  ///   - workspace: For M and P. What an earlier solve left in it has no influence.
  ///   - observe: Called after each iteration.
  /// - Returns: The best iterate with what is known of it, the trace, and `stop`, in the terms of
  ///   conjugate gradients on `B^T B x = B^T w`: residuals are those of these equations, and gamma
  ///   is `|B x| / |(B x) . w|`. Zero for a w that `B^T` maps to zero.
  /// - Throws: `SolveError.dimensionMismatch`; `.nonFinite` naming operand and iteration.
  /// - Complexity: One product with B and one with `B^T` per iteration, per residual check, and for
  ///   the final residual; a pair counts as one of `products`. An iteration allocates nothing once
  ///   the workspace has grown to the vectors that are kept.
  ///
  /// Sources: Paige and Saunders 1982, ACM TOMS 8 (1), 43-71 and 8 (2), 195-209.
  public func solve<B: FactorOperator>(
    _ b: B, target w: Vector<Double>, workspace: Workspace<B.Scalar>,
    observing observe: ((TraceEntry) -> Void)? = nil
  ) throws(SolveError) -> SolveResult<B.Scalar> {
    try requireMatching(b, w, workspace)
    let clock = ContinuousClock()
    let start = clock.now
    let (long, short) = (workspace.long, workspace.short)
    let (u, v, d, product) = (workspace.u, workspace.v, workspace.d, workspace.product)
    let (image, imageOfD, imageOfX) = (workspace.image, workspace.imageOfD, workspace.imageOfX)
    let x = Vector<B.Scalar>(count: b.columns)
    let rounding = Rounding(Double(B.Scalar.ulpOfOne))
    var result = SolveResult(zero: x)

    let wNorm = short.norm(w)
    guard wNorm.isFinite else {
      throw .nonFinite(.rightHandSide, iteration: 0, index: short.firstNonFinite(w))
    }
    if wNorm == 0 { return result }
    // beta u = w, alpha v = B^T u
    short.axpby(1 / wNorm, w, 0, u)
    let firstScale = try b.applyTransposed(u, into: v)
    let firstNorm = long.norm(v)
    guard firstNorm.isFinite else {
      throw .nonFinite(.product, iteration: 0, index: long.firstNonFinite(v))
    }
    if firstNorm == 0 { return result }
    long.axpby(1 / firstNorm, v, 0, v)
    var beta = wNorm
    var alpha = firstScale * firstNorm
    let gNorm = beta * alpha  // |B^T w|
    result.residual = 1
    result.recurrenceResidual = 1
    result.trace.reserveCapacity(min(maxIterations, 1 << 16))
    result.checks.reserveCapacity(min(maxIterations / residualCheckInterval + 4, 1 << 12))

    long.copy(v, to: d)
    short.fill(imageOfD, 0)
    short.fill(imageOfX, 0)
    var (rhobar, phibar, thetaOverRho) = (alpha, beta, 0.0)
    // Few vectors of many are not worth their memory.
    func capacity(bytes: Int, rest: Int) -> Int {
      let room = max(rest, 0) / max(bytes, 1)
      return room >= min(maxIterations, 100) ? min(room, maxIterations + 1) : 0
    }
    let bytesOfU = b.rows * MemoryLayout<Double>.stride
    let bytesOfV = b.columns * MemoryLayout<B.Scalar>.stride
    let keptU = capacity(bytes: bytesOfU, rest: historyBytes)
    let keptV = capacity(bytes: bytesOfV, rest: historyBytes - keptU * bytesOfU)
    workspace.historyOfU.removeAll()
    workspace.historyOfV.removeAll()
    workspace.historyOfU.append(u, norm: 1, capacity: keptU)
    workspace.historyOfV.append(v, norm: 1, capacity: keptV)

    var k = 0  // steps in x
    var best = Confirmed()  // the iterate in workspace.kept
    var progress = ProgressMeter(rounding: rounding)
    var steps = LanczosSteps(capacity: min(maxIterations, 1 << 16))
    var highestGain = 0.0
    var residual = gNorm  // |B^T (w - B x) - mu x| by the recurrence
    let gammaBound = 1 / wNorm

    // Twice the decrease of the (damped) model that the best multiple of x reaches, and gamma
    // (Eqn 15) without damping.
    func measures(_ image: Vector<Double>) -> (gain: Double, gamma: Double) {
      let size = short.norm(image)
      let along = short.dot(image, w)
      let quadratic = damping == 0 ? size * size : size * size + damping * long.dot(x, x)
      return (gainAlong(along, quadratic), size > 0 && along != 0 ? size / abs(along) : .nan)
    }

    // Forms B x and the true residual, and puts x aside if it is the best so far.
    func confirm() throws(SolveError) -> ResidualCheck {
      try b.apply(x, into: image)
      result.products += 1
      let (gain, gammaOfX) = measures(image)
      short.axpby(1, w, -1, image)
      let scale = try b.applyTransposed(image, into: product)
      if damping > 0 {
        long.axpby(-damping / gNorm, x, scale / gNorm, product)
      } else {
        long.axpby(scale / gNorm, product, 0, product)
      }
      let trueResidual = long.norm(product)
      guard trueResidual.isFinite && !gain.isNaN else {
        throw .nonFinite(.product, iteration: k, index: long.firstNonFinite(product))
      }
      progress.record(gain: gain, residual: trueResidual)
      if best.isWorse(than: gain, trueResidual, highest: progress.highestGain, rounding) {
        best = Confirmed(iterate: k, gain: gain, residual: trueResidual, gamma: gammaOfX)
        long.copy(x, to: workspace.kept)
      }
      let check = ResidualCheck(
        iteration: k, trueResidual: trueResidual, recurrenceResidual: residual / gNorm,
        difference: abs(trueResidual - residual / gNorm), restarted: false)
      result.checks.append(check)
      return check
    }

    let root = damping.squareRoot()
    while true {
      if k == maxIterations {
        result.stop = .iterationLimit(maxIterations)
        break
      }
      // beta u = B v - alpha u
      try b.apply(v, into: image)
      result.products += 1
      short.axpby(1, image, -thetaOverRho, imageOfD)
      short.axpby(1, image, -alpha, u)
      if keptU > 0 { workspace.historyOfU.orthogonalize(u) }
      beta = short.norm(u)
      guard beta.isFinite else {
        throw .nonFinite(.product, iteration: k + 1, index: short.firstNonFinite(u))
      }
      alpha = 0
      if beta > 0 {
        short.axpby(1 / beta, u, 0, u)
        workspace.historyOfU.append(u, norm: 1, capacity: keptU)
        // alpha v = B^T u - beta v
        let scale = try b.applyTransposed(u, into: product)
        long.axpby(scale, product, -beta, v)
        if keptV > 0 { workspace.historyOfV.orthogonalize(v) }
        alpha = long.norm(v)
        guard alpha.isFinite else {
          throw .nonFinite(.product, iteration: k + 1, index: long.firstNonFinite(v))
        }
        if alpha > 0 {
          long.axpby(1 / alpha, v, 0, v)
          workspace.historyOfV.append(v, norm: 1, capacity: keptV)
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
      let (gain, gammaOfX) = measures(imageOfX)
      guard gain.isFinite, rho > 0 else {
        throw .nonFinite(.residual, iteration: k + 1, index: long.firstNonFinite(x))
      }
      guard gain >= highestGain * (1 - rounding.slack), gain > 0 else {
        long.axpby(-step, d, 1, x)
        _ = try confirm()
        result.stop = .stagnated(relativeResidual: best.residual, iteration: best.iterate)
        break
      }
      highestGain = max(highestGain, gain)
      // As steps of conjugate gradients on the normal equations: alpha = phi^2 / |residual|^2.
      steps.append(alpha: (phi / residual) * (phi / residual), residual: residual * residual)
      let theta = s * alpha
      rhobar = -c * alpha
      phibar = s * phibar
      residual = abs(phibar * alpha * c)
      k += 1
      let entry = TraceEntry(
        iteration: k, relativeResidual: residual / gNorm, gamma: gammaOfX,
        seconds: seconds(clock.now - start))
      result.trace.append(entry)
      observe?(entry)

      if damping == 0, certificateGap > 0, gammaOfX <= (1 + certificateGap) * gammaBound {
        result.stop = .certificate(gamma: gammaOfX, bound: gammaBound, gap: certificateGap)
        break
      }
      let meetsTolerance = entry.relativeResidual <= relativeTolerance
      if meetsTolerance || k % residualCheckInterval == 0 {
        let check = try confirm()
        let isFaithful = check.difference <= 10 * relativeTolerance
        if check.trueResidual <= relativeTolerance || meetsTolerance && isFaithful {
          result.stop = .tolerance(
            relativeResidual: entry.relativeResidual, limit: relativeTolerance)
          break
        }
        if alpha == 0 || progress.isStalled {
          result.stop = .stagnated(relativeResidual: best.residual, iteration: best.iterate)
          break
        }
      }
      thetaOverRho = theta / rho
      long.axpby(1, v, -thetaOverRho, d)
    }

    // The true residual of the last iterate, unless it has just been formed.
    if k > 0 && result.checks.last?.iteration != k { _ = try confirm() }
    result.iterations = k
    result.recurrenceResidual = result.trace.last?.relativeResidual ?? 1
    if best.iterate == 0 {
      long.fill(x, 0)
    } else {
      long.copy(workspace.kept, to: x)
      (result.iterate, result.residual) = (best.iterate, best.residual)
      result.gamma = best.gamma
      if damping == 0 && best.iterate == k {
        // The true residual may lie above that of the recurrence.
        let last = max(residual, best.residual * gNorm)
        result.leastGammaEstimate = steps.leastGamma(below: best.gamma, residual: last * last)
      }
    }
    return result
  }
}

private func requireMatching<B: FactorOperator>(
  _ b: B, _ w: Vector<Double>, _ workspace: LSQR.Workspace<B.Scalar>
) throws(SolveError) {
  if w.count != b.rows {
    throw .dimensionMismatch(what: "target", found: w.count, expected: b.rows)
  }
  if workspace.rows != b.rows {
    throw .dimensionMismatch(what: "rows of the workspace", found: workspace.rows, expected: b.rows)
  }
  if workspace.columns != b.columns {
    throw .dimensionMismatch(
      what: "columns of the workspace", found: workspace.columns, expected: b.columns)
  }
}
