import HessianFree
import TensorModule

/// `F v = sum_n J_n^T H_n J_n v` (Eqn 2), or the Gauss-Newton matrix with the identity for H
/// (Eqn 9): one jvp and one vjp with the forward pass kept.
///
/// `v^T F v` is taken in logit space as `sum_n q_n^T H_n q_n`, q = J v: it cannot be negative.
package struct FisherOperator<S: EngineScalar>: LinearOperator {
  package let linearization: Linearization<S>
  package let output: OutputState<S>
  package let metric: OutputMetric
  private let quadratics: Vector<Double>

  package init(
    _ linearization: Linearization<S>, _ output: OutputState<S>, metric: OutputMetric = .fisher
  ) {
    self.linearization = linearization
    self.output = output
    self.metric = metric
    quadratics = Vector(count: linearization.samples)
  }

  package var dimension: Int { linearization.parameterCount }
  package var isPositiveSemidefinite: Bool { true }

  package func apply(
    _ v: Vector<S>, into product: Vector<S>
  ) throws(SolveError) -> Double {
    linearization.jvpThenVJP(v, into: product) { chunk, q, hq in
      // Chunks are disjoint, so each has the entry of its first sample to itself.
      quadratics[chunk.first] = output.multiply(metric, chunk: chunk, q, into: hq)
    }
    return linearization.schedule.chunks.reduce(0) { $0 + quadratics[$1.first] }
  }
}
