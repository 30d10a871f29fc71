import TensorModule

/// A graph with a choice of trainable parameters: who depends on them, what the forward pass has
/// to keep, and where each trainable parameter lies in a direction of length P.
///
/// The tangent of a frozen parameter is zero and is never computed; nothing upstream of the first
/// trainable parameter gets a tangent or a cotangent.
package struct Program: Sendable {
  package let graph: Graph
  /// Trainable parameters in graph order; directions are their concatenation.
  package let trainable: [ParameterID]
  /// Start of every parameter in a direction, `nil` for frozen ones.
  package let offsets: [Int?]
  /// P
  package let parameterCount: Int
  /// Per value: whether it depends on a trainable parameter.
  package let isActive: [Bool]
  /// Per value: whether it is computed once, before any sample: shared, of frozen parameters.
  package let isConstant: [Bool]
  /// Per node.
  package let uses: [DerivativeUse]
  package let needs: [ForwardNeeds]
  /// Per value: whether the forward value is read again by a derivative.
  package let isKept: [Bool]
  /// Per parameter: in how many places it is used.
  package let useCounts: [Int]
  /// Whether every linear layer is applied to its own rows, so that they and the gradients at its
  /// outputs can be read from the passes.
  package let isLayerwise: Bool
  /// As the front end has built it.
  private let source: Graph
  /// Scalars per sample that passes take, of tangents and cotangents for each direction: forward values
  /// that are not kept, tangents, cotangents.
  package private(set) var bufferCounts = (forward: 0, tangents: 0, cotangents: 0)

  /// - Parameter passes: What the graph is rewritten by.
  package init(
    graph source: Graph, passes: [any LoweringPass] = Lowering.passes,
    isTrainable: (ParameterSpec) -> Bool
  ) {
    self.source = source
    var offsets: [Int?] = []
    var trainable: [ParameterID] = []
    var end = 0
    for (index, spec) in source.parameters.enumerated() {
      let trains = !spec.isBuffer && isTrainable(spec)
      offsets.append(trains ? end : nil)
      if trains {
        trainable.append(ParameterID(index: index))
        end += spec.count
      }
    }
    let graph: Graph
    (graph, isLayerwise) = Lowering.run(passes, on: source) { offsets[$0.index] != nil }
    self.graph = graph
    var active = [Bool](repeating: false, count: graph.sizes.count)
    // Of what trainable parameters move, whole numbers too.
    var moved = active
    var kept = active
    var uses: [DerivativeUse] = []
    var needs: [ForwardNeeds] = []
    var useCounts = [Int](repeating: 0, count: graph.parameters.count)
    for node in graph.nodes {
      let use = DerivativeUse(
        activeInputs: node.inputs.map { active[$0.index] },
        trainableSlots: node.parameters.map { offsets[$0.index] != nil })
      let trains = use.trainableSlots.contains(true)
      moved[node.output.index] = trains || node.inputs.contains { moved[$0.index] }
      // Whole numbers have no derivatives.
      let isActive = (use.anyInputActive || trains) && node.type.element == .real
      active[node.output.index] = isActive
      let need = isActive ? node.operation.needs(use) : ForwardNeeds()
      for (input, isNeeded) in zip(node.inputs, need.inputs) where isNeeded {
        kept[input.index] = true
      }
      for parameter in node.parameters { useCounts[parameter.index] += 1 }
      uses.append(use)
      needs.append(need)
    }
    self.offsets = offsets
    self.trainable = trainable
    parameterCount = end
    isActive = active
    // The logits are one row for every sample.
    isConstant = graph.types.indices.map {
      graph.types[$0].isShared && !moved[$0] && $0 != graph.output.index
    }
    self.uses = uses
    self.needs = needs
    isKept = kept
    self.useCounts = useCounts
    bufferCounts = (
      BufferPlan.forward(self).total, BufferPlan.tangents(self).total,
      BufferPlan.cotangents(self).total
    )
  }

  /// The same function with every linear layer applied to its own rows, as K-FAC defines it.
  package var layerwise: Program {
    if isLayerwise { return self }
    let trained = Set(trainable.map { source.parameters[$0.index].name })
    return Program(graph: source, passes: Lowering.passes.filter(\.keepsLayers)) {
      trained.contains($0.name)
    }
  }

  /// The same graph with some of its trainable parameters alone: what is upstream of the first of them has
  /// neither tangents nor cotangents. It reads no forward value that this one does not keep.
  package func restricted(to group: [ParameterID]) -> Program {
    let names = Set(group.map { graph.parameters[$0.index].name })
    // Fusions are of tangents that all parameters have.
    var own = graph
    own.tangentFusions = []
    return Program(graph: own, passes: []) { names.contains($0.name) }
  }

  /// Whether a trainable parameter moves the output.
  package var movesOutput: Bool { isActive[graph.output.index] }

  /// Multiplications and additions of one forward pass of one sample.
  package var operationCount: Int {
    graph.nodes.reduce(0) { $0 + $1.operation.operationCount }
  }

  /// Whether the forward pass leaves the value of every sample for the derivatives.
  func isStored(_ value: Int) -> Bool {
    isKept[value] && value >= graph.inputs.count && !isConstant[value]
  }

  /// Scalars and doubles kept per sample.
  package var keptCount: (scalars: Int, doubles: Int) {
    var scalars = 0
    var doubles = 0
    for (value, size) in graph.sizes.enumerated()
    where isStored(value) { scalars += size }
    for need in needs {
      scalars += need.saved
      doubles += need.savedDoubles
    }
    return (scalars, doubles)
  }
}

