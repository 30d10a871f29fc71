import GraphModule
import TensorModule

/// What passes over one batch and what is kept of it take, in bytes, from shapes alone: nothing is
/// allocated. The engine allocates by the same rules (`Linearization`, `PerSampleGradients`,
/// `GramLanes`).
package struct BatchNeeds<S: EngineScalar>: Sendable {
  package let program: Program
  package let batch: BatchPlan
  package let samples: Int

  /// - Parameters:
  ///   - threads: Workers in a pass.
  ///   - budget: Bytes that forward values may take, as for a linearization.
  package init(_ program: Program, samples: Int, threads: Int, budget: Int) {
    self.program = program
    self.samples = samples
    batch = BatchPlan(
      program, samples: samples, threads: threads, budget: budget,
      bytesPerSample: ForwardStore<S>.bytesPerSample(program))
  }

  private init(_ other: BatchNeeds, _ program: Program) {
    self.program = program
    (batch, samples) = (other.batch, other.samples)
  }

  /// As of `Linearization.restricted`, for what passes compute.
  package func restricted(to group: [ParameterID]) -> BatchNeeds {
    BatchNeeds(self, program.restricted(to: group))
  }

  package var logitCount: Int { program.graph.outputShape.reduce(1, *) }

  /// Whether directions are combinations of per-sample gradients that are not formed.
  package var usesCombinations: Bool {
    batch.gradients.prefersCombinations(samples: samples, keptSamples: batch.keptSamples)
  }

  /// A vector of so many scalars.
  package func scalars(_ count: Int...) -> ByteCount {
    ByteCount(vector: count.reduce(1) { $0 * ByteCount($1) }, of: S.self)
  }

  package func doubles(_ count: Int...) -> ByteCount {
    ByteCount(vector: count.reduce(1) { $0 * ByteCount($1) }, of: Double.self)
  }

  /// A vector of length P.
  package var vector: ByteCount { scalars(program.parameterCount) }
  package var exactVector: ByteCount { doubles(program.parameterCount) }

  /// What kept forward values leave of the budget, as of the linearization.
  package var spareBudget: Int {
    max(0, batch.budget - batch.keptSamples * ForwardStore<S>.bytesPerSample(program))
  }

  // MARK: - Passes

  /// What the forward pass leaves behind, logits included, and what it computes in.
  package var forward: ByteCount {
    let largest = batch.schedule.largestChunk
    let shared = SharedValues<S>.counts(program, samples: largest)
    let spare =
      batch.keptSamples < samples ? ForwardStore<S>.bytes(program, samples: largest) : 0
    let own = scalars(largest, program.bufferCounts.forward) + scalars(shared.perExecutor) + spare
    let logits =
      batch.keptSamples == samples && ForwardStore<S>.keepsLogits(program)
      ? 0 : scalars(samples, logitCount)
    return ForwardStore<S>.bytes(program, samples: batch.keptSamples) + logits
      + scalars(shared.once) + batch.workers * own
  }

  /// What passes over as many gathered samples take a chunk's forward values to.
  package var gathered: ByteCount {
    let largest = batch.schedule.largestChunk
    let shared = SharedValues<S>.counts(program, samples: largest)
    return scalars(shared.once)
      + batch.workers
      * (ForwardStore<S>.bytes(program, samples: largest) + scalars(shared.perExecutor))
  }

  /// Memory of all workers for the tangents of so many directions in one pass.
  package func tangents(_ directions: Int) -> ByteCount {
    arena(directions, program.bufferCounts.tangents)
  }

  /// The same for cotangents.
  package func cotangents(_ directions: Int) -> ByteCount {
    arena(directions, program.bufferCounts.cotangents)
  }

  private func arena(_ directions: Int, _ count: Int) -> ByteCount {
    batch.workers * scalars(batch.schedule.largestChunk, directions, count)
  }

  /// What operations of all workers compute in, with so many directions.
  package func scratch(_ directions: Int) -> ByteCount {
    let largest = program.graph.nodes.reduce(0) {
      max(
        $0,
        $1.operation.scratch(
          samples: batch.schedule.largestChunk, directions: max(directions, 1)))
    }
    return batch.workers * scalars(largest)
  }

  /// All of that for passes of so many.
  package func arenas(tangents: Int, cotangents: Int) -> ByteCount {
    self.tangents(tangents) + self.cotangents(cotangents) + scratch(max(tangents, cotangents))
  }

  /// As of the linearization: directions in one pass.
  package var directionsPerPass: Int {
    Linearization<S>.directionsPerPass(
      tangents: program.bufferCounts.tangents, largestChunk: batch.schedule.largestChunk)
  }

  /// What products `J^T w` of one direction gather in.
  package var accumulators: ByteCount {
    batch.schedule.lanes.count * scalars(batch.gradients.accumulatedCount) + outputs(draws: 1)
  }

  // MARK: - Per-sample gradients

  /// Cotangents of the outputs of all layers that factor, and of tables that are their weights.
  private func outputs(draws: Int) -> ByteCount {
    (factored.map(\.factors) + tables).total {
      scalars(draws, samples, $0.positions, $0.outputs)
    }
  }

  private var factored: [(factors: Factorization, hasBias: Bool, isTied: Bool)] {
    batch.gradients.routes.enumerated().compactMap { node, route in
      guard case .factored(let factors, _, let bias)? = route else { return nil }
      return (factors, bias != nil, batch.gradients.tables[node] != nil)
    }
  }

  private var tables: [Factorization] { batch.gradients.tables.values.map(\.factors) }

  /// The rows of so many gradients per sample.
  package func rows(draws: Int) -> ByteCount {
    let explicit = program.trainable.filter {
      batch.gradients.accumulatorOffsets[$0.index] != nil
    }
    return outputs(draws: draws)
      + explicit.total { scalars(draws, samples, program.graph.parameters[$0.index].count) }
  }

  /// Inputs of convolutions that factor, unfolded.
  package var unfolded: ByteCount {
    factored.total {
      $0.factors.rows == .unfolded ? scalars(samples, $0.factors.positions, $0.factors.inputs) : 0
    }
  }

  /// While a weighted sum is formed: cotangents weighed, and in double the inputs too.
  package func weightedSum(inDouble: Bool) -> ByteCount {
    if !inDouble || S.self == Double.self { return outputs(draws: 1) }
    return exactVector
      + tables.total { doubles(samples, $0.positions, $0.outputs) }
      + factored.total { layer in
        let rows = layer.factors.positions
        return doubles(samples, rows, layer.factors.outputs)
          + (layer.factors.rows == .oneHot ? 0 : doubles(samples, rows, layer.factors.inputs))
      }
  }

  /// While squares are summed: those of inputs and cotangents of layers with one row per sample.
  package var squares: ByteCount {
    factored.total {
      $0.factors.positions == 1 && !$0.isTied
        ? doubles(samples, $0.factors.inputs + $0.factors.outputs)
        : scalars(samples, $0.factors.outputs)
    }
  }

  /// While `J d` of so many combinations is taken: the blocks of d of the layers that do not answer with
  /// their kernels, and the cotangents of those that factor, weighed for one direction at a time.
  package func formedBlocks(_ directions: Int) -> ByteCount {
    var formed = program.parameterCount
    var weighed: ByteCount = 0
    for layer in factored {
      if layer.factors.prefersRowKernel(samples: samples) {
        formed -= layer.factors.inputs * layer.factors.outputs
        if layer.hasBias { formed -= layer.factors.outputs }
      } else {
        weighed += scalars(samples, layer.factors.positions, layer.factors.outputs)
      }
    }
    return scalars(directions, formed) + weighed
  }

  // MARK: - Gram matrices

  /// One Gram matrix of R gradients per sample.
  package struct Gram: Sendable {
    /// Of the products that it keeps.
    package var matrix: ByteCount
    /// What it is formed in.
    package var workspace: ByteCount
    /// Kernels of layer inputs, which stay with the linearization.
    package var kernels: ByteCount
  }

  /// A tensor or a layer whose gradients have rows of their own.
  private enum Entry {
    case explicit(columns: Int)
    case factored(Factorization, hasBias: Bool, isTied: Bool)
  }

  /// - Parameters:
  ///   - isDiagonal: Whether norms alone are needed.
  package func gram(draws: Int, isDiagonal: Bool = false) -> Gram {
    let explicit = program.trainable.compactMap { parameter -> Entry? in
      guard batch.gradients.accumulatorOffsets[parameter.index] != nil else { return nil }
      return .explicit(columns: program.graph.parameters[parameter.index].count)
    }
    return gram(
      factored.map { .factored($0.factors, hasBias: $0.hasBias, isTied: $0.isTied) } + explicit,
      draws: draws, isDiagonal: isDiagonal)
  }

  /// The largest Gram matrix of one of these tensors alone, and the kernels of all of them.
  package func gramOfTensors(_ tensors: [ParameterID], draws: Int) -> Gram {
    var largest = Gram(matrix: 0, workspace: 0, kernels: 0)
    for parameter in tensors {
      let own = gram([entry(of: parameter)], draws: draws, isDiagonal: false)
      largest.matrix = max(largest.matrix, own.matrix)
      largest.workspace = max(largest.workspace, own.workspace)
      largest.kernels += own.kernels
    }
    return largest
  }

  /// How the gradients of a weight are kept.
  package enum WeightForm: Sendable {
    /// As rows of the layer at so many positions.
    case products(positions: Int)
    case explicit
  }

  package func weightForm(of parameter: ParameterID) -> WeightForm {
    for (node, route) in batch.gradients.routes.enumerated() {
      guard case .factored(let factors, parameter, _)? = route, factors.rows != .oneHot,
        batch.gradients.tables[node] == nil
      else { continue }
      return .products(positions: factors.positions)
    }
    return .explicit
  }

  private func entry(of parameter: ParameterID) -> Entry {
    for (node, route) in batch.gradients.routes.enumerated() {
      guard case .factored(let factors, let weight, let bias)? = route else { continue }
      if weight == parameter {
        let isTied = batch.gradients.tables[node] != nil
        return .factored(factors, hasBias: false, isTied: isTied)
      }
      if bias == parameter { return .explicit(columns: factors.outputs) }
    }
    return .explicit(columns: program.graph.parameters[parameter.index].count)
  }

  private func gram(_ entries: [Entry], draws: Int, isDiagonal: Bool) -> Gram {
    let count = draws * samples
    let blocks = GramBlocks(rows: count, split: count, isDiagonal: isDiagonal)
    let square = isDiagonal ? doubles(count) : doubles(count, count)
    var lanes = LaneNeeds<S>()
    var kernels: ByteCount = 0
    var sums: ByteCount = 0
    for entry in entries {
      switch entry {
      case .explicit(let columns):
        lanes.add(blocks, GramTiling(rows: count, columns: columns))
      case .factored(let factors, let hasBias, let isTied):
        let rows = samples * factors.positions
        let isPair =
          !isTied
          && factors.prefersPairs(samples: samples, draws: draws, isDiagonal: isDiagonal)
        let hasKernel = factors.prefersRowKernel(samples: samples)
        if isPair || usesCombinations && hasKernel {
          kernels += doubles(rows + 1, rows)
          if factors.rows != .oneHot { lanes.addWhole(rows: rows, columns: factors.inputs) }
        }
        if isPair {
          lanes.addWhole(rows: draws * rows, columns: factors.outputs)
          continue
        }
        let tiling =
          factors.rows == .oneHot
          ? GramTiling(table: factors, used: min(rows, factors.inputs), rows: count)
          : GramTiling(outerProducts: factors, rows: count)
        lanes.add(blocks, tiling, hasScratch: true)
        if hasBias {
          lanes.add(blocks, GramTiling(rows: count, columns: factors.outputs))
          sums = max(sums, scalars(count, factors.outputs))
        }
      }
    }
    // The matrix itself is made when what its sums were formed in is free again.
    let formed = max(lanes.total + sums, square)
    return Gram(
      matrix: square,
      workspace: ByteCount(formed.value - square.value) + square + doubles(count),
      kernels: kernels)
  }
}

/// What the lanes of a Gram matrix grow to (`GramLanes`).
private struct LaneNeeds<S: EngineScalar> {
  /// Per lane: bytes of its doubles, and of its scratch.
  private var lanes: [(parts: ByteCount, scratch: ByteCount)] = []

  var total: ByteCount { lanes.total { $0.parts + $0.scratch } }

  mutating func addWhole(rows: Int, columns: Int) {
    add(GramBlocks(rows: rows, split: rows), GramTiling(rows: rows, columns: columns))
  }

  mutating func add(_ blocks: GramBlocks, _ tiling: GramTiling, hasScratch: Bool = false) {
    let parts = ByteCount(
      vector: blocks.laneParts(width: tiling.width).total { $0 }, of: Double.self)
    let scratch = ByteCount(
      vector: hasScratch ? ByteCount(blocks.rows) * ByteCount(tiling.width) : 0, of: S.self)
    let count = tiling.lanes(rows: blocks.rows)
    while lanes.count < count { lanes.append((0, 0)) }
    for i in 0..<count {
      lanes[i] = (max(lanes[i].parts, parts), max(lanes[i].scratch, scratch))
    }
  }
}
