import TensorModule

/// A convolution whose outputs go through an activation, or none, to a max-pooling and nowhere else.
///
/// Of its tangents only those of the winners are needed, one in four where windows are 2 by 2; the
/// forward pass knows them.
struct PooledConvolution {
  /// Nodes of the graph.
  let convolution: Int
  let activation: Int?
  let pool: Int

  /// All of a program whose weights and images have tangents and which lose half of their outputs or more:
  /// one output alone takes half as long again as one of all.
  static func all(in program: Program) -> [PooledConvolution] {
    let nodes = program.graph.nodes
    var readers = [Int](repeating: 0, count: program.graph.sizes.count)
    readers[program.graph.output.index] += 1
    var makers: [Int: Int] = [:]
    for (index, node) in nodes.enumerated() {
      for input in node.inputs { readers[input.index] += 1 }
      makers[node.output.index] = index
    }
    /// The node that makes the input of another one and has no other reader.
    func source(_ node: Int) -> Int? {
      let input = nodes[node].inputs[0].index
      return readers[input] == 1 ? makers[input] : nil
    }
    return nodes.indices.compactMap { pool in
      guard nodes[pool].operation is MaxPool, var convolution = source(pool) else { return nil }
      var activation: Int?
      if nodes[convolution].operation is Activation {
        activation = convolution
        guard let before = source(convolution) else { return nil }
        convolution = before
      }
      let use = program.uses[convolution]
      guard nodes[convolution].operation is Convolution, use.trains(Convolution.weight),
        use.anyInputActive, 2 * nodes[pool].size <= nodes[convolution].size
      else { return nil }
      return PooledConvolution(convolution: convolution, activation: activation, pool: pool)
    }
  }

  /// Whether the tangents are formed this way.
  func isSelected<S: EngineScalar>(_ program: Program, _: S.Type) -> Bool {
    operation(program).canSelect(S.self)
  }

  /// Per node of a program the share of its outputs of which single precision needs the tangents, where
  /// processors have wide vectors.
  static func shares(_ program: Program) -> [Double] {
    var shares = [Double](repeating: 1, count: program.graph.nodes.count)
    for chain in all(in: program) where chain.operation(program).hasWholeRows {
      let nodes = program.graph.nodes
      shares[chain.convolution] =
        Double(nodes[chain.pool].size) / Double(nodes[chain.convolution].size)
    }
    return shares
  }

  private func operation(_ program: Program) -> Convolution {
    program.graph.nodes[convolution].operation as! Convolution
  }

  /// Writes the tangent of the pooling's output.
  func jvp<S: EngineScalar>(_ program: Program, _ frame: Frame<S>) {
    let nodes = program.graph.nodes
    let layer = operation(program)
    let inner = TangentPass(frame: frame, node: nodes[convolution], nodeIndex: convolution)
    let outer = TangentPass(frame: frame, node: nodes[pool], nodeIndex: pool)
    DirectConvolution.multiplySelected(
      layer.window, outputs: layer.outputs, images: frame.samples, count: nodes[pool].size,
      at: outer.savedIndices, inner.value(0),
      by: (0..<frame.directions).map {
        inner.parameterTangent(Convolution.weight, direction: $0)!
      },
      inner.tangent(0)!, by: inner.parameter(Convolution.weight),
      biases: (0..<frame.directions).map {
        layer.hasBias ? inner.parameterTangent(Convolution.bias, direction: $0) : nil
      },
      factor: activation.map { UnsafePointer(frame.saved[$0]!) }, into: outer.output,
      scratch: inner.scratch)
  }
}

extension Program {
  /// See `PooledConvolution.shares`.
  package var tangentShares: [Double] { PooledConvolution.shares(self) }
}
