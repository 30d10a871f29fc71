import GraphModule
import TensorModule

/// The rows of one linear layer over a batch: its inputs `a`, `[N T, in]`, and the gradients `b`
/// w.r.t. its outputs for every draw, `[R, N T, out]`. Read in double, a few rows at a time.
///
/// Row `n T + t` is position t of sample n. Cotangents are stored divided by `scales[d N + n]`. Reduced,
/// there is one row for each sample: the mean of its inputs and the sum of its cotangents.
package struct LayerRows<S: EngineScalar> {
  package let layer: KroneckerPlan.Layer
  /// N T; N where they are reduced.
  package private(set) var count: Int
  package let draws: Int
  private var isReduced = false
  private let inputs: UnsafePointer<S>
  private let cotangents: Vector<S>
  /// Who holds the inputs.
  private let owner: AnyObject

  init(
    layer: KroneckerPlan.Layer, count: Int, draws: Int, inputs: UnsafePointer<S>,
    cotangents: Vector<S>, owner: AnyObject
  ) {
    self.layer = layer
    self.count = count
    self.draws = draws
    self.inputs = inputs
    self.cotangents = cotangents
    self.owner = owner
  }

  /// Columns of the inputs, with the ones of a bias.
  package var inputColumns: Int { layer.linear.inputs + (layer.bias == nil ? 0 : 1) }
  package var outputColumns: Int { layer.linear.outputs }

  /// The same rows, the positions of each sample reduced to one.
  package var reduced: LayerRows {
    if isReduced || layer.linear.positions == 1 { return self }
    var other = self
    other.isReduced = true
    other.count /= layer.linear.positions
    return other
  }

  /// Writes rows of `a`, `[range, in + 1]`: the last column is 1 where a bias trains.
  package func writeInputs(_ range: Range<Int>, to out: UnsafeMutablePointer<Double>) {
    let (columns, width) = (layer.linear.inputs, inputColumns)
    let scale = layer.linear.scale / Double(isReduced ? layer.linear.positions : 1)
    for (place, row) in range.enumerated() {
      let target = out + place * width
      write(inputs, row: row, columns: columns, scale: scale, to: target)
      if width > columns { target[columns] = 1 }
    }
    withExtendedLifetime(owner) {}
  }

  /// Writes rows of `b` of one draw, `[range, out]`, sample n multiplied by `weights[n]`.
  package func writeCotangents(
    draw: Int, _ range: Range<Int>, weights: [Double], to out: UnsafeMutablePointer<Double>
  ) {
    let columns = outputColumns
    for (place, row) in range.enumerated() {
      write(
        cotangents.pointer, row: draw * count + row, columns: columns,
        scale: weights[isReduced ? row : row / layer.linear.positions], to: out + place * columns)
    }
  }

  /// One row, or the sum of a sample's.
  private func write(
    _ rows: UnsafePointer<S>, row: Int, columns: Int, scale: Double,
    to target: UnsafeMutablePointer<Double>
  ) {
    guard isReduced else {
      Kernels.toDouble(rows + row * columns, target, count: columns)
      return Kernels.axpby(0, target, scale, target, count: columns)
    }
    Kernels.zero(target, count: columns)
    withUnsafeTemporaryAllocation(of: Double.self, capacity: columns) { own in
      for t in row * layer.linear.positions..<(row + 1) * layer.linear.positions {
        Kernels.toDouble(rows + t * columns, own.baseAddress!, count: columns)
        Kernels.axpby(scale, own.baseAddress!, 1, target, count: columns)
      }
    }
  }
}

/// How many layers' rows are collected together.
enum LayerGroup {
  /// Unless those of one layer take more.
  static var bytes: Int { 1 << 28 }
}

extension PerSampleGradients {
  /// Calls `body` for every layer of the plan, several at the same time.
  ///
  /// Rows that these gradients are made of are used as they are. Those of the other layers are
  /// collected in backward passes of as many layers as fit into a quarter of a gigabyte, after a
  /// forward pass of its own where the program does not apply every layer to its own rows.
  ///
  /// - Parameter plan: Of the linearization's `layerProgram`.
  /// - Parameter cotangents: Writes each chunk's `[R, n, O C]`, as for these gradients.
  package func forEachLayer(
    _ plan: KroneckerPlan, _ cotangents: (_ chunk: Schedule.Chunk, UnsafeMutablePointer<S>) -> Void,
    _ body: (_ index: Int, _ rows: LayerRows<S>) -> Void
  ) {
    var known: [(Int, LayerRows<S>)] = []
    var missing: [Int] = []
    for (index, layer) in plan.layers.enumerated() {
      if let rows = storedRows(layer) {
        known.append((index, rows))
      } else {
        missing.append(index)
      }
    }
    run(known, body)
    if missing.isEmpty { return }
    let source = linearization.layerwise()
    var bytes = 0
    var group: [Int] = []
    for index in missing {
      let size = source.bytesOfRows(plan.layers[index], draws: draws)
      if !group.isEmpty && bytes + size > LayerGroup.bytes {
        run(source.collectRows(group, plan, draws: draws, cotangents), body)
        (group, bytes) = ([], 0)
      }
      group.append(index)
      bytes += size
    }
    run(source.collectRows(group, plan, draws: draws, cotangents), body)
  }

