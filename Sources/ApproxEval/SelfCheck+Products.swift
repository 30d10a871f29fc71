import Checkpoints
import Curvature
import GraphModule
import HessianFree
import TensorModule

// What the checks are made of: norms of errors, random vectors, single products.

extension SelfCheck {
  /// The largest error; NaN, which no comparison finds, if there is one. 0 of none.
  func worst(_ errors: [Double]) -> Double {
    errors.contains(where: \.isNaN) ? .nan : errors.max() ?? 0
  }

  func relative(_ a: Double, _ b: Double, _ size: Double) -> Double {
    size > 0 ? abs(a - b) / size : abs(a - b)
  }

  func random(_ count: Int, stream sample: Int) -> Vector<S> {
    var generator = CounterRandom(seed: seed, batch: 0, sample: sample, stream: .vectors)
    let vector = Vector<S>(count: count)
    for i in 0..<count { vector.pointer[i] = S(generator.normal()) }
    return vector
  }

  /// J v of all samples, `[N, O C]`.
  func jvp(_ v: Vector<S>) -> [Double] {
    let size = linearization.logitCount
    let result = Vector<Double>(count: linearization.samples * size)
    linearization.jvp([v]) { chunk, tangents in
      Kernels.toDouble(tangents, result.pointer + chunk.first * size, count: chunk.count * size)
    }
    return result.array
  }

  func vjp(_ w: Vector<S>) -> Vector<S> {
    let size = linearization.logitCount
    let result = Vector<S>(count: linearization.parameterCount)
    linearization.vjp(into: [result]) { chunk, cotangents in
      Kernels.copy(w.pointer + chunk.first * size, cotangents, count: chunk.count * size)
    }
    return result
  }

  /// g_n by a backward pass of its own; the sum over all samples for `nil`.
  func gradient(ofSample sample: Int?) -> Vector<S> {
    let result = Vector<S>(count: linearization.parameterCount)
    let ones = [Double](repeating: 1, count: linearization.samples)
    let size = linearization.logitCount
    linearization.vjp(into: [result]) { chunk, out in
      ones.withUnsafeBufferPointer {
        problem.output.write(
          problem.output.gradient, chunk: chunk, units: $0.baseAddress!, to: out)
      }
      for n in 0..<chunk.count where sample != nil && chunk.first + n != sample {
        Kernels.zero(out + n * size, count: size)
      }
    }
    return result
  }

  func fisher(_ v: Vector<S>) throws -> (Vector<S>, Double) {
    let product = Vector<S>(count: v.count)
    let quadratic = try FisherOperator(linearization, problem.output).apply(v, into: product)
    return (product, quadratic)
  }
}
