import GraphModule

/// For every node with trainable parameters: how its gradients are formed.
package struct GradientPlan: Sendable {
  package enum Route: Sendable {
    /// Rows of layer inputs and output cotangents are collected and multiplied at the end, in
    /// blocks of the weight: no lane holds a copy of a large weight.
    case factored(Factorization, weight: ParameterID, bias: ParameterID?)
    /// Every chunk adds to an accumulator of its lane; a tied parameter adds all its uses.
    case direct
  }
  package let program: Program
  /// Whether layers may factor, for which the rows of all samples must be at hand at once.
  let factors: Bool
  /// Per node; `nil` where nothing is trainable.
  package let routes: [Route?]
  /// Per parameter: where the directly accumulated ones lie in a lane's accumulator.
  package let accumulatorOffsets: [Int?]
  package let accumulatedCount: Int
  /// Positions per sample of the layer whose products dominate.
  package let rowsPerSample: Int
  /// Whether nearly all work is in linear layers whose weights leave the cache.
  let isWide: Bool

  init(_ program: Program, factors: Bool = true) {
    self.program = program
    self.factors = factors
    let graph = program.graph
    var direct = Set<ParameterID>()
    routes = graph.nodes.enumerated().map { index, node in
      let use = program.uses[index]
      guard use.trainableSlots.contains(true) else { return nil }
      if factors, let route = GradientPlan.factoredRoute(program, node: node, use: use) {
        return route
      }
      for (slot, parameter) in node.parameters.enumerated() where use.trains(slot) {
        direct.insert(parameter)
      }
      return .direct
    }
    var offsets = [Int?](repeating: nil, count: graph.parameters.count)
    var end = 0
    for parameter in program.trainable where direct.contains(parameter) {
      offsets[parameter.index] = end
      end += graph.parameters[parameter.index].count
    }
    accumulatorOffsets = offsets
    accumulatedCount = end
    rowsPerSample = GradientPlan.rowsPerSample(graph)
    let large = graph.nodes.reduce(0) { sum, node in
      guard let layer = node.operation as? Linear, layer.inputs * layer.outputs >= 1 << 20 else {
        return sum
      }
      return sum + layer.operationCount
    }
    isWide = Double(large) >= 0.95 * Double(program.operationCount)
  }

  private static func factoredRoute(
    _ program: Program, node: Node, use: DerivativeUse
  ) -> Route? {
    guard let factors = node.operation.factorization, use.trains(factors.weightSlot) else {
      return nil
    }
    let weight = node.parameters[factors.weightSlot]
    let biasSlot = factors.biasSlot.flatMap { use.trains($0) ? $0 : nil }
    let bias = biasSlot.map { node.parameters[$0] }
    let isTied = ([weight] + (bias.map { [$0] } ?? [])).contains {
      program.useCounts[$0.index] > 1
    }
    // Those of a value that is computed once are not kept for every sample.
    if program.isConstant[node.inputs[0].index] { return nil }
    // Indices that are computed lie with the forward values, chunk by chunk.
    if factors.rows == .oneHot, node.inputs[0].index >= program.graph.inputs.count { return nil }
    // Rows that outweigh the weight are better multiplied where they are. Unfolded ones would
    // have to be kept as well, and explicit per-sample gradients save a product for every sum of
    // them: these may take up to ten times the memory of the output's rows.
    let margin = factors.rows == .unfolded ? 10 : 2
    let isSmaller = margin * factors.positions <= factors.inputs || factors.rows == .oneHot
    guard !isTied, isSmaller || factors.positions == 1 else { return nil }
    return .factored(factors, weight: weight, bias: bias)
  }

  /// Mean of the positions of factoring layers, weighted by their share of the work.
  private static func rowsPerSample(_ graph: Graph) -> Int {
    var work = 0.0
    var rows = 0.0
    for node in graph.nodes {
      guard let factors = node.operation.factorization, factors.rows != .oneHot else { continue }
      let cost = Double(node.operation.operationCount)
      work += cost
      rows += cost / Double(factors.positions)
    }
    // Harmonic mean: the layers with few rows are the ones that suffer from short chunks.
    return rows > 0 ? max(1, Int(work / rows)) : 1
  }
}
