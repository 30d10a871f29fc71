import TensorModule

/// A value of the program: an input or the result of a node, in a shape of one's choice. The shape is
/// that of ONE sample; the engine runs all samples of a chunk at once, so that in memory a value is
/// `[n, size]`.
package struct ValueID: Hashable, Sendable {
  package let index: Int
  /// Where it is not that of the input or of the operation (`GraphBuilder.reshape`).
  fileprivate(set) var shape: [Int]?

  init(index: Int) { self.index = index }
}

package struct ParameterID: Hashable, Sendable {
  package let index: Int

  /// - Parameter index: Of a parameter of the graph.
  package init(index: Int) { self.index = index }
}

/// What the batch must bring.
package struct InputSpec: Sendable {
  package let name: String
  package let shape: [Int]
  package var kind: ValueType.Element
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

  /// As operations see it: rows of a weight are outputs.
  package var shapeOfUse: [Int] { storage == .transposed ? shape.reversed() : shape }

  package enum Storage: Sendable, Equatable {
    /// As in the file.
    case plain
    /// Files have convolution weights as `[out, in, kh, kw]`; here they are `[out, kh, kw, in]`,
    /// the order in which a row of a channels-last image is unfolded.
    case channelsLast
    /// Files have the weight of a linear layer as `[in, out]` (GPT-2's Conv1D); here it is
    /// `[out, in]`.
    case transposed
  }
}

/// One application of an operation.
package final class Node: Sendable {
  package let operation: any Operation
  package let inputs: [ValueID]
  package let parameters: [ParameterID]
  package let output: ValueID
  package let type: ValueType
  /// Where it comes from, for messages: `layers[2] conv2d c1`.
  package let name: String

  init(
    operation: any Operation, inputs: [ValueID], parameters: [ParameterID], output: ValueID,
    type: ValueType, name: String
  ) {
    self.operation = operation
    self.inputs = inputs
    self.parameters = parameters
    self.output = output
    self.type = type
    self.name = name
  }

  /// Scalars in one sample of the output.
  package var size: Int { type.count }
}

/// A program for one sample: a static single-assignment list of nodes. No operation can see
/// another sample, so per-sample gradients are well defined by construction.
package struct Graph: Sendable {
  package let inputs: [InputSpec]
  package let parameters: [ParameterSpec]
  package let nodes: [Node]
  package let output: ValueID
  /// `[C]`, or with positions `[..., C]`.
  package let outputShape: [Int]
  /// Of every value; inputs first, then one per node.
  package let types: [ValueType]
  /// Scalars per sample of every value.
  package let sizes: [Int]

  package var classes: Int { outputShape[outputShape.count - 1] }
  package var positions: Int { outputShape.dropLast().reduce(1, *) }

  /// Found by passes (`Lowering`).
  package internal(set) var tangentFusions: [any TangentFusion] = []
}

