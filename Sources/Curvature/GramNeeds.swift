import GraphModule
import TensorModule

/// Memory that the Gram matrix of R gradients per sample takes, from shapes alone: nothing is
/// allocated.
package struct GramNeeds: Sendable {
  /// Bytes of the rows of all gradients, in the form that each layer allows.
  package let rows: Int
  /// Bytes of the backward pass with R cotangents per sample.
  package let arenas: Int
  /// Bytes of the matrix, `[R N, R N]` in double, and of the partial sums it is formed from.
  package let matrix: Int

  package var total: Int { rows + arenas + matrix }

  /// - Parameters:
  ///   - threads: Workers in the backward pass.
  ///   - budget: Bytes that forward values may take, as for a linearization.
  package init<S: EngineScalar>(
    _ program: Program, samples: Int, draws: Int, threads: Int, budget: Int, _: S.Type
  ) {
    let scalar = Double(MemoryLayout<S>.stride)
    let batch = BatchPlan(
      program, samples: samples, threads: threads, budget: budget,
      bytesPerSample: ForwardStore<S>.bytesPerSample(program))
    let count = Double(draws) * Double(samples)
    let scalarsPerRow = batch.gradients.routes.reduce(Double(batch.gradients.accumulatedCount)) {
      sum, route in
      guard case .factored(let factors, _, _)? = route else { return sum }
      return sum + Double(factors.positions * factors.outputs)
    }
    rows = Self.bytes(count * scalarsPerRow * scalar)
    arenas = Self.bytes(
      Double(draws * batch.workers * batch.schedule.largestChunk)
        * Double(BufferPlan.tangentCount(program)) * scalar)
    // The sum, one part, its copy for the solve and its factors; lanes as in `symmetricSum`.
    let lanes = Double(GramLanes<S>.most(rows: draws * samples))
    matrix = Self.bytes((4 + lanes) * count * count * 8)
  }

  private static func bytes(_ value: Double) -> Int { value < 4e18 ? Int(value) : Int.max / 4 }
}
