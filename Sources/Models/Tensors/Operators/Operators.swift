/// What each ATen operator computes, by its name without `torch.ops.`. An operator is one function in one
/// of the tables beside this file.
enum Operators {
  /// - Returns: The results in order; those that nobody reads may be left out at the end.
  typealias Builder =
    @Sendable (inout TensorBuilder, OperatorCall) throws -> [ImportedTensor]

  private static let all: [String: Builder] =
    [
      arithmetic, functions, comparisons, reductions, shapes, joins, creation, products,
      convolutions, pooling, resampling, norms, attention, indexing, scattering, recurrent,
    ].reduce(into: [:]) { $0.merge($1) { first, _ in first } }

  /// An operator that works in place has the meaning of the one that does not; what else reads the
  /// memory, `ProgramMutations` looks at.
  static func builder(_ operation: Substring) -> Builder? {
    all[String(operation)] ?? functional(operation).flatMap { all[$0] }
  }

  /// `aten.relu.default` of `aten.relu_.default`, `nil` for what does not work in place.
  static func functional(_ operation: Substring) -> String? {
    let parts = operation.split(separator: ".")
    guard parts.count == 3, parts[1].hasSuffix("_"), !parts[1].hasPrefix("_") || parts[1].count > 2
    else { return nil }
    return "\(parts[0]).\(parts[1].dropLast()).\(parts[2])"
  }

  /// A table of operators with one result.
  static func single(
    _ table: [String: @Sendable (inout TensorBuilder, OperatorCall) throws -> ImportedTensor]
  ) -> [String: Builder] {
    table.mapValues { build in { builder, call in [try build(&builder, call)] } }
  }
}