/// Builds a graph node by node; names that repeat with the same shape are one shared parameter. A class:
/// builders of models hold it, and a copy of one of them must not copy the graph.
package final class GraphBuilder {
  private var inputs: [InputSpec] = []
  private var parameters: [ParameterSpec] = []
  private var parameterByName: [String: ParameterID] = [:]
  private var nodes: [Node] = []
  private var types: [ValueType] = []
  private var cost = 0
  private var ownNumbers = 0

  /// Of `Operation.ownNumbers`, 512 MB of them: a few lines of a file can ask for any number.
  private static let mostOwnNumbers = 1 << 26
  private let mostNodes: Int

  /// - Parameter mostNodes: A line of a file can ask for any number of them; by default those of some 6,000
  ///   steps of an LSTM.
  package init(mostNodes: Int = 100_000) { self.mostNodes = mostNodes }

  /// A graph of the same inputs and parameters, with their numbers.
  convenience init(inputsAndParametersOf graph: Graph) {
    self.init(mostNodes: .max)
    inputs = graph.inputs
    types = Array(graph.types.prefix(inputs.count))
    parameters = graph.parameters
    for (index, spec) in parameters.enumerated() {
      parameterByName[spec.name] = ParameterID(index: index)
    }
  }

  /// Inputs come before any node.
  package func input(
    _ name: String, shape: [Int], kind: ValueType.Element
  ) throws(GraphError) -> ValueID {
    precondition(nodes.isEmpty, "GraphBuilder: input \(name) after the first node")
    types.append(try atNode(name) { () throws(GraphError) in try ValueType(shape, kind) })
    inputs.append(InputSpec(name: name, shape: shape, kind: kind))
    return ValueID(index: types.count - 1)
  }

  /// As in the file.
  package func shape(of parameter: ParameterID) -> [Int] { parameters[parameter.index].shape }

  package func type(_ value: ValueID) -> ValueType { types[value.index].reshaped(value.shape) }

  /// Whether the batch brings the value.
  package func isInput(_ value: ValueID) -> Bool { value.index < inputs.count }

  /// The same numbers in another shape, in row-major order: no work.
  package func reshape(_ value: ValueID, to shape: [Int]) throws(GraphError) -> ValueID {
    let type = types[value.index]
    guard try ValueType(shape).count == type.count else {
      throw GraphError(.shape(input: 0, found: type.shape, expected: "as many numbers as \(shape)"))
    }
    var view = value
    view.shape = shape == type.shape ? nil : shape
    return view
  }

  /// Tells that a node reads an index input as the rows of a table: the smallest table counts.
  package func limitIndex(_ input: ValueID, below rows: Int) {
    guard case .index(let bound) = types[input.index].element else {
      preconditionFailure("GraphBuilder: input \(inputs[input.index].name) holds no indices")
    }
    types[input.index].element = .index(bound: min(bound, rows))
    inputs[input.index].kind = types[input.index].element
  }

  /// Declares a parameter, or finds the one of that name (tied weights).
  ///
  /// - Throws: An error if it is too large, or the name is taken by a parameter of another shape.
  package func parameter(
    _ name: String, shape: [Int], storage: ParameterSpec.Storage = .plain, isBuffer: Bool = false
  ) throws(GraphError) -> ParameterID {
    if let known = parameterByName[name] {
      let spec = parameters[known.index]
      if spec.shape == shape && spec.storage == storage && spec.isBuffer == isBuffer {
        return known
      }
      throw GraphError(.parameterName(name), node: name)
    }
    _ = try atNode(name) { () throws(GraphError) in try ValueType(shape) }
    let id = ParameterID(index: parameters.count)
    parameters.append(
      ParameterSpec(name: name, shape: shape, storage: storage, isBuffer: isBuffer))
    parameterByName[name] = id
    return id
  }

  /// - Throws: An error with the node's name where the operation does not take what it is given.
  package func apply(
    _ operation: some Operation, to inputs: [ValueID], parameters: [ParameterID] = [],
    name: String
  ) throws(GraphError) -> ValueID {
    var operation = operation
    let operands = Operands(
      inputs: inputs.map(type), parameters: parameters.map { self.parameters[$0.index].shapeOfUse })
    let (type, total) = try atNode(name) { () throws(GraphError) -> (ValueType, Int) in
      var type = try operation.bind(operands)
      type.isShared = operands.inputs.allSatisfy(\.isShared)
      guard let total = checkedSum(cost, operation.operationCount), total <= 1 << 60 else {
        throw GraphError(.size([cost, operation.operationCount]))
      }
      guard nodes.count < mostNodes else {
        throw GraphError(
          .other(
            "the number of operations", found: "above \(mostNodes)",
            expected: "fewer: shorter sequences, or fewer layers"))
      }
      guard ownNumbers + operation.ownNumbers <= Self.mostOwnNumbers else {
        throw GraphError(
          .other(
            "what the layers hold beside parameters",
            found: "\(ownNumbers + operation.ownNumbers) numbers",
            expected: "at most \(Self.mostOwnNumbers)"))
      }
      return (type, total)
    }
    cost = total
    ownNumbers += operation.ownNumbers
    let output = ValueID(index: types.count)
    nodes.append(
      Node(
        operation: operation, inputs: inputs, parameters: parameters, output: output, type: type,
        name: name))
    types.append(type)
    return output
  }

  private func atNode<R>(
    _ name: String, _ body: () throws(GraphError) -> R
  ) throws(GraphError) -> R {
    do throws(GraphError) { return try body() } catch {
      throw GraphError(error.problem, node: name)
    }
  }

  /// - Parameter shape: `[C]`, or with positions `[..., C]`, of as many numbers as the output has.
  package func finish(output: ValueID, shape: [Int]) -> Graph {
    precondition(!shape.isEmpty, "Graph: an output without classes")
    return Graph(
      inputs: inputs, parameters: parameters, nodes: nodes, output: output, outputShape: shape,
      types: types, sizes: types.map(\.count))
  }
}
