import Checkpoints
import Curvature
import Foundation
import GraphModule
import TensorModule

/// Directions that users bring: one tensor for every trainable parameter.
package struct StoredUpdate: Sendable {
  package let name: String
  package let tensors: [String: StoredTensor]
  package let path: String
  /// What precedes the parameters' names in the file.
  package let prefix: String

  /// All updates of a checkpoint, by name.
  package static func all(in file: CheckpointFile) -> [StoredUpdate] {
    file.updates.sorted { $0.key < $1.key }.map {
      StoredUpdate(name: $0.key, tensors: $0.value, path: file.path, prefix: "updates.\($0.key).")
    }
  }

  /// The update of a file of its own, named after the file.
  package static func open(_ path: String) throws(CheckpointError) -> StoredUpdate {
    let archive = try TensorArchive.open(path)
    let name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
    return StoredUpdate(name: name, tensors: archive.tensors, path: path, prefix: "")
  }

  /// There is one tensor for every trainable parameter, with its shape, and no other.
  package func check(_ program: Program) throws(CheckpointError) {
    let specs = program.trainable.map { program.graph.parameters[$0.index] }
    let names = Set(specs.map(\.name))
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) where !names.contains(name) {
      throw CheckpointError(
        .unexpectedTensor(near: nearMisses(name, among: names)), at: tensor.location,
        hint: "An update has one tensor for every trainable parameter.")
    }
    for spec in specs {
      guard let tensor = tensors[spec.name] else {
        throw CheckpointError(
          .missingTensor(prefix + spec.name, near: nearMisses(spec.name, among: tensors.keys)),
          at: .init(file: path))
      }
      try tensor.requireShape(spec.shape)
      try tensor.requireFloatingPoint()
    }
  }

  /// The direction in the engine's order, with a scale that keeps it in range.
  package func direction<S: EngineScalar>(
    _ program: Program, _: S.Type
  ) throws(CheckpointError) -> ScaledVector<S> {
    try check(program)
    let exact = Vector<Double>(count: program.parameterCount)
    for parameter in program.trainable {
      let spec = program.graph.parameters[parameter.index]
      let values = try tensors[spec.name]!.finiteVector(of: Double.self, spec)
      let target = exact.pointer + program.offsets[parameter.index]!
      Kernels.copy(values.pointer, target, count: values.count)
    }
    return ScaledVector(rounding: exact)
  }
}
