import TensorModule

/// Convolutions whose outputs go through an activation, or none, to a max-pooling and nowhere else. Of
/// their tangents only those of the winners are needed, one in four where windows are 2 by 2; the
/// forward pass knows them.
struct PooledConvolutions: LoweringPass {
  /// Those whose weights and images have tangents and which lose half of their outputs or more: one
  /// output alone takes a third longer than one of all.
  func rewritten(_ graph: Graph, trains: (ParameterID) -> Bool) throws(GraphError) -> Graph? {
    let uses = GraphUses(graph)
    let active = graph.activity(trains)
    var result = graph
    for (pool, node) in graph.nodes.enumerated() where node.operation is MaxPool {
      var source = node.inputs[0]
      var activation: Int?
      if let between = uses.only(source, Activation.self) {
        activation = uses.maker(source)
        source = between.node.inputs[0]
      }
      guard let layer = uses.only(source, Convolution.self), layer.operation.hasWholeRows,
        trains(layer.node.parameters[Convolution.weight]),
        active[layer.node.inputs[0].index], let convolution = uses.maker(source)
      else { continue }
      let share = Double(node.size) / Double(layer.node.size)
      guard share <= 0.5 else { continue }
      result.tangentFusions.append(
        PooledConvolution(
          layer: layer.operation, convolution: convolution, activation: activation, pool: pool,
          share: share))
    }
    return result.tangentFusions.count == graph.tangentFusions.count ? nil : result
  }
}

struct PooledConvolution: TangentFusion {
  let layer: Convolution
  /// Nodes of the graph.
  let convolution: Int
  let activation: Int?
  let pool: Int
  /// Of the convolution's outputs, those that the pooling has.
  let share: Double

  var nodes: [Int] { [convolution] + (activation.map { [$0] } ?? []) + [pool] }
  var reader: Int { convolution }

  func isAvailable<S: EngineScalar>(_: S.Type) -> Bool { DirectConvolution.isAvailable(S.self) }

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
