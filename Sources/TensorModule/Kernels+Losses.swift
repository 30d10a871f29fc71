import CKernels

// Losses over rows of C logits; z, q and u are in the engine's precision, everything else in double.
extension Kernels {
  /// Softmax cross-entropy: probabilities `[rows, C]`, and of every row its loss, `1 - p_y` and
  /// `1 / p_y - 1`.
  public static func crossEntropy<S: EngineScalar>(
    _ z: In<S>, labels: In<Int64>, rows: Int, classes: Int, probabilities: Out<Double>,
    losses: Out<Double>, rest: Out<Double>, certificates: Out<Double>
  ) {
    ck_cross_entropy(
      S.kernelType, z, labels, rows, classes, probabilities, losses, rest, certificates)
  }

  /// The same for masses `[rows, C]`, which `M p - m` replaces; M goes to `weights`.
  public static func crossEntropyOfMasses<S: EngineScalar>(
    _ z: In<S>, masses: Out<Double>, rows: Int, classes: Int, probabilities: Out<Double>,
    weights: Out<Double>, losses: Out<Double>, certificates: Out<Double>
  ) {
    ck_cross_entropy_of_masses(
      S.kernelType, z, rows, classes, probabilities, masses, weights, losses, certificates)
  }

  /// `scale weight (p - onehot(y))`, and of every row its squared norm without the scale.
  public static func crossEntropyGradient<S: EngineScalar>(
    _ p: In<Double>, rest: In<Double>, labels: In<Int64>, weights: In<Double>?, rows: Int,
    classes: Int, scale: Double, _ u: Out<S>, squares: Out<Double>? = nil
  ) {
    ck_cross_entropy_gradient(
      S.kernelType, p, rest, labels, rows, classes, weights, scale, u, squares)
  }

  /// `1 - p` of any labels, as the sum of the others.
  public static func crossEntropyRest(
    _ p: In<Double>, labels: In<Int64>, rows: Int, classes: Int, _ rest: Out<Double>
  ) {
    ck_cross_entropy_rest(p, labels, rows, classes, rest)
  }

  /// Row by row the product of that gradient, of scale one, with q.
  public static func crossEntropyGradientDot<S: EngineScalar>(
    _ p: In<Double>, labels: In<Int64>, weights: In<Double>?, _ q: In<S>, rows: Int, classes: Int,
    _ dots: Out<Double>
  ) {
    ck_cross_entropy_gradient_dot(S.kernelType, p, labels, q, rows, classes, weights, dots)
  }

  /// Row by row `u . q` where the rows of u add up to zero.
  public static func centredGradientDot<S: EngineScalar>(
    _ u: In<Double>, _ q: In<S>, rows: Int, classes: Int, _ dots: Out<Double>
  ) {
    ck_centred_gradient_dot(S.kernelType, u, q, rows, classes, dots)
  }

  /// Row by row `u . q`.
  public static func diagonalGradientDot<S: EngineScalar>(
    _ u: In<Double>, _ q: In<S>, rows: Int, classes: Int, _ dots: Out<Double>
  ) {
    ck_diagonal_gradient_dot(S.kernelType, u, q, rows, classes, dots)
  }

  /// Row by row `q^T H q` with `H = weight (diag(p) - p p^T)`, and `scale H q`, which may replace q.
  public static func crossEntropyHessian<S: EngineScalar>(
    _ p: In<Double>, weights: In<Double>?, _ q: In<S>, rows: Int, classes: Int, scale: Double,
    quadratics: Out<Double>, _ product: Out<S>?
  ) {
    ck_cross_entropy_hessian(
      S.kernelType, p, q, rows, classes, weights, scale, quadratics, product)
  }

  /// The same for a diagonal H, ones where there is none.
  public static func diagonalHessian<S: EngineScalar>(
    _ h: In<Double>?, _ q: In<S>, rows: Int, classes: Int, scale: Double,
    quadratics: Out<Double>, _ product: Out<S>?
  ) {
    ck_diagonal_hessian(S.kernelType, h, q, rows, classes, scale, quadratics, product)
  }
}
