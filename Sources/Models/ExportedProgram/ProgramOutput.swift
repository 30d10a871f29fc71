import Checkpoints
import GraphModule

/// The output of a program that is scored: the tensor named `logits`, or the first of numbers.
struct ProgramOutput {
  private let tensor: ImportedTensor
  private let name: String

  init(_ importer: ProgramImporter, _ values: [String: ImportedTensor]) throws {
    var found: [(name: String, tensor: ImportedTensor)] = []
    for output in importer.program.userOutputs {
      guard case .tensor(let value) = output.argument, let tensor = values[value],
        tensor.kind == .real
      else { continue }
      found.append((output.path.last ?? "", tensor))
    }
    guard let first = found.first else {
      throw importer.failure("none of its outputs is a tensor of numbers")
    }
    (name, tensor) = found.first { $0.name == "logits" } ?? first
  }

  func finish(_ importer: inout ProgramImporter, _ reading: OutputReading) throws -> Graph {
    guard let batch = tensor.batch, batch == .init(axis: 0) else {
      throw importer.failure(
        "its output \(name) has no dimension of samples in front",
        hint: "Export a network that returns [samples, classes], or with positions.")
    }
    let own = Array(tensor.sizes.dropFirst())
    let axis = try classAxis(own, reading, importer)
    var result = tensor
    if let axis, axis != own.count - 1 {
      var order = Array(0...own.count)
      order.remove(at: axis + 1)
      importer.classAxis = axis
      result = importer.builder.permuted(tensor, order + [axis + 1])
    }
    let shape = own.isEmpty ? [1] : Array(result.sizes.dropFirst())
    let numbers = try importer.builder.canonical(importer.builder.real(result))
    let id = try importer.builder.reshaped(numbers, to: shape)
    if importer.builder.graph.type(id).isShared {
      throw importer.failure("its output depends on no input")
    }
    return importer.builder.graph.finish(output: id, shape: shape)
  }

  /// Which axis of a sample's output runs over the classes; `nil` for the last one.
  private func classAxis(
    _ own: [Int], _ reading: OutputReading, _ importer: ProgramImporter
  ) throws -> Int? {
    let labels = reading.labels ?? []
    if let given = reading.classAxis {
      let axis = (given < 0 ? given + own.count + 1 : given) - 1
      guard own.indices.contains(axis) else {
        throw importer.failure(
          "its output is \(own) for each sample, which has no dimension \(given) beside the samples",
          hint: "\(Setting.classAxis) counts the dimensions of the output with the samples as 0.")
      }
      guard reading.labels == nil || reading.areClasses || axis == own.count - 1 else {
        throw importer.failure(
          "its labels are numbers for each element of the output, which has no axis of classes",
          hint: "Leave out \(Setting.classAxis).")
      }
      return axis
    }
    guard reading.labels != nil, reading.areClasses, own.count > 1 else { return nil }
    // One position may be left out of the labels.
    let fits = { (axis: Int) in
      var rest = own
      rest.remove(at: axis)
      return rest == labels || rest.reduce(1, *) == 1 && labels.reduce(1, *) == 1
    }
    // Of an image, where both fit, the channels.
    let candidates = own.count >= 3 ? [0, own.count - 1] : [own.count - 1, 0]
    guard let axis = candidates.first(where: fits) else {
      throw importer.failure(
        "its output is \(own) for each sample, with labels of the shape \(labels)",
        hint: "Labels have the output's shape without its classes, which are its second or last "
          + "dimension, or the one that \(Setting.classAxis) names.")
    }
    return axis
  }
}

extension Setting {
  static let classAxis = Setting("class axis")
}
