import Checkpoints
import GraphModule

/// What inputs of a program's graph are read as, before any of it is built.
struct ProgramRoles {
  /// Values that choose rows of a table or entries of a tensor, through views of them.
  private(set) var indices: Set<String> = []
  /// Running statistics of norms.
  private(set) var statistics: Set<String> = []
  /// Weights that convolutions alone read, by their names in the state_dict.
  private var kernels: Set<String> = []
  private var read: Set<String> = []
  /// The first name of tied weights by every one.
  private var names: [String: String] = [:]

  init(_ program: ExportedProgram) {
    for group in program.tiedWeights { for name in group { names[name] = group[0] } }
    var weightNames: [String: String] = [:]
    for input in program.signature.inputs {
      if let value = input.value, let weight = input.weight {
        weightNames[value] = names[weight.name] ?? weight.name
      }
    }
    var others: Set<String> = []
    for node in program.graph.nodes.reversed() {
      for input in node.inputs {
        for name in input.argument.names {
          read.insert(name)
          guard let weight = weightNames[name] else { continue }
          if Self.readsKernel(node), input.name == "weight" {
            kernels.insert(weight)
          } else {
            others.insert(weight)
          }
        }
        if ["running_mean", "running_var"].contains(input.name) {
          statistics.formUnion(input.argument.names)
        }
      }
      if node.operation.hasPrefix("aten.embedding."), let index = node.input("indices") {
        indices.formUnion(index.names)
      }
      if Self.choosing.contains(node.operation) {
        indices.formUnion((node.input("indices") ?? node.input("index"))?.names ?? [])
      }
      if Self.keeping.contains(node.operation), let source = node.inputs.first?.argument.names,
        node.outputs.flatMap(\.names).contains(where: indices.contains)
      {
        indices.formUnion(source)
      }
    }
    for output in program.graph.outputs { read.formUnion(output.names) }
    kernels.subtract(others)
  }

  func isRead(_ value: String) -> Bool { read.contains(value) }

  func name(of weight: String) -> String { names[weight] ?? weight }

  func storage(of weight: String, _ shape: [Int]) -> ParameterSpec.Storage {
    kernels.contains(name(of: weight)) && (3...5).contains(shape.count) ? .channelsLast : .plain
  }

  /// Operators by indices, other than of embeddings.
  private static let choosing: Set<Substring> = [
    "aten.index.Tensor", "aten.gather.default", "aten.scatter_add.default", "aten.scatter.src",
  ]

  private static func readsKernel(_ node: ExportedProgram.Node) -> Bool {
    let name = node.operation.split(separator: ".").dropFirst().first ?? ""
    return node.operation.hasPrefix("aten.") && kernelReaders.contains(name)
  }

  private static let kernelReaders: Set<Substring> = [
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "convolution",
  ]

  /// Operators whose result has the numbers of their first argument, in the same order.
  private static let keeping: Set<Substring> = [
    "aten.view.default", "aten.reshape.default", "aten.unsqueeze.default", "aten.squeeze.dim",
    "aten.flatten.using_ints", "aten.contiguous.default", "aten.clone.default",
    "aten.alias.default", "aten.detach.default", "aten._to_copy.default", "aten.to.dtype",
    "aten.squeeze.dims", "aten.to.device", "aten.to.dtype_layout", "aten.detach_.default",
    "aten._unsafe_view.default", "aten.lift_fresh_copy.default",
  ]
}
