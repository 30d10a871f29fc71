import HessianFree
import TensorModule

/// `F v = sum_n J_n^T H_n J_n v` (Eqn 2), or the Gauss-Newton matrix with the identity for H
/// (Eqn 9): one jvp and one vjp with the forward pass kept.
///
/// Divided by `unit`, a power of two, where that keeps products in the range of the engine's numbers.
///
/// `v^T F v` is taken in logit space as `sum_n q_n^T H_n q_n`, q = J v: it cannot be negative.
package struct FisherOperator<S: EngineScalar>: LinearOperator {
  package let linearization: Linearization<S>
  package let output: OutputState<S>
  package let metric: OutputMetric
  package let unit: Double
  private let quadratics: SampleSums

  package init(
    _ linearization: Linearization<S>, _ output: OutputState<S>, metric: OutputMetric = .fisher,
    unit: Double = 1
  ) {
    self.linearization = linearization
    self.output = output
    self.metric = metric
    self.unit = unit
    quadratics = SampleSums(linearization.schedule)
  }

  package var dimension: Int { linearization.parameterCount }
  package var isPositiveSemidefinite: Bool { true }
  package var quadraticRounding: Double { rounding * rounding }

  package func apply(
    _ v: Vector<S>, into product: Vector<S>
  ) throws(SolveError) -> Double {
    linearization.jvpThenVJP(v, into: product) { chunk, q, hq in
      quadratics[chunk][0] = output.multiply(
        metric, chunk: chunk, q, into: hq, scale: 1 / unit)
    }
    return quadratics.total() / unit
  }
}
