import TensorModule

/// A convolution whose outputs go through an activation, or none, to a max-pooling and nowhere else.
///
/// Of its tangents only those of the winners are needed, one in four where windows are 2 by 2; the
/// forward pass knows them.
struct PooledConvolution: Sendable {
  let layer: Convolution
  /// Nodes of the graph.
  let convolution: Int
  let activation: Int?
  let pool: Int
  /// Of the convolution's outputs, those that the pooling has.
  let share: Double

  var nodes: [Int] { [convolution, pool] + (activation.map { [$0] } ?? []) }

  /// All of a graph whose weights and images have tangents and which lose half of their outputs or
  /// more: one output alone takes a third longer than one of all.
  static func all(_ graph: Graph, _ uses: [DerivativeUse]) -> [PooledConvolution] {
    var readers = [Int](repeating: 0, count: graph.sizes.count)
    readers[graph.output.index] += 1
    var makers: [Int: Int] = [:]
    for (index, node) in graph.nodes.enumerated() {
      for input in node.inputs { readers[input.index] += 1 }
      makers[node.output.index] = index
    }
    /// The node that makes the input of another one and has no other reader.
    func source(_ node: Int) -> Int? {
      let input = graph.nodes[node].inputs[0].index
      return readers[input] == 1 ? makers[input] : nil
    }
    return graph.nodes.indices.compactMap { pool in
      guard graph.nodes[pool].operation is MaxPool, var convolution = source(pool) else {
        return nil
      }
      var activation: Int?
      if graph.nodes[convolution].operation is Activation {
        activation = convolution
        guard let before = source(convolution) else { return nil }
        convolution = before
      }
      guard let layer = graph.nodes[convolution].operation as? Convolution, layer.hasWholeRows,
        uses[convolution].trains(Convolution.weight), uses[convolution].anyInputActive
      else { return nil }
      let share = Double(graph.nodes[pool].size) / Double(graph.nodes[convolution].size)
      guard share <= 0.5 else { return nil }
      return PooledConvolution(
        layer: layer, convolution: convolution, activation: activation, pool: pool, share: share)
    }
  }

  /// Writes the tangent of the pooling's output.
  func jvp<S: EngineScalar>(_ graph: Graph, _ frame: Frame<S>) {
    let inner = TangentPass(
      frame: frame, node: graph.nodes[convolution], nodeIndex: convolution)
    let outer = TangentPass(frame: frame, node: graph.nodes[pool], nodeIndex: pool)
    let directions = 0..<frame.directions
    DirectConvolution.multiplySelected(
      layer.window, outputs: layer.outputs, images: frame.samples, count: outer.node.size,
      at: outer.savedIndices, inner.value(0),
      by: directions.map { inner.parameterTangent(Convolution.weight, direction: $0)! },
      inner.tangent(0)!, by: inner.parameter(Convolution.weight),
      biases: directions.map {
        layer.hasBias ? inner.parameterTangent(Convolution.bias, direction: $0) : nil
      },
      factor: activation.map { UnsafePointer(frame.saved[$0]!) }, into: outer.output,
      scratch: inner.scratch)
  }
}

extension Program {
  /// Per node the share of its outputs of which single precision needs the tangents, where processors
  /// have wide vectors.
  package var tangentShares: [Double] {
    var shares = [Double](repeating: 1, count: graph.nodes.count)
    for chain in pooledConvolutions { shares[chain.convolution] = chain.share }
    return shares
  }
}
