import TensorModule

/// One batch as the program reads it: per input `[N, size]`, indices as `Int32`.
package struct BatchInputs<S: EngineScalar>: Sendable {
  package enum Values: Sendable {
    case real(Vector<S>)
    case index(IndexVector)
  }
  package let samples: Int
  package let values: [Values]

  package init(samples: Int, values: [Values]) {
    self.samples = samples
    self.values = values
  }

  func pointer(_ input: Int, offset: Int) -> UnsafeMutablePointer<S> {
    switch values[input] {
    case .real(let vector): return vector.pointer + offset
    case .index(let indices):
      return UnsafeMutableRawPointer(indices.pointer + offset).assumingMemoryBound(to: S.self)
    }
  }
}

/// What a forward pass leaves behind for the derivatives, for a number of samples.
package final class ForwardStore<S: EngineScalar>: Sendable {
  package let samples: Int
  /// `[samples, size]` per value; `nil` where nothing is kept. The logits are always kept.
  package let values: [Vector<S>?]
  package let saved: [Vector<S>?]
  package let savedDoubles: [Vector<Double>?]

  package init(program: Program, samples: Int) {
    self.samples = samples
    let graph = program.graph
    values = graph.sizes.enumerated().map { value, size in
      Self.isStored(value, program) ? Vector(count: samples * size) : nil
    }
    saved = program.needs.map { $0.saved > 0 ? Vector(count: samples * $0.saved) : nil }
    savedDoubles = program.needs.map {
      $0.savedDoubles > 0 ? Vector(count: samples * $0.savedDoubles) : nil
    }
  }
}

extension ForwardStore {
  package static func bytesPerSample(_ program: Program) -> Int {
    let kept = program.keptCount
    let logits = program.graph.outputShape.reduce(1, *)
    return (kept.scalars + logits) * MemoryLayout<S>.stride
      + kept.doubles * MemoryLayout<Double>.stride
  }

  /// What the store of so many samples takes.
  package static func bytes(_ program: Program, samples: Int) -> ByteCount {
    func vector<T>(_ size: Int, _: T.Type) -> ByteCount {
      ByteCount(vector: ByteCount(samples) * ByteCount(size), of: T.self)
    }
    return program.graph.sizes.indices.filter { isStored($0, program) }.total {
      vector(program.graph.sizes[$0], S.self)
    }
      + program.needs.total { vector($0.saved, S.self) + vector($0.savedDoubles, Double.self) }
  }

  private static func isStored(_ value: Int, _ program: Program) -> Bool {
    program.isStored(value) || value == program.graph.output.index && keepsLogits(program)
  }

  /// Whether the logits are among the values: they are, unless they are an input.
  package static func keepsLogits(_ program: Program) -> Bool {
    program.graph.output.index >= program.graph.inputs.count
  }
}

/// What `vjp` does with the parameters of a node once the cotangent of its output is complete.
package protocol GradientCollector<S> {
  associatedtype S: EngineScalar
  /// - Parameter first: The first sample of the chunk, counted in the batch.
  func collect(_ pass: CotangentPass<S>, first: Int)
}

/// What directions that are not given as numbers bring to the tangent of a node's output.
package protocol TangentSource<S> {
  associatedtype S: EngineScalar
  /// Adds it to the output, which holds what the inputs and the other parameters bring.
  ///
  /// - Parameter first: The first sample of the chunk, counted in the batch.
  func addTangents(_ pass: TangentPass<S>, first: Int)
}

/// What passes over one chunk compute in: as much as the largest of them has taken. Executors whose passes
/// do not run at the same time may share it.
package final class PassMemory<S: EngineScalar> {
  fileprivate var forward = Vector<S>(count: 0)
  /// Of tangents, or of cotangents in a pass that has no tangents.
  fileprivate var derivatives = Vector<S>(count: 0)
  /// Of cotangents beside tangents.
  fileprivate var cotangents = Vector<S>(count: 0)
  fileprivate var scratch = Vector<S>(count: 0)

  package init() {}

  /// Called before every pass: a key path in place of the reference would be looked up each time, at some
  /// per cent of the time of a small batch.
  fileprivate static func grow(_ part: inout Vector<S>, to count: Int) {
    if part.count >= count { return }
    part = Vector(count: 0)  // Not both at once.
    part = Vector(count: count)
  }
}

