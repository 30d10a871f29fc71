import TensorModule

/// What a value of the graph is: the shape of ONE sample, what its entries are, and whether every
/// sample has a value of its own.
package struct ValueType: Sendable, Equatable {
  package enum Element: Sendable, Equatable {
    /// Numbers of the engine's precision.
    case real
    /// Whole numbers in `0 ..< bound`, held as `Int32`.
    case index(bound: Int)
    /// 0 or 1, held as `Int32`.
    case boolean

    /// What whole numbers are below.
    package var bound: Int? {
      switch self {
      case .real: nil
      case .index(let bound): bound
      case .boolean: 2
      }
    }
  }
  package private(set) var shape: [Int]
  package internal(set) var element: Element
  /// Made of parameters and constants alone: the same for all samples.
  package internal(set) var isShared: Bool
  /// Scalars of one sample.
  package let count: Int

  /// - Throws: An error unless there are few enough numbers for 32-bit indices, and at least one.
  package init(
    _ shape: [Int], _ element: Element = .real, isShared: Bool = false
  ) throws(GraphError) {
    guard let count = checkedProduct(shape, atMost: Int(Int32.max)), count > 0 else {
      throw GraphError(.size(shape))
    }
    self.shape = shape
    self.element = element
    self.isShared = isShared
    self.count = count
  }

  /// In a shape of the same count, which `GraphBuilder.reshape` has looked at.
  func reshaped(_ shape: [Int]?) -> ValueType {
    var type = self
    if let shape { type.shape = shape }
    return type
  }
}

/// What an operation is applied to. All that is asked here of a description that somebody wrote is
/// answered by a value or an error.
package struct Operands {
  package let inputs: [ValueType]
  /// Shapes as in the file.
  package let parameters: [[Int]]

  /// - Throws: An error unless there are as many of both as one of these says.
  package func require(inputs: ClosedRange<Int>, parameters: ClosedRange<Int>) throws(GraphError) {
    for (what, found, expected) in [
      ("inputs", self.inputs.count, inputs), ("parameters", self.parameters.count, parameters),
    ] where !expected.contains(found) {
      throw GraphError(
        .other("the number of \(what)", found: "\(found)", expected: "\(expected)"))
    }
  }

  /// An input of numbers.
  package func real(_ input: Int) throws(GraphError) -> ValueType {
    guard inputs[input].element == .real else {
      throw GraphError(.element(input: input, expected: "numbers that have derivatives"))
    }
    return inputs[input]
  }

  /// An input of whole numbers or of booleans.
  package func whole(_ input: Int) throws(GraphError) -> ValueType {
    guard inputs[input].element != .real else {
      throw GraphError(.element(input: input, expected: "whole numbers or booleans"))
    }
    return inputs[input]
  }

  package func mismatch(_ input: Int, _ expected: String) -> GraphError {
    GraphError(.shape(input: input, found: inputs[input].shape, expected: expected))
  }

  /// - Throws: An error unless the parameter has this shape.
  package func requireParameter(_ slot: Int, _ shape: [Int]) throws(GraphError) {
    if parameters[slot] == shape { return }
    throw GraphError(
      .other("parameter \(slot)", found: "\(parameters[slot])", expected: "\(shape)"))
  }

  /// Rows and columns, or what they are called, of a parameter of this rank.
  package func parameter(_ slot: Int, rank: Int) throws(GraphError) -> [Int] {
    if parameters[slot].count == rank { return parameters[slot] }
    throw GraphError(
      .other(
        "parameter \(slot)", found: "\(parameters[slot])", expected: "\(rank) dimensions"))
  }

  /// Whether there is a bias in this slot.
  ///
  /// - Throws: An error unless it has a number for each output.
  func hasBias(_ slot: Int, outputs: Int) throws(GraphError) -> Bool {
    guard parameters.indices.contains(slot) else { return false }
    try requireParameter(slot, [outputs])
    return true
  }
}

/// A product that costs and sizes are made of.
///
/// - Throws: An error beyond 2^53, which no run comes to the end of.
package func checkedCost(_ factors: Int...) throws(GraphError) -> Int {
  try checkedCost(factors)
}

package func checkedCost(_ factors: [Int]) throws(GraphError) -> Int {
  guard let cost = checkedProduct(factors, atMost: 1 << 53) else {
    throw GraphError(.size(factors))
  }
  return cost
}
