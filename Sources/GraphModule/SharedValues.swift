import TensorModule

/// The values that all samples share and no trainable parameter moves (masks, position tables,
/// normalised frozen weights), computed once.
package final class SharedValues<S: EngineScalar>: Sendable {
  /// Per value of the graph its one row, `nil` for what every sample has.
  let rows: [Vector<S>?]

  package init(program: Program, parameters: ParameterStore<S>) {
    let graph = program.graph
    rows = graph.sizes.enumerated().map { value, size in
      program.isConstant[value] ? Vector(count: size) : nil
    }
    let nodes = graph.nodes.indices.filter { program.isConstant[graph.nodes[$0].output.index] }
    if nodes.isEmpty { return }
    let frame = Frame(
      sizes: graph.sizes, nodeCount: graph.nodes.count, parameters: parameters,
      maximumDirections: 1)
    let scratch = Vector<S>(
      count: nodes.map { graph.nodes[$0].operation.scratch(samples: 1, directions: 1) }.max() ?? 0)
    frame.scratch = scratch.pointer
    frame.samples = 1
    for (value, row) in rows.enumerated() { frame.values[value] = row?.pointer }
    for index in nodes {
      graph.nodes[index].operation.forward(
        ForwardPass(frame: frame, node: graph.nodes[index], nodeIndex: index, keepsSaved: false))
    }
    withExtendedLifetime(scratch) {}
  }

  /// Scalars that the values take: of all executors together, and of each with the rows of so many
  /// samples.
  package static func counts(_ program: Program, samples: Int) -> (once: Int, perExecutor: Int) {
    let wantsAll = wantsAllRows(program)
    var counts = (once: 0, perExecutor: 0)
    for (value, size) in program.graph.sizes.enumerated() where program.isConstant[value] {
      counts.once += size
      if wantsAll[value] && samples > 1 { counts.perExecutor += samples * size }
    }
    return counts
  }

  /// Per value whether some operation reads a row for every sample.
  private static func wantsAllRows(_ program: Program) -> [Bool] {
    var wantsAll = [Bool](repeating: false, count: program.graph.sizes.count)
    for node in program.graph.nodes where !program.isConstant[node.output.index] {
      for (place, input) in node.inputs.enumerated() where !node.operation.readsOneRow(place) {
        wantsAll[input.index] = true
      }
    }
    return wantsAll
  }

  /// Per value the row, repeated for so many samples where an operation wants to read it so.
  func repeated(_ program: Program, samples: Int) -> [(rows: Vector<S>, isOne: Bool)?] {
    let wantsAll = Self.wantsAllRows(program)
    return rows.enumerated().map { value, row in
      guard let row else { return nil }
      guard wantsAll[value], samples > 1 else { return (row, true) }
      let type = program.graph.types[value]
      let scalar = type.element == .real ? MemoryLayout<S>.stride : MemoryLayout<Int32>.stride
      let copies = Vector<S>(count: samples * row.count)
      for sample in 0..<samples {
        (UnsafeMutableRawPointer(copies.pointer) + sample * type.count * scalar).copyMemory(
          from: row.pointer, byteCount: type.count * scalar)
      }
      return (copies, false)
    }
  }
}
