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
    let product = Vector<S>(count: gradient.vector.count)
    _ = try FisherOperator(linearization, output, unit: phi).apply(x.vector, into: product)
    return residual(x, product: product, unit: phi, gradient: gradient, damping: mu) / size
  }

  /// The same where `J x` of the unscaled vector is known, `[N, O C]`: half a product.
  package func residual(
    _ x: ScaledVector<S>, tangent q: Vector<Double>, gradient: ScaledVector<S>, damping mu: Double
  ) -> Double {
    let size = operations.norm(gradient.vector)
    if size == 0 { return 0 }
    let phi = output.curvatureUnit(.fisher) ?? 1
    let product = Vector<S>(count: gradient.vector.count)
    linearization.vjp(into: [product]) { chunk, cotangents in
      let count = chunk.count * linearization.logitCount
      withUnsafeTemporaryAllocation(of: Double.self, capacity: count) { exact in
        let out = exact.baseAddress!
        let tangents = UnsafePointer(q.pointer + chunk.first * linearization.logitCount)
        _ = output.multiply(.fisher, chunk: chunk, tangents, into: out, scale: 1 / phi)
        Kernels.fromDouble(out, cotangents, count: count)
      }
    }
    return residual(x, product: product, unit: phi, gradient: gradient, damping: mu) / size
  }

  /// `|g - (F + mu I) x|` over the scale of g, given `F x / unit`, which is overwritten.
  private func residual(
    _ x: ScaledVector<S>, product: Vector<S>, unit phi: Double, gradient: ScaledVector<S>,
    damping mu: Double
  ) -> Double {
    let scale = x.scale / gradient.scale
    operations.axpby(scale * mu, x.vector, scale * phi, product)
    operations.axpby(1, gradient.vector, -1, product)
    return operations.norm(product)
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
