import GraphModule

/// What counts as one block of a block-diagonal matrix.
enum BlockPartition: Sendable {
  /// Each parameter tensor.
  case tensors
  /// Each module: the weight and the bias of a layer together (`Program.modules`).
  case modules

  func groups(_ program: Program) -> [[ParameterID]] {
    switch self {
    case .tensors: program.trainable.map { [$0] }
    case .modules: program.modules.map(\.parameters)
    }
  }

  var needs: MethodNeeds.GramMatrices {
    switch self {
    case .tensors: .tensors
    case .modules: .modules
    }
  }
}

extension Program {
  /// Entries of all tensors of a group.
  package func count(of group: [ParameterID]) -> Int {
    group.reduce(0) { $0 + graph.parameters[$1.index].count }
  }
}
