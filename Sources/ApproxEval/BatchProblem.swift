import Checkpoints
import Curvature
import GraphModule
import Metrics
import TensorModule

/// One batch of one checkpoint, linearized in one precision: where every number comes from.
package final class BatchProblem<S: EngineScalar> {
  package let linearization: Linearization<S>
  package let output: OutputState<S>
  package let operations: VectorOperations<S>
  package let storedDraws: [LogitGradient]

  package init(
    _ checkpoint: LoadedCheckpoint, parameters: ParameterStore<S>, batch: BatchReader.Batch<S>,
    pool: WorkerPool, memory: Int
  ) throws(EvaluationError) {
    linearization = Linearization(
      program: checkpoint.program, parameters: parameters, inputs: batch.inputs, pool: pool,
      budget: BatchProblem.forwardBudget(checkpoint.program, memory: memory))
    for chunk in linearization.schedule.chunks {
      let logits = linearization.logits(chunk)
      let size = linearization.logitCount
      if let index = Kernels.firstNonFinite(logits, count: chunk.count * size) {
        throw .nonFiniteLogits(
          checkpoint: checkpoint.path, sample: chunk.first + index / size,
          value: Double(logits[index]))
      }
    }
    output = OutputState(
      loss: checkpoint.loss, labels: batch.labels, linearization: linearization)
    var stored: [LogitGradient] = []
    for labels in batch.sampledLabels {
      stored.append(output.gradient(for: labels, linearization: linearization))
    }
    storedDraws = stored
    operations = VectorOperations(pool: pool, count: linearization.parameterCount)
  }

  /// What of `memory` forward values may take: three quarters, less the parameters and the dozen
  /// vectors of length P that directions and solvers need, but never less than a quarter.
  static func forwardBudget(_ program: Program, memory: Int) -> Int {
    let parameters = program.graph.parameters.reduce(0) { $0 + $1.count }
    let vectors = (parameters + 12 * program.parameterCount) * MemoryLayout<S>.stride
    return max(memory / 4, memory / 4 * 3 - vectors)
  }

  /// The two halves of an indicator, and the indicator of the unscaled direction: gamma does not
  /// depend on the scale, but the square of a scale may leave the range of numbers.
  package typealias Halves = (fisherQuadratic: Double, gradientDot: Double, unscaled: Indicator)

  /// `d^T F d` and `d^T g` for several directions from stacked jvps (method.md 2).
  package func quadratics(_ directions: [ScaledVector<S>]) -> [Halves] {
    var results: [Halves] = []
    let width = linearization.directionsPerPass
    var first = 0
    while first < directions.count {
      let group = Array(directions[first..<min(first + width, directions.count)])
      results += quadraticsOfOnePass(group)
      first += width
    }
    return results
  }

  private func quadraticsOfOnePass(_ directions: [ScaledVector<S>]) -> [Halves] {
    let count = directions.count
    let sums = Vector<Double>(count: 2 * count * linearization.samples)
    linearization.jvp(directions.map(\.vector)) { chunk, tangents in
      for r in 0..<count {
        let q = UnsafePointer(tangents) + r * chunk.count * linearization.logitCount
        // Each chunk writes to the row of its first sample.
        let row = sums.pointer + 2 * (chunk.first * count + r)
        row[0] = output.multiply(.fisher, chunk: chunk, q)
        row[1] = output.gradientDot(output.gradient, chunk: chunk, q)
      }
    }
    return directions.indices.map { r in
      var (quadratic, dot) = (0.0, 0.0)
      for chunk in linearization.schedule.chunks {
        quadratic += sums[2 * (chunk.first * count + r)]
        dot += sums[2 * (chunk.first * count + r) + 1]
      }
      let scale = directions[r].scale
      let indicator = Indicator(fisherQuadratic: quadratic, gradientDot: dot)
      return (quadratic * scale * scale, dot * scale, indicator)
    }
  }

  /// g by one backward pass, as it is: entries below the range of S are lost.
  package func gradient() -> Vector<S> {
    let result = Vector<S>(count: linearization.parameterCount)
    let ones = [Double](repeating: 1, count: linearization.samples)
    linearization.vjp(into: [result]) { chunk, cotangents in
      ones.withUnsafeBufferPointer {
        output.write(output.gradient, chunk: chunk, units: $0.baseAddress!, to: cotangents)
      }
    }
    return result
  }

  package func norm(_ direction: ScaledVector<S>) -> Double {
    operations.norm(direction.vector) * direction.scale
  }

  /// Cosine of the angle between two directions; `nil` if one of them is zero.
  package func cosine(_ a: ScaledVector<S>, _ b: ScaledVector<S>) -> Double? {
    let norms = operations.norm(a.vector) * operations.norm(b.vector)
    return norms > 0 ? operations.dot(a.vector, b.vector) / norms : nil
  }
}