  private func run(_ rows: [(Int, LayerRows<S>)], _ body: (Int, LayerRows<S>) -> Void) {
    linearization.pool.run(rows.count) { task, _ in body(rows[task].0, rows[task].1) }
  }

  private func storedRows(_ layer: KroneckerPlan.Layer) -> LayerRows<S>? {
    for case .factored(let node, let factors, layer.weight, _, let rows, nil) in entries {
      guard case .dense(let inputs) = linearization.inputRows(node: node, factors) else {
        return nil
      }
      return LayerRows(
        layer: layer, count: samples * factors.positions, draws: draws, inputs: inputs,
        cotangents: rows, owner: linearization)
    }
    return nil
  }

}

extension Linearization {
  fileprivate func bytesOfRows(_ layer: KroneckerPlan.Layer, draws: Int) -> Int {
    let inputs = keepsInputs(layer) ? 0 : layer.linear.inputs
    return samples * layer.linear.positions * (draws * layer.linear.outputs + inputs)
      * MemoryLayout<S>.stride
  }

  /// Whether the rows `a` of all samples are in memory as they are.
  private func keepsInputs(_ layer: KroneckerPlan.Layer) -> Bool {
    guard keptSamples == samples, case .input(let place) = layer.linear.rows else { return false }
    // A value that is computed once has no row for every sample.
    return !program.isConstant[program.graph.nodes[layer.node].inputs[place].index]
  }

  fileprivate func collectRows(
    _ group: [Int], _ plan: KroneckerPlan, draws: Int,
    _ cotangents: (Schedule.Chunk, UnsafeMutablePointer<S>) -> Void
  ) -> [(Int, LayerRows<S>)] {
    var collector = LayerRowCollector<S>(samples: samples)
    for index in group {
      let layer = plan.layers[index]
      let rows = samples * layer.linear.positions
      collector.layers[layer.node] = LayerRowCollector.Target(
        layer: layer.linear, cotangents: Vector(count: draws * rows * layer.linear.outputs),
        inputs: keepsInputs(layer) ? nil : Vector(count: rows * layer.linear.inputs))
    }
    backward(draws: draws, collector, cotangents)
    return group.map { index in
      let layer = plan.layers[index]
      let target = collector.layers[layer.node]!
      return (
        index,
        LayerRows(
          layer: layer, count: samples * layer.linear.positions, draws: draws,
          inputs: target.inputs.map { UnsafePointer($0.pointer) }
            ?? keptRows(layer),
          cotangents: target.cotangents, owner: target.inputs ?? self)
      )
    }
  }

  /// The rows `a` of all samples, `[N T, in]`, as the forward pass has left them.
  private func keptRows(_ layer: KroneckerPlan.Layer) -> UnsafePointer<S> {
    guard case .input(let input) = layer.linear.rows else {
      preconditionFailure("keptRows: the rows of node \(layer.node) are unfolded")
    }
    let value = program.graph.nodes[layer.node].inputs[input].index
    if let kept = store.values[value] { return UnsafePointer(kept.pointer) }
    guard case .real(let vector) = inputs.values[value] else {
      preconditionFailure("keptRows: node \(layer.node) reads indices")
    }
    return UnsafePointer(vector.pointer)
  }
}

/// Copies rows of some layers. Every chunk has its own place: nothing depends on their order.
private struct LayerRowCollector<S: EngineScalar>: GradientCollector {
  struct Target {
    let layer: LinearLayer
    let cotangents: Vector<S>
    /// Where the forward pass does not leave those of all samples.
    let inputs: Vector<S>?
  }

  let samples: Int
  /// By node.
  var layers: [Int: Target] = [:]

  func collect(_ pass: CotangentPass<S>, first: Int) {
    guard let target = layers[pass.nodeIndex] else { return }
    let size = pass.node.size
    for d in 0..<pass.directions {
      Kernels.copy(
        pass.cotangent(direction: d), target.cotangents.pointer + (d * samples + first) * size,
        count: pass.samples * size)
    }
    guard let inputs = target.inputs else { return }
    let width = target.layer.positions * target.layer.inputs
    let rows = inputs.pointer + first * width
    switch target.layer.rows {
    case .input(let input): Kernels.copy(pass.value(input), rows, count: pass.samples * width)
    case .unfolded:
      pass.node.operation.writeRows(pass.value(0), samples: pass.samples, to: rows)
    }
  }
}
