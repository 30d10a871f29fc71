import HessianFree
import TensorModule

/// `B = A^T J`, `[N O C, P]`, with `F = B^T B` and `g = B^T w` (method.md 2): a jvp, or a vjp.
///
/// Divided by the root of `unit`, an even power of two, so that products with B match those of a
/// `FisherOperator` of this unit.
package struct FisherFactor<S: EngineScalar>: FactorOperator {
  package let linearization: Linearization<S>
  package let output: OutputState<S>
  private let root: Double
  private let cotangents: Vector<Double>

  package init(_ linearization: Linearization<S>, _ output: OutputState<S>, unit: Double = 1) {
    self.linearization = linearization
    self.output = output
    root = unit.squareRoot()
    cotangents = Vector(count: linearization.samples * linearization.logitCount)
  }

  package var rows: Int { cotangents.count }
  package var columns: Int { linearization.parameterCount }

  package func apply(_ v: Vector<S>, into u: Vector<Double>) throws(SolveError) {
    let size = linearization.logitCount
    linearization.jvp([v]) { chunk, tangents in
      let rows = u.pointer + chunk.first * size
      output.multiplyRootTransposed(chunk: chunk, tangents, into: rows)
      if root != 1 { Kernels.axpby(0, rows, 1 / root, rows, count: chunk.count * size) }
    }
  }

  package func applyTransposed(
    _ u: Vector<Double>, into v: Vector<S>
  ) throws(SolveError) -> Double {
    let size = linearization.logitCount
    Kernels.copy(u.pointer, cotangents.pointer, count: u.count)
    output.multiplyRoot(cotangents)
    var largest = 0.0
    for i in 0..<cotangents.count { largest = max(largest, abs(cotangents.pointer[i])) }
    let scale = powerOfTwo(near: largest)
    Kernels.axpby(0, cotangents.pointer, 1 / scale, cotangents.pointer, count: cotangents.count)
    linearization.vjp(into: [v]) { chunk, out in
      Kernels.fromDouble(
        cotangents.pointer + chunk.first * size, out, count: chunk.count * size)
    }
    return scale / root
  }
}
