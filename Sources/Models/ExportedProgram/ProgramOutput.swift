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

  /// - Parameters:
  ///   - labels: Their shape without the samples, if there are any.
  ///   - areClasses: Whether they leave over the axis of classes.
  func finish(
    _ importer: inout ProgramImporter, labels: [Int]?, areClasses: Bool
  ) throws -> Graph {
    guard let batch = tensor.batch, batch == .init(axis: 0) else {
      throw importer.failure(
        "its output \(name) has no dimension of samples in front",
        hint: "Export a network that returns [samples, classes], or with positions.")
    }
    let own = Array(tensor.sizes.dropFirst())
    let axis = try classAxis(own, labels, areClasses, importer)
    var result = tensor
    if let axis, axis != own.count - 1 {
      var order = Array(0...own.count)
      order.remove(at: axis + 1)
      result = importer.permuted(tensor, order + [axis + 1])
    }
    let shape = own.isEmpty ? [1] : Array(result.sizes.dropFirst())
    let id = try importer.reshaped(importer.canonical(importer.real(result)), to: shape)
    if importer.graph.type(id).isShared {
      throw importer.failure("its output depends on no input")
    }
    return importer.graph.finish(output: id, shape: shape)
  }

  /// Which axis of a sample's output runs over the classes; `nil` for the last one.
  private func classAxis(
    _ own: [Int], _ labels: [Int]?, _ areClasses: Bool, _ importer: ProgramImporter
  ) throws -> Int? {
    guard let labels, areClasses, own.count > 1 else { return nil }
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
          + "dimension.")
    }
    return axis
  }
}
