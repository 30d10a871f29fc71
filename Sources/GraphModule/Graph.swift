import TensorModule

/// A value of the program: an input or the result of a node. Its shape is that of ONE sample; the
/// engine runs all samples of a chunk at once, so that in memory a value is `[n, size]`.
package struct ValueID: Hashable, Sendable {
  package let index: Int
}

package struct ParameterID: Hashable, Sendable {
  package let index: Int

  /// - Parameter index: Of a parameter of the graph.
  package init(index: Int) { self.index = index }
}

/// What the batch must bring.
package struct InputSpec: Sendable {
  package enum Kind: Sendable, Equatable {
    /// Numbers of the engine's precision.
    case real
    /// Whole numbers in `0 ..< bound`, held as `Int32`.
    case index(bound: Int)
  }
  package let name: String
  package let shape: [Int]
  package var kind: Kind
}

/// A tensor of the checkpoint that the program reads.
package struct ParameterSpec: Sendable {
  package let name: String
  /// The shape in the file.
  package let shape: [Int]
  /// How the engine stores it, and its part of every direction.
  package let storage: Storage
  /// Stored statistics: read, never trained.
  package let isBuffer: Bool

  package var count: Int { shape.reduce(1, *) }

  package enum Storage: Sendable, Equatable {
    /// As in the file.
    case plain
    /// Files have convolution weights as `[out, in, kh, kw]`; here they are `[out, kh, kw, in]`,
    /// the order in which a row of a channels-last image is unfolded.
    case channelsLast
  }
}

/// One application of an operation.
package final class Node: Sendable {
  package let operation: any Operation
  package let inputs: [ValueID]
  package let parameters: [ParameterID]
  package let output: ValueID
  /// Scalars in one sample of the output.
  package let size: Int
  /// Where it comes from, for messages: `layers[2] conv2d c1`.
  package let name: String

  init(
    operation: any Operation, inputs: [ValueID], parameters: [ParameterID], output: ValueID,
    size: Int, name: String
  ) {
    self.operation = operation
    self.inputs = inputs
    self.parameters = parameters
    self.output = output
    self.size = size
    self.name = name
  }
}

/// A program for one sample: a static single-assignment list of nodes. No operation can see
/// another sample, so per-sample gradients are well defined by construction.
package struct Graph: Sendable {
  package let inputs: [InputSpec]
  package let parameters: [ParameterSpec]
  package let nodes: [Node]
  package let output: ValueID
  /// `[C]` or `[O, C]`.
  package let outputShape: [Int]
  /// Scalars per sample of every value; inputs first, then one per node.
  package let sizes: [Int]

  package var classes: Int { outputShape[outputShape.count - 1] }
  package var positions: Int { outputShape.dropLast().reduce(1, *) }

  /// Whether every linear layer is applied to its own rows, so that they and the gradients at its
  /// outputs can be read from the passes.
  package var isLayerwise: Bool { !nodes.contains { $0.operation is HeadLinear } }
}

/// Builds a graph node by node; names that repeat with the same shape are one shared parameter.
package struct GraphBuilder {
  private var inputs: [InputSpec] = []
  private var parameters: [ParameterSpec] = []
  private var parameterByName: [String: ParameterID] = [:]
  private var nodes: [Node] = []
  private var sizes: [Int] = []

  package init() {}

  /// Inputs come before any node.
  package mutating func input(_ name: String, shape: [Int], kind: InputSpec.Kind) -> ValueID {
    precondition(nodes.isEmpty, "GraphBuilder: input \(name) after the first node")
    inputs.append(InputSpec(name: name, shape: shape, kind: kind))
    sizes.append(shape.reduce(1, *))
    return ValueID(index: sizes.count - 1)
  }

  /// Tells that a node reads an index input as the rows of a table: the smallest table counts.
  package mutating func limitIndex(_ input: ValueID, below rows: Int) {
    guard case .index(let bound) = inputs[input.index].kind else {
      preconditionFailure("GraphBuilder: input \(inputs[input.index].name) holds no indices")
    }
    inputs[input.index].kind = .index(bound: min(bound, rows))
  }

  /// Declares a parameter, or finds the one of that name (tied weights).
  ///
  /// - Returns: `nil` if the name is taken by a parameter of another shape.
  package mutating func parameter(
    _ name: String, shape: [Int], storage: ParameterSpec.Storage = .plain, isBuffer: Bool = false
  ) -> ParameterID? {
    if let known = parameterByName[name] {
      let spec = parameters[known.index]
      let same = spec.shape == shape && spec.storage == storage && spec.isBuffer == isBuffer
      return same ? known : nil
    }
    let id = ParameterID(index: parameters.count)
    parameters.append(
      ParameterSpec(name: name, shape: shape, storage: storage, isBuffer: isBuffer))
    parameterByName[name] = id
    return id
  }

  package mutating func apply(
    _ operation: any Operation, to inputs: [ValueID], parameters: [ParameterID] = [],
    name: String
  ) -> ValueID {
    let output = ValueID(index: sizes.count)
    let size = operation.outputSize
    for (input, expected) in zip(inputs, operation.inputSizes) {
      precondition(
        sizes[input.index] == expected,
        "\(name): input has \(sizes[input.index]) scalars, expected \(expected)")
    }
    nodes.append(
      Node(
        operation: operation, inputs: inputs, parameters: parameters, output: output, size: size,
        name: name))
    sizes.append(size)
    return output
  }

  package func finish(output: ValueID, shape: [Int]) -> Graph {
    precondition(shape.count == 1 || shape.count == 2, "Graph: output shape \(shape)")
    return Graph(
      inputs: inputs, parameters: parameters, nodes: nodes, output: output, outputShape: shape,
      sizes: sizes)
  }
}
