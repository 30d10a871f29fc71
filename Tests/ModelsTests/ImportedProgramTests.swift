import Checkpoints
import Curvature
import Foundation
import GraphModule
import TensorModule
import TestSupport
import Testing

@testable import Models

/// Networks by torch.export as graphs of one sample, and what cannot be one.
struct ImportedProgramTests {
  private func model(_ name: String) throws -> Model {
    let program = try ExportedProgram.open(fixture("data/exported/\(name).pt2"))
    return try Model(
      program, weights: program.weights.mapValues(\.tensor), data: nil,
      reading: OutputReading(labels: nil, areClasses: false))
  }

  private func refusal(_ name: String) -> String {
    do {
      _ = try model(name)
      return "none"
    } catch {
      return "\(error)"
    }
  }

  /// A static batch, tied weights, a bias that does not train.
  @Test func aPerceptronIsTwoLayers() throws {
    let model = try model("perceptron")
    #expect(model.graph.inputs.map(\.name) == ["x"])
    #expect(model.graph.inputs[0].shape == [3])
    // In the order of the archive, which has tied weights where they are read last.
    #expect(
      model.graph.parameters.map(\.name) == ["first.bias", "first.weight", "second.bias"])
    #expect(model.adapted == ["first.weight", "second.bias"])
    #expect(model.unreadTensors == ["second.weight"])
    #expect(model.graph.nodes.count { $0.operation is Linear } == 2)
    #expect(model.graph.outputShape == [3])
  }

  /// The same by addition and multiplication of matrices, with a batch of any size.
  @Test func coreOperatorsAreTheSameLayers() throws {
    let model = try model("perceptron_core")
    #expect(model.graph.nodes.count { $0.operation is Linear } == 2)
    #expect(model.graph.nodes.count == 3)
  }

  @Test func whatMixesSamplesIsRefusedWithItsPlace() {
    let text = refusal("mixing")
    for part in [
      "node mean (aten.mean.dim)", "make_exported.py line", "`return y - y.mean(0)`",
      "mixes samples",
    ] { #expect(text.contains(part), "\(text)") }
  }

  @Test func allUnsupportedOperatorsAreToldAtOnce() {
    let text = refusal("unsupported")
    for part in [
      "3 of its 7 nodes", "aten.erfinv.default (2 times, node erfinv",
      "aten.special_bessel_j0.default (once", "make_exported.py line",
    ] { #expect(text.contains(part), "\(text)") }
  }

  /// Heads are views of tokens in the order that the pass over graphs looks for, and a causal mask is
  /// one of distances.
  @Test func attentionIsOneOperation() throws {
    let archive = try ExportedProgram.open(fixture("golden/exported/nanogpt_tied/model.pt2"))
    let model = try Model(
      archive, weights: archive.weights.mapValues(\.tensor), data: nil,
      reading: OutputReading(labels: nil, areClasses: false))
    let program = Program(graph: model.graph) { _ in true }
    #expect(program.graph.nodes.count { $0.operation is Attention } == 1)
    #expect(!program.graph.nodes.contains { $0.operation is MatrixProduct })
  }

  /// What a part under `torch.no_grad()` gives has no derivative.
  @Test func partsWithoutGradientsAreDetached() throws {
    let model = try model("buffers")
    #expect(model.graph.nodes.contains { $0.operation is Detach })
  }

  /// As `make_exported.py` has them.
  private let weights = (weight: (0..<6).map(Double.init), bias: [0.0, 1])

  /// Of two samples, by a network of one layer of three inputs and two outputs.
  private func logits(_ name: String, _ inputs: [Double]) throws -> [Double] {
    let model = try model(name)
    return Linearization(
      program: Program(graph: model.graph) { _ in true },
      parameters: ParameterStore(
        model.graph.parameters.map {
          Vector($0.name.hasSuffix("bias") ? weights.bias : weights.weight)
        }),
      inputs: BatchInputs(samples: 2, values: [.real(Vector(inputs))]),
      pool: WorkerPool(threads: 1)
    ).allLogits
  }

  private func layer(_ x: [Double]) -> [Double] {
    (0..<2).map { row in
      (0..<3).reduce(weights.bias[row]) { $0 + weights.weight[row * 3 + $1] * x[$1] }
    }
  }

  /// Whatever precision a part asks for, the engine's is at hand; a part of the part has no derivative.
  @Test func partsInOtherPrecisionsArePartsOfTheGraph() throws {
    let inputs = [1.0, -2, 3, 0.5, 4, -1]
    let expected = (0..<2).flatMap { n -> [Double] in
      let y = layer(Array(inputs[n * 3..<n * 3 + 3]))
      return zip(y, layer([y[0], y[1], y[0]])).map { $0 + $1 }
    }
    // Small whole numbers and halves, which bfloat16 would round.
    #expect(try logits("autocast", inputs) == expected)
    #expect(try model("autocast").graph.nodes.contains { $0.operation is Detach })
  }

  /// `y[:, 0].mul_(2)`: a slice over all samples, and a column of it, written through both.
  @Test func viewsOverAllSamplesAreWritten() throws {
    let inputs = [1.0, -2, 3, 0.5, 4, -1]
    let logits = try logits("in_place", inputs)
    let expected = (0..<2).flatMap { n -> [Double] in
      let y = layer(Array(inputs[n * 3..<n * 3 + 3]))
      return [2 * y[0], y[1]]
    }
    // Small whole numbers and halves.
    #expect(logits == expected)
  }

  /// Inputs by their places in the arguments, with a number and a flag that are part of the graph.
  @Test func nestedInputsHaveTheirPlacesAsNames() throws {
    let names = try model("nested").graph.inputs.map(\.name)
    #expect(names == ["pair.left", "pair.right", "more.a.0", "more.a.1", "more.b", "mask"])
  }

  /// Data that do not fit are named with their tensor, and not the network.
  @Test func sizesThatAreOneAreTheSameInTheData() throws {
    var program = try ExportedProgram.open(fixture("data/exported/sizes.pt2"))
    let columns = try #require(program.graph.tensors["image"]?.sizes[3])
    program.graph.tensors["tokens"]?.sizes[1] = columns
    func refusal(image: [Int], tokens: [Int]) throws -> String {
      let path = NSTemporaryDirectory() + "sizes-\(UUID().uuidString).safetensors"
      defer { try? FileManager.default.removeItem(atPath: path) }
      var writer = SafetensorsWriter(metadata: [:])
      for (name, shape) in [("image", image), ("tokens", tokens), ("labels", [2])] {
        writer.add(
          name, shape: shape, integers: [Int64](repeating: 0, count: shape.reduce(1, *)))
      }
      try writer.write(to: path)
      do {
        _ = try ProgramSizes(program, data: try DataFile.open(path))
        return "none"
      } catch let error as CheckpointError {
        #expect(error.location.file == path)
        return "\(error)"
      }
    }
    #expect(try refusal(image: [2, 1, 8, 9], tokens: [2, 9]) == "none")
    let lengths = try refusal(image: [2, 1, 8, 9], tokens: [2, 7])
    #expect(lengths.contains("shape is [2, 7], expected [2, 9]"), "\(lengths)")
    #expect(lengths.contains("tensor tokens"), "\(lengths)")
    #expect(
      lengths.contains("one size for this dimension and for dimension 3 of image"), "\(lengths)")
    let ranks = try refusal(image: [2, 1, 8], tokens: [2, 8])
    #expect(ranks.contains("the shape is [2, 1, 8], expected 4 dimensions"), "\(ranks)")
  }
}