/// Where short-lived values lie in a block of memory that is reused: each value has its place
/// from the step that writes it to the last step that reads it. Sizes are per row; a chunk with
/// `rows` rows multiplies all offsets by `rows`.
package struct BufferPlan: Sendable {
  package private(set) var offsets: [Int?]
  package private(set) var total = 0

  struct Interval {
    let value: Int
    let size: Int
    let first: Int
    let last: Int

    func lasting(to step: Int) -> Interval {
      Interval(value: value, size: size, first: first, last: max(last, step))
    }
  }

  init(valueCount: Int, intervals: [Interval]) {
    offsets = Array(repeating: nil, count: valueCount)
    // Those whose values still have their places, in the order of these.
    var placed: [(last: Int, offset: Int, size: Int)] = []
    // 16 scalars: every place starts on a cache line.
    for interval in intervals.sorted(by: { ($0.first, $0.value) < ($1.first, $1.value) }) {
      let size = (interval.size + 15) / 16 * 16
      placed.removeAll { $0.last < interval.first }
      var offset = 0
      var place = 0
      while place < placed.count, offset + size > placed[place].offset {
        offset = max(offset, placed[place].offset + placed[place].size)
        place += 1
      }
      placed.insert((interval.last, offset, size), at: place)
      offsets[interval.value] = offset
      total = max(total, offset + size)
    }
  }

  /// Forward values that are not kept.
  static func forward(_ program: Program) -> BufferPlan {
    plan(program) { value in
      !program.isKept[value] && !program.isConstant[value] && value != program.graph.output.index
    }
  }

  /// Tangents: alive like forward values.
  static func tangents(_ program: Program) -> BufferPlan {
    var intervals = lifetimes(program) { program.isActive[$0] }
    // Where the last of several nodes asks for tangents, it reads what the first reads.
    for fusion in program.graph.tangentFusions {
      let read = Set(program.graph.nodes[fusion.reader].inputs.map(\.index))
      intervals = intervals.map {
        read.contains($0.value) ? $0.lasting(to: fusion.nodes.last ?? $0.last) : $0
      }
    }
    return BufferPlan(valueCount: program.graph.sizes.count, intervals: intervals)
  }

  /// Cotangents: the same intervals walked backwards.
  static func cotangents(_ program: Program) -> BufferPlan {
    let steps = program.graph.nodes.count
    let intervals = lifetimes(program) { program.isActive[$0] }.map {
      Interval(value: $0.value, size: $0.size, first: steps - $0.last, last: steps - $0.first)
    }
    return BufferPlan(valueCount: program.graph.sizes.count, intervals: intervals)
  }

  private static func plan(_ program: Program, _ wanted: (Int) -> Bool) -> BufferPlan {
    BufferPlan(
      valueCount: program.graph.sizes.count, intervals: lifetimes(program, wanted))
  }

  private static func lifetimes(_ program: Program, _ wanted: (Int) -> Bool) -> [Interval] {
    let graph = program.graph
    var last = [Int](repeating: -1, count: graph.sizes.count)
    for (step, node) in graph.nodes.enumerated() {
      last[node.output.index] = step
      for input in node.inputs { last[input.index] = step }
    }
    last[graph.output.index] = graph.nodes.count
    return graph.nodes.enumerated().compactMap { step, node in
      let value = node.output.index
      guard wanted(value) else { return nil }
      return Interval(value: value, size: node.size, first: step, last: last[value])
    }
  }
}
