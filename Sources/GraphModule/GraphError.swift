/// Why an operation cannot be applied to what it was given, and at which node.
package struct GraphError: Error, Equatable, Sendable {
  package enum Problem: Equatable, Sendable {
    /// Dimensions that do not fit; what would, in words.
    case shape(input: Int, found: [Int], expected: String)
    /// Numbers where indices belong, or the reverse.
    case element(input: Int, expected: String)
    /// The product of these is more than a sample, a parameter or a pass can have.
    case size([Int])
    /// A setting, by PyTorch's name for it.
    case option(String, expected: String)
    /// A name that belongs to a parameter of another shape.
    case parameterName(String)
    case other(String, found: String, expected: String)
  }
  /// The node's name, once the builder has seen the error.
  package internal(set) var node: String
  package let problem: Problem

  package init(_ problem: Problem, node: String = "") {
    self.problem = problem
    self.node = node
  }
}

extension GraphError: CustomStringConvertible {
  package var description: String {
    switch problem {
    case .shape(let input, let found, let expected):
      "\(node): input \(input) is \(found), expected \(expected)"
    case .element(let input, let expected):
      "\(node): input \(input) is of another kind, expected \(expected)"
    case .size(let factors):
      "\(node): \(factors.map(String.init).joined(separator: " x ")) are too many numbers"
    case .option(let name, let expected): "\(node): \(name) is wrong, expected \(expected)"
    case .parameterName(let name):
      "\(node): another layer has a parameter \(name) of another shape"
    case .other(let what, let found, let expected):
      "\(node): \(what) is \(found), expected \(expected)"
    }
  }
}
