import Curvature
import GraphModule

extension ParameterRole {
  /// What every parameter of a program is to it.
  ///
  /// - Parameter program: One with every linear layer applied to its own rows.
  static func all(in program: Program) -> [ParameterRole] {
    let plan = KroneckerPlan(program)
    var blocks: [ParameterID: String] = [:]
    for layer in plan.layers {
      for parameter in layer.parameters { blocks[parameter] = "kronecker" }
    }
    for (parameter, exception) in plan.exact { blocks[parameter] = exception.rawValue }
    return program.graph.parameters.enumerated().map { index, spec in
      let status: Status =
        if spec.isBuffer {
          .statistic
        } else if program.offsets[index] == nil {
          .frozen
        } else {
          program.useCounts[index] > 1 ? .tied : .trained
        }
      return ParameterRole(
        name: spec.name, count: spec.count, status: status,
        kroneckerBlock: blocks[ParameterID(index: index)])
    }
  }
}
