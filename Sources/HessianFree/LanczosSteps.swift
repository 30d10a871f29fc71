/// What the steps of conjugate gradients tell about the error that is left.
///
/// Twice the decrease of the quadratic model, `x_k^T b`, is a Gauss quadrature of `b^T A^+ b` and grows towards it from below (Golub and Meurant 1994). What is missing is
/// `|x - x_k|_A^2 = r_k^T A^+ r_k`. An upper bound of it needs a number mu that is not above the least
/// eigenvalue that b has a part in: a Gauss-Radau quadrature with a node at mu, of which
/// `(|r_k|^2 / mu) (|r_k|^2 / |v_k|^2)` is a simple bound (Meurant and Tichy 2019, (35)).
///
/// No such mu is known here: A is singular, and its least nonzero eigenvalue can lie anywhere. The
/// least Ritz value takes its place, which is never below it. So the result is an ESTIMATE, on the
/// assumption that b has no weight in eigenvalues that the solve has not seen yet. Where the
/// spectrum fades into rounding this assumption fails, and more can be missing.
///
/// With a preconditioner the same holds of `M^-1 A` with `r^T M^-1 r` for `|r|^2`.
struct LanczosSteps {
  /// Step lengths alpha_k and `r_k^T M^-1 r_k` before them.
  private var alphas: [Double] = []
  private var residuals: [Double] = []
  /// Of the recurrences before the last restart.
  private var leastBefore = Double.infinity

  mutating func reserveCapacity(_ capacity: Int) {
    alphas.reserveCapacity(capacity)
    residuals.reserveCapacity(capacity)
  }

  mutating func append(alpha: Double, residual: Double) {
    alphas.append(alpha)
    residuals.append(residual)
  }

  /// The recurrence goes on from another residual.
  mutating func startAgain() {
    leastBefore = leastRitzValue
    alphas.removeAll(keepingCapacity: true)
    residuals.removeAll(keepingCapacity: true)
  }

  /// An estimate of `|x - x_k|_A^2` after the last step, given `r^T M^-1 r` there; `nil` if it cannot be
  /// formed.
  func errorEstimate(residual last: Double) -> Double? {
    let least = leastRitzValue
    guard last >= 0, least > 0, least.isFinite else { return nil }
    // |v_k|^2 / |r_k|^2 = 1 + beta_k |v_(k-1)|^2 / |r_(k-1)|^2
    var ratio = 1.0
    for (k, residual) in residuals.enumerated() {
      let next = k + 1 < residuals.count ? residuals[k + 1] : last
      ratio = 1 + next / residual * ratio
    }
    return last / least / ratio
  }

  /// The least eigenvalue of the tridiagonal matrix `L D L^T`, `D = 1 / alpha`, `L` with ones on
  /// and `sqrt(beta)` below the diagonal, by bisection on the number of negative pivots.
  ///
  /// Pivots come from the factors (the stationary quotient-difference transform), not from the
  /// entries of the matrix: small eigenvalues keep their digits.
  var leastRitzValue: Double {
    guard let first = alphas.first else { return leastBefore }
    func isAboveLeast(_ shift: Double) -> Bool {
      var s = -shift
      for k in alphas.indices {
        let d = 1 / alphas[k]
        let pivot = d + s
        if pivot < 0 { return true }
        guard k + 1 < alphas.count else { break }
        let beta = residuals[k + 1] / residuals[k]
        s = d * beta / (pivot == 0 ? .leastNormalMagnitude : pivot) * s - shift
      }
      return false
    }
    // The first diagonal entry is not below the least eigenvalue.
    var high = 1 / first
    let floor = high * 1e-40
    while high > floor, isAboveLeast(high / 4) { high /= 4 }
    var low = high / 4
    // Two digits are plenty for an estimate.
    while high - low > 1e-2 * high {
      let middle = (low + high) / 2
      if isAboveLeast(middle) { high = middle } else { low = middle }
    }
    return min(high, leastBefore)
  }
}
