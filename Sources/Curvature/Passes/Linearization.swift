import GraphModule
import TensorModule

/// The program linearized at fixed parameters and a fixed batch: forward values are kept, and
/// `J v` and `J^T w` are one pass each.
///
/// The batch is split into chunks of samples; worker threads take chunks and reductions run in
/// chunk order (see `Schedule`). Where the forward values of all samples do not fit into the
/// budget, those of the last chunks are recomputed in every pass. Shapes: directions [P], logits, tangents and cotangents of a
/// chunk [R, n, O C].
package final class Linearization<S: EngineScalar> {
  package let program: Program
  /// The same function with every linear layer applied to its own rows: the program itself unless
  /// it computes some layers in another way.
  package let layerProgram: Program
  package let pool: WorkerPool
  package let schedule: Schedule
  package let samples: Int
  let store: ForwardStore<S>
  let inputs: BatchInputs<S>
  let plan: GradientPlan
  /// Whether the batch is one chunk whose operations use all threads.
  let sharesProducts: Bool
  /// Samples whose forward values are kept; the others are recomputed in every pass.
  package let keptSamples: Int
  /// Of values, and of tangents or gradients of the weights, for one direction.
  private let operations: Double
  /// `[N, O C]`
  private let logitValues: Vector<S>
  private let parameters: ParameterStore<S>
  let executors: [Executor<S>]
  /// Per executor, for chunks that are not kept.
  private let spareStores: [ForwardStore<S>]
  private var accumulators: GradientAccumulators<S>?
  /// Bytes that forward values may take.
  package let budget: Int
  /// What the kept ones leave of it.
  package let spareBudget: Int
  /// The batch that its samples are gathered from, and which of its samples they are.
  let origin: (batch: Linearization, samples: [Int])?
  /// Per node (`rowKernel`).
  let rowKernels: FormedOnce<RowKernelKey, Vector<Double>>
  /// Per node, of convolutions that factor (`inputRows`).
  let unfoldedRows: FormedOnce<Int, Vector<S>>

  package typealias Chunk = Schedule.Chunk
  package typealias Scalars = UnsafeMutablePointer<S>

  /// Runs the forward pass.
  ///
  /// - Parameters:
  ///   - layerProgram: Where `program` does not apply every linear layer to its own rows, one that
  ///     does, with the same inputs and parameters.
  ///   - budget: Bytes that forward values may take. Results may differ in rounding, and only there,
  ///     between budgets that keep all samples and budgets that do not.
  package init(
    program: Program, layerProgram: Program? = nil, parameters: ParameterStore<S>,
    inputs: BatchInputs<S>, pool: WorkerPool, budget: Int = .max
  ) {
    self.program = program
    self.layerProgram = layerProgram ?? program
    precondition(
      self.layerProgram.graph.parameters.map(\.name) == program.graph.parameters.map(\.name),
      "Linearization: two programs with different parameters")
    self.parameters = parameters
    self.pool = pool
    self.inputs = inputs
    samples = inputs.samples
    let bytesPerSample = ForwardStore<S>.bytesPerSample(program)
    let batch = BatchPlan(
      program, samples: samples, threads: pool.threads, budget: budget,
      bytesPerSample: bytesPerSample)
    plan = batch.gradients
    sharesProducts = batch.sharesProducts
    schedule = batch.schedule
    keptSamples = batch.keptSamples
    operations = 2 * Double(program.operationCount) * Double(samples)
    self.budget = budget
    (origin, rowKernels, unfoldedRows) = (nil, FormedOnce(), FormedOnce())
    spareBudget = max(0, budget - keptSamples * bytesPerSample)
    store = ForwardStore(program: program, samples: keptSamples)
    // With the values of all samples the logits are kept.
    let kept = keptSamples == samples ? store.values[program.graph.output.index] : nil
    logitValues = kept ?? Vector(count: samples * program.graph.outputShape.reduce(1, *))
    let largest = schedule.largestChunk
    directionsPerPass = Self.directionsPerPass(
      tangents: program.bufferCounts.tangents, largestChunk: largest)
    let shared = SharedValues(program: program, parameters: parameters)
    executors = (0..<batch.workers).map { _ in
      Executor(
        program: program, parameters: parameters, maximumSamples: largest, shared: shared,
        pool: batch.sharesProducts ? pool : nil)
    }
    spareStores = (0..<(keptSamples == samples ? 0 : batch.workers)).map { _ in
      ForwardStore(program: program, samples: largest)
    }
    forEachChunk(runsForward: true) { chunk, _, executor in
      if kept != nil { return }
      let count = logitCount
      Kernels.copy(
        executor.logits, logitValues.pointer + chunk.first * count, count: chunk.count * count)
    }
  }

  /// The same function of some of the trainable parameters, the others fixed. Forward values, kernels and
  /// the memory of passes are those of `other`: the two do not run at the same time.
  private init(_ other: Linearization, program: Program) {
    self.program = program
    layerProgram = program
    (parameters, pool, inputs) = (other.parameters, other.pool, other.inputs)
    (samples, keptSamples, schedule) = (other.samples, other.keptSamples, other.schedule)
    (store, logitValues) = (other.store, other.logitValues)
    (sharesProducts, operations) = (other.sharesProducts, other.operations)
    (budget, spareBudget) = (other.budget, other.spareBudget)
    // Its passes are in the memory of the others.
    directionsPerPass = other.directionsPerPass
    (origin, rowKernels, unfoldedRows) = (other.origin, other.rowKernels, other.unfoldedRows)
    plan = GradientPlan(program, factors: other.plan.factors)
    let largest = schedule.largestChunk
    let shared = SharedValues(program: program, parameters: parameters)
    executors = other.executors.map {
      Executor(
        program: program, parameters: other.parameters, maximumSamples: largest, shared: shared,
        pool: other.sharesProducts ? other.pool : nil, memory: $0.memory)
    }
    spareStores = other.spareStores
  }

  /// The same function of some of the samples, each as often as it is named. The memory of passes is that
  /// of `other`: the two do not run at the same time.
  private init(_ other: Linearization, gathering rows: [Int]) {
    let isWhole = other.keptSamples == other.samples && other.origin == nil
    precondition(isWhole, "gathered: of the whole batch, whose forward values are kept")
    (program, layerProgram) = (other.program, other.layerProgram)
    (parameters, pool, budget) = (other.parameters, other.pool, other.budget)
    (samples, keptSamples, spareBudget) = (rows.count, 0, 0)
    let batch = BatchPlan(
      other.program, samples: rows.count, threads: other.pool.threads, budget: .max,
      bytesPerSample: 1)
    plan = other.plan  // Rows of the two are multiplied with each other.
    (schedule, sharesProducts) = (batch.schedule, batch.sharesProducts)
    operations = 2 * Double(other.program.operationCount) * Double(rows.count)
    (origin, rowKernels, unfoldedRows) = ((other, rows), FormedOnce(), FormedOnce())
    inputs = other.inputs.gathered(rows, other.program.graph)
    store = ForwardStore(program: other.program, samples: 0)
    logitValues = Vector(count: 0)
    let largest = schedule.largestChunk
    directionsPerPass = Self.directionsPerPass(
      tangents: other.program.bufferCounts.tangents, largestChunk: largest)
    let shared = SharedValues(program: other.program, parameters: other.parameters)
    executors = (0..<batch.workers).map {
      Executor(
        program: other.program, parameters: other.parameters, maximumSamples: largest,
        shared: shared, pool: batch.sharesProducts ? other.pool : nil,
        memory: $0 < other.executors.count ? other.executors[$0].memory : PassMemory())
    }
    spareStores = (0..<batch.workers).map { _ in
      ForwardStore(program: other.program, samples: largest)
    }
  }

  /// The linearization at some of the samples, each as often as it is named, for passes over them: a chunk at a time
  /// takes its forward values from these. There are no logits, and the inputs of layers are where they were.
  ///
  /// - Precondition: The forward values of all samples are kept.
  package func gathered(_ rows: [Int]) -> Linearization { Linearization(self, gathering: rows) }

  /// The linearization in some of the trainable parameters alone: their columns of J at the cost of the
  /// passes from the first of them on.
  ///
  /// - Returns: `nil` where the logits do not depend on them.
  package func restricted(to group: [ParameterID]) -> Linearization? {
    let own = program.restricted(to: group)
    return own.movesOutput ? Linearization(self, program: own) : nil
  }

  /// P
  package var parameterCount: Int { program.parameterCount }
  /// O C
  package var logitCount: Int { program.graph.outputShape.reduce(1, *) }

  /// The logits of a chunk, `[n, O C]`; gathered samples have none.
  package func logits(_ chunk: Chunk) -> UnsafePointer<S> {
    UnsafePointer(logitValues.pointer + chunk.first * logitCount)
  }

  /// J v for several directions at once; `body` gets each chunk's tangents `[R, n, O C]`.
  package func jvp(
    _ directions: [Vector<S>], _ body: (_ chunk: Chunk, _ tangents: Scalars) -> Void
  ) {
    jvp(directions.map(pointers), body)
  }

  /// The same for directions of which the numbers of every parameter are somewhere else: per direction
  /// and parameter of the graph a pointer to them.
  package func jvp(
    _ pointers: [[UnsafePointer<S>?]], _ body: (_ chunk: Chunk, _ tangents: Scalars) -> Void
  ) {
    reserve(directions: pointers.count, tangents: true, cotangents: false)
    forEachChunk(directions: pointers.count) { chunk, _, executor in
      body(chunk, executor.jvp(pointers))
    }
  }

  /// J^T w for R cotangents at once; `cotangents` writes each chunk's `[R, n, O C]`.
  package func vjp(
    into results: [Vector<S>], _ cotangents: (_ chunk: Chunk, _ cotangents: Scalars) -> Void
  ) {
    let accumulators = prepareAccumulators(directions: results.count)
    reserve(directions: results.count, tangents: false, cotangents: true)
    forEachChunk(directions: results.count) { chunk, lane, executor in
      cotangents(chunk, executor.logitCotangents(directions: results.count))
      executor.vjp(LaneCollector(accumulators: accumulators, lane: lane))
    }
    accumulators.assemble(into: results, linearization: self)
  }

  /// `J^T T(J v)` where `transform` turns a chunk's tangents (read) into cotangents (written):
  /// each chunk goes forwards and backwards while it is in cache.
  package func jvpThenVJP(
    _ direction: Vector<S>, into result: Vector<S>,
    _ transform: (_ chunk: Chunk, _ tangents: UnsafePointer<S>, _ cotangents: Scalars) -> Void
  ) {
    let pointers = [pointers(direction)]
    let accumulators = prepareAccumulators(directions: 1)
    reserve(directions: 1, tangents: true, cotangents: true)
    forEachChunk(directions: 2) { chunk, lane, executor in
      let tangents = UnsafePointer(executor.jvp(pointers))
      transform(chunk, tangents, executor.logitCotangents(directions: 1))
      executor.vjp(LaneCollector(accumulators: accumulators, lane: lane))
    }
    accumulators.assemble(into: [result], linearization: self)
  }

  /// Per-sample gradients for R cotangents per sample (draws), factored where that is smaller.
  ///
  /// - Parameters:
  ///   - scales: `[R N]`; the stored rows times these are the gradients.
  ///   - mayBeParallel: Whether cotangents of one sample may be the same but for their sign, as those of
  ///     drawn labels may; columns of a root of H are not.
  package func perSampleGradients(
    draws: Int, scales: [Double], mayBeParallel: Bool = false,
    _ cotangents: (_ chunk: Chunk, _ cotangents: Scalars) -> Void
  ) -> PerSampleGradients<S> {
    let gradients = PerSampleGradients(linearization: self, draws: draws, scales: scales)
    if draws < 2 || !mayBeParallel {
      collect(into: gradients, cotangents)
      return gradients
    }
    let parallel = ParallelRows<S>(draws: draws, samples: samples)
    collect(into: gradients) { chunk, scalars in
      cotangents(chunk, scalars)
      parallel.find(chunk, scalars, size: logitCount)
    }
    gradients.unify(parallel)
    return gradients
  }

  /// The same for a collection that holds zeros (`PerSampleGradients.clear`).
  func collect(
    into gradients: PerSampleGradients<S>,
    _ cotangents: (_ chunk: Chunk, _ cotangents: Scalars) -> Void
  ) {
    backward(draws: gradients.draws, gradients.collector, cotangents)
  }

  /// One backward pass of R cotangents per sample that shows the collector every node with
  /// trainable parameters, chunk by chunk; chunks run at the same time.
  func backward(
    draws: Int, _ collector: some GradientCollector<S>,
    _ cotangents: (_ chunk: Chunk, _ cotangents: Scalars) -> Void
  ) {
    reserve(directions: draws, tangents: false, cotangents: true)
    forEachChunk(directions: draws) { chunk, _, executor in
      cotangents(chunk, executor.logitCotangents(directions: draws))
      executor.vjp(collector)
    }
  }

  /// How many directions fit into one pass without the tangents of a chunk growing beyond 64 MiB
  /// for each worker: more gain nothing once products are a thousand rows tall, and leave the
  /// caches.
  package let directionsPerPass: Int

  static func directionsPerPass(tangents: Int, largestChunk: Int) -> Int {
    max(1, (1 << 26) / max(tangents * MemoryLayout<S>.stride * largestChunk, 1))
  }

  /// The linearization of `layerProgram` at the same point: this one where that is its own program,
  /// else one that lives as long as the caller keeps it.
  func layerwise() -> Linearization {
    if program.isLayerwise { return self }
    return Linearization(
      program: layerProgram, parameters: parameters, inputs: inputs, pool: pool,
      budget: spareBudget)
  }

  // MARK: - Pieces

  /// Binds an executor to each chunk, with its forward values in place.
  ///
  /// - Parameter directions: How many tangents or cotangents each gets, both counted.
  func forEachChunk(
    runsForward: Bool = false, directions: Int = 1,
    _ body: (_ chunk: Chunk, _ lane: Int, _ executor: Executor<S>) -> Void
  ) {
    pool.run(schedule.lanes.count, operations: operations * Double(directions)) { lane, worker in
      for index in schedule.lanes[lane] {
        let chunk = schedule.chunks[index]
        let isKept = chunk.first < keptSamples
        let (place, at) = isKept ? (store, chunk.first) : (spareStores[worker], 0)
        executors[worker].bind(
          first: chunk.first, samples: chunk.count, inputs: inputs, store: place, storeOffset: at)
        if let origin, !isKept {
          let rows = origin.samples[chunk.first..<chunk.first + chunk.count]
          place.take(rows, of: origin.batch.store, program)
        } else if runsForward || !isKept {
          executors[worker].forward()
        }
        body(chunk, lane, executors[worker])
      }
    }
  }

  func reserve(directions: Int, tangents: Bool, cotangents: Bool) {
    for executor in executors {
      executor.reserve(directions: directions, tangents: tangents, cotangents: cotangents)
    }
  }

  /// Where a direction has the numbers of each parameter.
  package func pointers(_ direction: Vector<S>) -> [UnsafePointer<S>?] {
    precondition(
      direction.count == parameterCount,
      "jvp: direction has \(direction.count) entries, expected P = \(parameterCount)")
    return program.offsets.map { $0.map { UnsafePointer(direction.pointer + $0) } }
  }

  private func prepareAccumulators(directions: Int) -> GradientAccumulators<S> {
    if let accumulators, accumulators.directions >= directions {
      accumulators.begin(directions: directions)
      return accumulators
    }
    let made = GradientAccumulators<S>(
      plan: plan, samples: samples, lanes: schedule.lanes.count, directions: directions)
    made.begin(directions: directions)
    accumulators = made
    return made
  }
}
