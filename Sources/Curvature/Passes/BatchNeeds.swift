import GraphModule
import TensorModule

/// What passes over one batch and what is kept of it take, in bytes, from shapes alone: nothing is
/// allocated. The engine allocates by the same rules (`Linearization`, `PerSampleGradients`,
/// `GramLanes`).
package struct BatchNeeds<S: EngineScalar>: Sendable {
  package let program: Program
  package let batch: BatchPlan
  package let samples: Int
  private let bytesPerSample: Int

  /// - Parameters:
  ///   - threads: Workers in a pass.
  ///   - budget: Bytes that forward values may take, as for a linearization.
  package init(_ program: Program, samples: Int, threads: Int, budget: Int) {
    self.program = program
    self.samples = samples
    bytesPerSample = max(ForwardStore<S>.bytesPerSample(program), 1)
    batch = BatchPlan(
      program, samples: samples, threads: threads, budget: budget, bytesPerSample: bytesPerSample)
  }

  package var logitCount: Int { program.graph.outputShape.reduce(1, *) }

  /// Whether directions are combinations of per-sample gradients that are not formed.
  package var usesCombinations: Bool {
    batch.gradients.prefersCombinations(samples: samples, keptSamples: batch.keptSamples)
  }

  package func scalars(_ count: Int...) -> ByteCount {
    ByteCount(count.reduce(1) { $0 * ByteCount($1) }, of: S.self)
  }

  package func doubles(_ count: Int...) -> ByteCount {
    ByteCount(count.reduce(1) { $0 * ByteCount($1) }, of: Double.self)
  }

  /// A vector of length P.
  package var vector: ByteCount { scalars(program.parameterCount) }
  package var exactVector: ByteCount { doubles(program.parameterCount) }

  // MARK: - Passes

  /// What the forward pass leaves behind, logits included, and what it computes in.
  package var forward: ByteCount {
    let shared = SharedValues<S>.counts(program, samples: batch.schedule.largestChunk)
    return ByteCount(batch.storedSamples) * ByteCount(bytesPerSample) + scalars(samples, logitCount)
      + scalars(batch.workers, batch.schedule.largestChunk, program.bufferCounts.forward)
      + scalars(shared.once) + scalars(batch.workers, shared.perExecutor)
  }

  /// The forward values of all samples, kept.
  package var allForward: ByteCount { ByteCount(samples) * ByteCount(bytesPerSample) }

  /// Memory of all workers for so many directions in one pass.
  package func arenas(tangents: Int, cotangents: Int) -> ByteCount {
    let largest = batch.schedule.largestChunk
    let scratch = program.graph.nodes.reduce(0) {
      max(
        $0,
        $1.operation.scratch(samples: largest, directions: max(tangents, cotangents, 1)))
    }
    let rows = ByteCount(batch.workers) * ByteCount(largest)
    let pass =
      rows
      * (ByteCount(tangents) * ByteCount(program.bufferCounts.tangents)
        + ByteCount(cotangents) * ByteCount(program.bufferCounts.cotangents))
    return ByteCount(pass + ByteCount(batch.workers) * ByteCount(scratch), of: S.self)
  }

  /// As of the linearization: directions in one pass.
  package var directionsPerPass: Int {
    Linearization<S>.directionsPerPass(
      tangents: program.bufferCounts.tangents, largestChunk: batch.schedule.largestChunk)
  }

  /// What products `J^T w` of one direction gather in.
  package var accumulators: ByteCount {
    scalars(batch.schedule.lanes.count, batch.gradients.accumulatedCount)
      + scalars(samples, factoredOutputs)
  }

  // MARK: - Per-sample gradients

  /// Per sample and draw, of all layers that factor.
  private var factoredOutputs: Int {
    factored.reduce(0) { $0 + $1.factors.positions * $1.factors.outputs }
  }

  private var factored: [(factors: Factorization, hasBias: Bool)] {
    batch.gradients.routes.compactMap { route in
      guard case .factored(let factors, _, let bias)? = route else { return nil }
      return (factors, bias != nil)
    }
  }

  /// The rows of so many gradients per sample.
  package func rows(draws: Int) -> ByteCount {
    scalars(draws, samples, factoredOutputs)
      + scalars(draws, samples, batch.gradients.accumulatedCount)
  }

  /// Inputs of convolutions that factor, unfolded.
  package var unfolded: ByteCount {
    factored.total {
      $0.factors.rows == .unfolded ? scalars(samples, $0.factors.positions, $0.factors.inputs) : 0
    }
  }

  /// While a weighted sum is formed: cotangents weighed, and in double the inputs too.
  package func weightedSum(inDouble: Bool) -> ByteCount {
    if !inDouble || S.self == Double.self { return scalars(samples, factoredOutputs) }
    let inputs = factored.reduce(0) { sum, layer in
      sum + layer.factors.positions * (layer.factors.outputs + layer.factors.inputs)
    }
    return exactVector + doubles(samples, inputs)
  }

  /// While squares are summed: those of inputs and cotangents of layers with one row per sample.
  package var squares: ByteCount {
    factored.total {
      $0.factors.positions == 1
        ? doubles(samples, $0.factors.inputs + $0.factors.outputs)
        : scalars(samples, $0.factors.outputs)
    }
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
    case factored(Factorization, hasBias: Bool)
  }

  /// - Parameters:
  ///   - isDiagonal: Whether norms alone are needed.
  package func gram(draws: Int, isDiagonal: Bool = false) -> Gram {
    let explicit = program.trainable.compactMap { parameter -> Entry? in
      guard batch.gradients.accumulatorOffsets[parameter.index] != nil else { return nil }
      return .explicit(columns: program.graph.parameters[parameter.index].count)
    }
    return gram(
      factored.map { .factored($0.factors, hasBias: $0.hasBias) } + explicit, draws: draws,
      isDiagonal: isDiagonal)
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

  private func entry(of parameter: ParameterID) -> Entry {
    for case .factored(let factors, let weight, let bias)? in batch.gradients.routes {
      if weight == parameter { return .factored(factors, hasBias: false) }
      if bias == parameter { return .explicit(columns: factors.outputs) }
    }
    return .explicit(columns: program.graph.parameters[parameter.index].count)
  }

  private func gram(_ entries: [Entry], draws: Int, isDiagonal: Bool) -> Gram {
    let count = draws * samples
    let square = isDiagonal ? doubles(count) : doubles(count, count)
    let sum = isDiagonal ? doubles(2, count) : doubles(count + 1, count)
    var lanes = LaneNeeds<S>()
    var kernels: ByteCount = 0
    var sums: ByteCount = 0
    for entry in entries {
      switch entry {
      case .explicit(let columns): lanes.add(rows: count, columns: columns, isDiagonal)
      case .factored(let factors, let hasBias):
        let (rows, inputs) = (samples * factors.positions, factors.inputs)
        let isPair = factors.prefersPairs(samples: samples, draws: draws, isDiagonal: isDiagonal)
        if isPair || usesCombinations && factors.prefersRowKernel(samples: samples) {
          kernels += doubles(rows + 1, rows)
          if factors.rows != .oneHot { lanes.add(rows: rows, columns: inputs, false) }
        }
        if isPair {
          lanes.add(rows: draws * rows, columns: factors.outputs, false)
        } else {
          let width =
            factors.rows == .oneHot
            ? min(rows, inputs, max(1, GramTiles.scalars / max(count * factors.outputs, 1)))
              * factors.outputs
            : GramTiles.outputs(factors, rows: count) * inputs
          let columns =
            factors.rows == .oneHot ? min(rows, inputs) * factors.outputs : factors.outputs * inputs
          lanes.add(rows: count, columns: columns, width: width, isDiagonal, hasScratch: true)
          if hasBias {
            lanes.add(rows: count, columns: factors.outputs, isDiagonal)
            sums = max(sums, scalars(count, factors.outputs))
          }
        }
      }
    }
    return Gram(matrix: square, workspace: sum + lanes.total + sums, kernels: kernels)
  }
}

/// What the lanes of a Gram matrix grow to (`GramLanes`).
private struct LaneNeeds<S: EngineScalar> {
  /// Per lane: bytes of its doubles, and of its scratch.
  private var lanes: [(sums: ByteCount, scratch: ByteCount)] = []

  var total: ByteCount { lanes.total { $0.sums + $0.scratch } }

  mutating func add(
    rows: Int, columns: Int, width: Int? = nil, _ isDiagonal: Bool, hasScratch: Bool = false
  ) {
    let width = width ?? max(1, min(columns, GramTiles.scalars / max(rows, 1)))
    let tiles = (columns + width - 1) / max(width, 1)
    let count = max(1, min(tiles, GramLanes<S>.count(rows: rows, columns: tiles * width)))
    let (n, m) = (ByteCount(rows), ByteCount(width))
    let sum = (isDiagonal ? n : n * n) + n + n * m + m + n
    let need = (
      sums: ByteCount(sum, of: Double.self), scratch: hasScratch ? ByteCount(n * m, of: S.self) : 0
    )
    while lanes.count < count { lanes.append((0, 0)) }
    for i in 0..<count {
      lanes[i] = (max(lanes[i].sums, need.sums), max(lanes[i].scratch, need.scratch))
    }
  }
}

// MARK: - K-FAC

extension BatchNeeds {
  /// What the linear layers of K-FAC take while their factors are formed.
  ///
  /// - Parameters:
  ///   - program: That of the layers (`Linearization.layerProgram`).
  ///   - draws: Rows per sample, those of the true labels included.
  ///   - factorDraws: Of these, the ones that make the factor of the outputs.
  ///   - workers: Layers at the same time.
  package func kronecker(
    _ layerProgram: Program, draws: Int, factorDraws: Int, workers: Int
  ) -> ByteCount {
    let plan = KroneckerPlan(layerProgram)
    let blocks = plan.layers.map { layer in
      block(
        rows: samples * layer.linear.positions,
        inputs: layer.linear.inputs + (layer.bias == nil ? 0 : 1), outputs: layer.linear.outputs,
        draws: factorDraws)
    }
    let together = blocks.sorted(by: >).prefix(workers).total { $0 }
    // Rows that are collected for it, as many as `forEachLayer` collects together.
    let rows = plan.layers.map {
      scalars(
        samples, $0.linear.positions, draws * $0.linear.outputs + $0.linear.inputs)
    }
    let collected = max(rows.max() ?? 0, min(rows.total { $0 }, ByteCount(LayerGroup.bytes)))
    if program.isLayerwise { return together + collected }
    let own = BatchNeeds(
      layerProgram, samples: samples, threads: batch.workers, budget: 0)
    return together + collected + own.forward + own.arenas(tangents: 0, cotangents: draws)
  }

  /// One layer: both spectra with their work space, the gradient, and one solution.
  private func block(rows: Int, inputs: Int, outputs: Int, draws: Int) -> ByteCount {
    spectrum(rows: rows, columns: inputs) + spectrum(rows: draws * rows, columns: outputs)
      + doubles(8, outputs, inputs)
  }

  private func spectrum(rows: Int, columns: Int) -> ByteCount {
    rows < columns
      ? singularValues(rows: rows, columns: columns)
      : doubles(4, columns, columns) + doubles(512, columns)
  }

  /// A matrix, the copy that its decomposition destroys, factors and work space.
  package func singularValues(rows: Int, columns: Int) -> ByteCount {
    let k = min(rows, columns)
    return doubles(2, rows, columns) + doubles(rows, k) + doubles(k, columns) + doubles(5, k, k)
  }
}