/// Runs the program's passes over one chunk of samples at a time: one executor per worker thread.
package final class Executor<S: EngineScalar> {
  private let program: Program
  private let maximumSamples: Int
  private let forwardPlan: BufferPlan
  private let tangentPlan: BufferPlan
  private let cotangentPlan: BufferPlan
  private let parameters: ParameterStore<S>
  private let pool: WorkerPool?
  /// Rows of values that are computed once.
  private let shared: [(rows: Vector<S>, isOne: Bool)?]
  /// By each of their nodes.
  private let fusions: [Int: any TangentFusion]
  private let pages: WeightPages?
  private var maximumDirections = 0
  /// Whether the next cotangents are beside tangents.
  private var hasBoth = false
  private var frame: Frame<S>!
  package let memory: PassMemory<S>
  private var first = 0

  /// - Parameters:
  ///   - shared: Values that are computed once, where others have them too.
  ///   - pool: Shares the work inside of operations, where this is the only executor.
  package init(
    program: Program, parameters: ParameterStore<S>, maximumSamples: Int,
    shared: SharedValues<S>? = nil, pool: WorkerPool? = nil, memory: PassMemory<S> = PassMemory()
  ) {
    self.program = program
    self.memory = memory
    self.shared = (shared ?? SharedValues(program: program, parameters: parameters)).repeated(
      program, samples: maximumSamples)
    self.pool = pool
    self.parameters = parameters
    self.maximumSamples = maximumSamples
    var fusions: [Int: any TangentFusion] = [:]
    for fusion in program.graph.tangentFusions where fusion.isAvailable(S.self) {
      for node in fusion.nodes { fusions[node] = fusion }
    }
    self.fusions = fusions
    pages = parameters.releasesPages ? WeightPages(program, parameters) : nil
    forwardPlan = .forward(program)
    tangentPlan = .tangents(program)
    cotangentPlan = .cotangents(program)
  }

  /// Makes room for the next pass, with R directions at once; memory is kept for later calls.
  package func reserve(directions: Int, tangents: Bool, cotangents: Bool) {
    if directions > maximumDirections {
      maximumDirections = directions
      let graph = program.graph
      frame = Frame(
        sizes: graph.sizes, nodeCount: graph.nodes.count,
        parameters: parameters, maximumDirections: directions)
      for (value, row) in shared.enumerated() { frame.isOneRow[value] = row?.isOne ?? false }
      let scratchCount = graph.nodes.reduce(0) {
        max($0, $1.operation.scratch(samples: maximumSamples, directions: directions))
      }
      PassMemory.grow(&memory.scratch, to: scratchCount)
      frame.pool = pool
    }
    let rows = maximumSamples * directions
    hasBoth = tangents && cotangents
    if tangents { PassMemory.grow(&memory.derivatives, to: tangentPlan.total * rows) }
    if hasBoth {
      PassMemory.grow(&memory.cotangents, to: cotangentPlan.total * rows)
    } else if cotangents {
      PassMemory.grow(&memory.derivatives, to: cotangentPlan.total * rows)
    }
  }

  /// Points the frame at `samples` samples, which begin at `first` in the batch and at
  /// `storeOffset` in the store.
  package func bind(
    first: Int, samples: Int, inputs: BatchInputs<S>, store: ForwardStore<S>, storeOffset: Int
  ) {
    precondition(samples <= maximumSamples, "Executor: \(samples) samples > \(maximumSamples)")
    if frame == nil { reserve(directions: 1, tangents: false, cotangents: false) }
    let graph = program.graph
    self.first = first
    frame.samples = samples
    frame.scratch = memory.scratch.pointer
    for value in graph.sizes.indices {
      if value < graph.inputs.count {
        frame.values[value] = inputs.pointer(value, offset: first * graph.sizes[value])
      } else if let row = shared[value] {
        frame.values[value] = row.rows.pointer
      } else {
        frame.values[value] = store.values[value].map {
          Self.place(
            storeOffset * graph.sizes[value], in: $0,
            areIndices: graph.types[value].element != .real)
        }
      }
    }
    // A store may have more than this program reads.
    for (node, need) in program.needs.enumerated() {
      frame.saved[node] =
        need.saved > 0
        ? Self.place(
          storeOffset * need.saved, in: store.saved[node]!, areIndices: need.savesIndices) : nil
      frame.savedDoubles[node] =
        need.savedDoubles > 0
        ? store.savedDoubles[node]!.pointer + storeOffset * need.savedDoubles : nil
    }
  }

  /// Whole numbers lie side by side, however wide the places of scalars are.
  private static func place(
    _ offset: Int, in kept: Vector<S>, areIndices: Bool
  ) -> UnsafeMutablePointer<S> {
    if !areIndices { return kept.pointer + offset }
    return (UnsafeMutableRawPointer(kept.pointer) + offset * MemoryLayout<Int32>.stride)
      .assumingMemoryBound(to: S.self)
  }

  /// Values of every node of the bound chunk.
  package func forward() {
    PassMemory.grow(&memory.forward, to: forwardPlan.total * maximumSamples)
    pages?.begin(.forward)
    for (index, node) in program.graph.nodes.enumerated()
    where shared[node.output.index] == nil {
      if let offset = forwardPlan.offsets[node.output.index] {
        frame.values[node.output.index] = memory.forward.pointer + offset * frame.samples
      }
      let need = program.needs[index]
      pages?.enter(index, .forward)
      node.operation.forward(
        ForwardPass(
          frame: frame, node: node, nodeIndex: index,
          keepsSaved: need.saved > 0 || need.savedDoubles > 0))
      pages?.leave(index)
    }
  }

  /// J v for R directions.
  ///
  /// - Parameters:
  ///   - directions: Of each the numbers per parameter of the graph, `nil` where it has none.
  ///   - source: What answers for parameters that are left out.
  /// - Returns: Tangents of the logits, `[R, n, O C]`, valid until the next `jvp`.
  package func jvp(
    _ directions: [[UnsafePointer<S>?]], adding source: (any TangentSource<S>)? = nil
  ) -> UnsafeMutablePointer<S> {
    let rows = frame.samples * directions.count
    frame.directions = directions.count
    for (r, pointers) in directions.enumerated() {
      let row = frame.parameterTangents + r * pointers.count
      for (index, pointer) in pointers.enumerated() { row[index] = pointer }
    }
    for value in program.graph.sizes.indices {
      frame.tangents[value] = tangentPlan.offsets[value].map {
        memory.derivatives.pointer + $0 * rows
      }
    }
    pages?.begin(.tangents)
    for (index, node) in program.graph.nodes.enumerated()
    where program.isActive[node.output.index] {
      // A source may have something to add on the way.
      if source == nil, let fusion = fusions[index] {
        if index == fusion.nodes.last { fusion.jvp(program.graph, frame) }
        continue
      }
      let pass = TangentPass(frame: frame, node: node, nodeIndex: index)
      pages?.enter(index, .tangents)
      node.operation.jvp(pass)
      pages?.leave(index)
      source?.addTangents(pass, first: first)
    }
    return frame.tangents[program.graph.output.index]!
  }

  /// Where the cotangents of the logits go before `vjp`, `[R, n, O C]`.
  package func logitCotangents(directions: Int) -> UnsafeMutablePointer<S> {
    frame.directions = directions
    let rows = frame.samples * directions
    let memory = hasBoth ? memory.cotangents : memory.derivatives
    for value in program.graph.sizes.indices {
      frame.cotangents[value] = cotangentPlan.offsets[value].map { memory.pointer + $0 * rows }
      frame.cotangentWritten[value] = false
    }
    return frame.cotangents[program.graph.output.index]!
  }

  /// J^T w for the cotangents that were written to `logitCotangents`: hands every node with
  /// trainable parameters to the collector.
  package func vjp(_ collector: some GradientCollector<S>) {
    frame.cotangentWritten[program.graph.output.index] = true
    pages?.begin(.cotangents)
    for index in program.graph.nodes.indices.reversed() {
      let node = program.graph.nodes[index]
      // A value that nobody reads has no cotangent.
      guard program.isActive[node.output.index], frame.cotangentWritten[node.output.index] else {
        continue
      }
      let pass = CotangentPass(frame: frame, node: node, nodeIndex: index)
      if program.uses[index].trainableSlots.contains(true) { collector.collect(pass, first: first) }
      pages?.enter(index, .cotangents)
      node.operation.vjp(pass)
      pages?.leave(index)
      for input in node.inputs { frame.cotangentWritten[input.index] = true }
    }
  }

  /// The logits of the bound chunk, `[n, O C]`.
  package var logits: UnsafePointer<S> {
    UnsafePointer(frame.values[program.graph.output.index]!)
  }
}
