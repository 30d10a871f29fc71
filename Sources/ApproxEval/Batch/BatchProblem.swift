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
  package let labels: Labels
  package let storedDraws: [LogitGradient]
  /// An even power of two near the largest entry of H.
  let curvatureUnit: Double
  /// Makes the samples that gradients are of, where these are scored positions.
  private let makeTokens: ((BatchProblem) -> SampleProblem<S>)?

  /// - Parameter budget: Bytes that forward values may take.
  package init(
    _ checkpoint: LoadedCheckpoint, parameters: ParameterStore<S>, batch: BatchReader.Batch<S>,
    pool: WorkerPool, budget: Int
  ) throws(EvaluationError) {
    linearization = Linearization(
      program: checkpoint.program, layerProgram: checkpoint.layerProgram, parameters: parameters,
      inputs: batch.inputs, pool: pool, budget: budget)
    for chunk in linearization.schedule.chunks {
      let logits = linearization.logits(chunk)
      let size = linearization.logitCount
      if let index = Kernels.firstNonFinite(logits, count: chunk.count * size) {
        throw .nonFiniteLogits(
          checkpoint: checkpoint.path, sample: chunk.first + index / size,
          value: Double(logits[index]), isDouble: S.self == Double.self)
      }
    }
    labels = batch.labels
    output = OutputState(
      loss: checkpoint.loss, labels: labels, weighting: batch.weighting,
      linearization: linearization)
    var stored: [LogitGradient] = []
    for labels in batch.sampledLabels {
      stored.append(output.gradient(forSampled: labels, linearization: linearization))
    }
    storedDraws = stored
    operations = VectorOperations(pool: pool, count: linearization.parameterCount)
    curvatureUnit = output.curvatureUnit(.fisher) ?? 1
    makeTokens = checkpoint.tokens.map { tokens in
      { SampleProblem(tokensOf: $0, tokens, batch, parameters: parameters) }
    }
  }

  /// The same batch with some of the trainable tensors: directions have their entries alone.
  private init(_ other: BatchProblem, _ linearization: Linearization<S>) {
    self.linearization = linearization
    (output, labels, storedDraws) = (other.output, other.labels, other.storedDraws)
    operations = VectorOperations(
      pool: linearization.pool, count: linearization.parameterCount)
    curvatureUnit = other.curvatureUnit
    makeTokens = nil
  }

  /// What gradients of samples are made from, with a forward pass of its own where that are scored positions.
  func samples() -> SampleProblem<S> { makeTokens?(self) ?? SampleProblem(self) }

  /// The batch as it is, also where samples are scored positions: for what takes no gradients of samples.
  func sequences() -> SampleProblem<S> { SampleProblem(self, formsDirections: makeTokens != nil) }

  /// - Returns: `nil` where the logits do not depend on these tensors.
  package func restricted(to group: [ParameterID]) -> BatchProblem? {
    linearization.restricted(to: group).map { BatchProblem(self, $0) }
  }

  /// What of `memory` forward values may take where everything else leaves as much: three quarters, less the parameters and the dozen
  /// vectors of length P that directions and solvers need, but never less than a quarter.
  static func forwardBudget(_ checkpoint: LoadedCheckpoint, memory: Int) -> Int {
    let program = checkpoint.program
    let parameters =
      program.graph.parameters.reduce(0) { $0 + $1.count } - checkpoint.countInHalves
    let vectors = (parameters + 12 * program.parameterCount) * MemoryLayout<S>.stride
    return max(memory / 4, memory / 4 * 3 - vectors)
  }

  package func norm(_ direction: DirectionForm<S>) -> Double {
    switch direction {
    case .explicit(let vector): norm(vector)
    case .stored(let stored): stored.norm
    case .combination(let combination): combination.norm
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

  /// `<d, x>` of numbers that exist, without their scales; `nil` for a combination.
  package func dot(_ direction: DirectionForm<S>, _ x: DirectionForm<S>) -> Double? {
    guard case .explicit(let x) = x else { return nil }
    switch direction {
    case .explicit(let d): return operations.dot(d.vector, x.vector)
    case .stored(let d): return d.dot(x.vector)
    case .combination: return nil
    }
  }
}
