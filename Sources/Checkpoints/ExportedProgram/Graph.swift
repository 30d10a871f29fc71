extension ExportedProgram {
  /// Nodes in an order in which each uses only what is before it.
  package struct Graph: Equatable, Sendable {
    /// Names of values that are given, or constants in their place.
    package var inputs: [Argument]
    package var outputs: [Argument]
    package var nodes: [Node]
    /// The types of all tensors by name.
    package var tensors: [String: TensorType]
    /// Integers, real numbers and truth values that sizes decide, by name.
    package var integers: [String: SymbolicValue]
    package var reals: [String: SymbolicValue]
    package var bools: [String: SymbolicValue]
  }

  package struct Node: Equatable, Sendable {
    package var name: String
    /// `torch.ops.aten.linear.default`, `_operator.add`, `torch.ops.higher_order.cond`.
    package var target: String
    /// Those that are given: arguments of the operator with their defaults may be missing.
    package var inputs: [NamedArgument]
    /// The results in order; a list of tensors is one result.
    package var outputs: [Argument]
    package var source: Source
    /// Of an operator that takes graphs: whether its result is one tensor, not a tuple.
    package var returnsSingleTensor: Bool?

    /// The input of this name.
    package func input(_ name: String) -> Argument? { inputs.first { $0.name == name }?.argument }

    /// `aten.linear.default` of `torch.ops.aten.linear.default`; other targets as they are.
    package var operation: Substring {
      target.hasPrefix("torch.ops.") ? target.dropFirst("torch.ops.".count) : target[...]
    }
  }

  package struct NamedArgument: Equatable, Sendable {
    /// Of the operator's schema; operators that take graphs have none for positions.
    package var name: String
    package var argument: Argument
    package var isKeyword: Bool
  }

  /// What is known of a tensor before there is one.
  package struct TensorType: Equatable, Sendable {
    package var dtype: ScalarType
    package var sizes: [SymbolicValue]
    /// In elements.
    package var strides: [SymbolicValue]
    /// In elements.
    package var storageOffset: SymbolicValue
    package var requiresGradient: Bool
    package var device: Device
    package var layout: Layout
  }

  /// A number that may depend on sizes of the inputs.
  package struct SymbolicValue: Equatable, Sendable {
    package var expression: SymbolicExpression
    /// Its value for the example inputs of the export.
    package var example: Int?
  }

  package struct Device: Equatable, Sendable {
    /// `cpu`, `cuda`
    package var type: String
    package var index: Int?
  }
}
