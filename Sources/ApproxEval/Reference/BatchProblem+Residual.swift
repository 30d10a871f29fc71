import Curvature
import HessianFree
import TensorModule

// How well a direction solves `F x = g`, by a product.
extension BatchProblem {
  /// `|g - (F + mu I) x| / |g|`
  package func residual(
    _ x: ScaledVector<S>, gradient: ScaledVector<S>, damping mu: Double
  ) throws(SolveError) -> Double {
    let size = operations.norm(gradient.vector)
    if size == 0 { return 0 }
    let phi = output.curvatureUnit(.fisher) ?? 1
    let residual = Vector<S>(count: gradient.vector.count)
    _ = try FisherOperator(linearization, output, unit: phi).apply(x.vector, into: residual)
    let scale = x.scale / gradient.scale
    operations.axpby(scale * mu, x.vector, scale * phi, residual)
    operations.axpby(1, gradient.vector, -1, residual)
    return operations.norm(residual) / size
  }

  /// The same of the best multiple of a direction that has no length of its own: the sine of the angle
  /// between `F d` and g.
  package func leastResidual(
    _ d: ScaledVector<S>, gradient: ScaledVector<S>
  ) throws(SolveError) -> Double {
    let phi = output.curvatureUnit(.fisher) ?? 1
    let product = Vector<S>(count: gradient.vector.count)
    _ = try FisherOperator(linearization, output, unit: phi).apply(d.vector, into: product)
    let square = operations.dot(product, product)
    let size = operations.norm(gradient.vector)
    guard square > 0, size > 0 else { return size > 0 ? 1 : 0 }
    operations.axpby(
      1, gradient.vector, -operations.dot(product, gradient.vector) / square, product)
    return operations.norm(product) / size
  }
}
