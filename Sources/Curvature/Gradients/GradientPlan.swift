import GraphModule

/// For every node with trainable parameters: how its gradients are formed.
package struct GradientPlan: Sendable {
  package enum Route: Sendable {
    /// Rows of layer inputs and output cotangents are collected and multiplied at the end, in
    /// blocks of the weight: no lane holds a copy of a large weight.
    case factored(Factorization, weight: ParameterID, bias: ParameterID?)
    /// Likewise of a table that is the weight of a factored layer too: to that its rows are added.
    case table(Factorization, weight: ParameterID)
    /// Every chunk adds to an accumulator of its lane; a tied parameter adds all its uses.
    case direct
  }
  /// A table that is a layer's weight too, as the embeddings that a language model's head is tied to.
  package struct Table: Sendable {
    package let node: Int
    package let factors: Factorization
  }
  package let program: Program
  /// Per node of a layer the table that its weight is too.
  package let tables: [Int: Table]
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
    let tables = factors ? GradientPlan.tables(program) : [:]
    self.tables = tables
    routes = graph.nodes.enumerated().map { index, node in
      let use = program.uses[index]
      guard use.trainableSlots.contains(true) else { return nil }
      if let layer = tables[index] {
        return .factored(
          node.operation.factorization!, weight: layer.weight(program), bias: nil)
      }
      if let table = tables.values.first(where: { $0.node == index }) {
        return .table(table.factors, weight: table.weight(program))
      }
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

  /// Weights that one layer and one table have, and nobody else: by the layer's node.
  private static func tables(_ program: Program) -> [Int: Table] {
    let nodes = program.graph.nodes
    var users: [ParameterID: [Int]] = [:]
    for (index, node) in nodes.enumerated() {
      guard let factors = node.operation.factorization,
        program.uses[index].trains(factors.weightSlot)
      else { continue }
      let weight = node.parameters[factors.weightSlot]
      if program.useCounts[weight.index] == 2 { users[weight, default: []].append(index) }
    }
    var tables: [Int: Table] = [:]
    for nodesOfWeight in users.values where nodesOfWeight.count == 2 {
      guard
        let table = nodesOfWeight.first(where: { readsGivenIndices(program, nodes[$0]) }),
        let layer = nodesOfWeight.first(where: { $0 != table }),
        let factors = nodes[layer].operation.factorization, factors.rows == .input,
        isSmaller(factors), !program.isConstant[nodes[layer].inputs[0].index],
        !(factors.biasSlot.map { program.uses[layer].trains($0) } ?? false)
      else { continue }
      tables[layer] = Table(node: table, factors: nodes[table].operation.factorization!)
    }
    return tables
  }

  /// A table whose indices are there for all samples: those that are computed lie with the forward
  /// values, chunk by chunk.
  private static func readsGivenIndices(_ program: Program, _ node: Node) -> Bool {
    node.operation.factorization?.rows == .oneHot
      && node.inputs[0].index < program.graph.inputs.count
  }

  /// Whether rows take less than the weight. Rows that outweigh it are better multiplied where they are.
  /// Unfolded ones would have to be kept as well, and explicit per-sample gradients save a product for
  /// every sum of them: these may take up to ten times the memory of the output's rows.
  private static func isSmaller(_ factors: Factorization) -> Bool {
    let margin = factors.rows == .unfolded ? 10 : 2
    return margin * factors.positions <= factors.inputs || factors.rows == .oneHot
      || factors.positions == 1
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
    if factors.rows == .oneHot, !readsGivenIndices(program, node) { return nil }
    guard !isTied, isSmaller(factors) else { return nil }
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

extension GradientPlan.Table {
  func weight(_ program: Program) -> ParameterID {
    program.graph.nodes[node].parameters[factors.weightSlot]
  }
}
