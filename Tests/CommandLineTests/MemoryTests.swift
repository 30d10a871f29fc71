import Checkpoints
import Foundation
import TestSupport
import Testing

/// Networks large enough that arrays of a few kilobytes, which no plan counts, do not matter.
private struct PlannedCase: CustomTestStringConvertible {
  let name: String
  let input: [Int]
  let layers: String
  let parameters: [(name: String, shape: [Int])]
  let samples: Int
  /// Of the labels of one sample.
  var labels: [Int] = []
  var loss = "cross_entropy"
  /// Of inputs that are whole numbers.
  var bound: Int?

  var testDescription: String { name }

  static let all = [
    // Directions that are never formed.
    PlannedCase(
      name: "wide", input: [600],
      layers: #"{"type": "linear", "name": "a", "in_features": 600, "out_features": 500}, "#
        + #"{"type": "relu"}, "#
        + #"{"type": "linear", "name": "b", "in_features": 500, "out_features": 10}"#,
      parameters: [("a.weight", [500, 600]), ("a.bias", [500])]
        + [("b.weight", [10, 500]), ("b.bias", [10])], samples: 100),
    PlannedCase(
      name: "many samples", input: [100],
      layers: #"{"type": "linear", "name": "a", "in_features": 100, "out_features": 200}, "#
        + #"{"type": "tanh"}, "#
        + #"{"type": "linear", "name": "b", "in_features": 200, "out_features": 10}"#,
      parameters: [("a.weight", [200, 100]), ("a.bias", [200])]
        + [("b.weight", [10, 200]), ("b.bias", [10])], samples: 500),
    PlannedCase(
      name: "convolutions", input: [3, 32, 32],
      layers: #"{"type": "conv2d", "name": "a", "in_channels": 3, "out_channels": 16, "#
        + #""kernel_size": 3, "padding": 1}, {"type": "relu"}, "#
        + #"{"type": "max_pool2d", "kernel_size": 2}, {"type": "flatten"}, "#
        + #"{"type": "linear", "name": "b", "in_features": 4096, "out_features": 10}"#,
      parameters: [("a.weight", [16, 3, 3, 3]), ("a.bias", [16])]
        + [("b.weight", [10, 4096]), ("b.bias", [10])], samples: 60),
    PlannedCase(
      name: "positions", input: [16],
      layers: #"{"type": "embedding", "name": "a", "num_embeddings": 300, "embedding_dim": 64}, "#
        + #"{"type": "layer_norm", "name": "n", "normalized_shape": [64]}, "#
        + #"{"type": "linear", "name": "b", "in_features": 64, "out_features": 300}"#,
      parameters: [("a.weight", [300, 64]), ("n.weight", [64]), ("n.bias", [64])]
        + [("b.weight", [300, 64]), ("b.bias", [300])], samples: 60, labels: [16], bound: 300),
    PlannedCase(
      name: "squared error", input: [400],
      layers: #"{"type": "linear", "name": "a", "in_features": 400, "out_features": 300}, "#
        + #"{"type": "sigmoid"}, "#
        + #"{"type": "linear", "name": "b", "in_features": 300, "out_features": 2}"#,
      parameters: [("a.weight", [300, 400]), ("a.bias", [300])]
        + [("b.weight", [2, 300]), ("b.bias", [2])], samples: 200, labels: [2], loss: "mse"),
  ]

  func write(to path: String) throws {
    var random = SeededGenerator(seed: 7)
    var writer = SafetensorsWriter(metadata: [
      "format": "approx-eval/1", "loss": loss,
      "model": #"{"type": "sequential", "input_shape": \#(input), "layers": [\#(layers)]}"#,
    ])
    func add(_ name: String, _ shape: [Int], size: Float) {
      let values = (0..<shape.reduce(1, *)).map { _ in
        Float.random(in: -size...size, using: &random)
      }
      writer.add(name, dtype: .f32, shape: shape, data: values.withUnsafeBytes { Data($0) })
    }
    func addIntegers(_ name: String, _ shape: [Int], below bound: Int64) {
      writer.add(
        name, shape: shape,
        integers: (0..<shape.reduce(1, *)).map { _ in Int64.random(in: 0..<bound, using: &random) })
    }
    for (name, shape) in parameters { add("params." + name, shape, size: 0.1) }
    let labels = [samples] + labels
    if let bound {
      addIntegers("batch.inputs", [samples] + input, below: Int64(bound))
      addIntegers("batch.labels", labels, below: Int64(bound))
    } else {
      add("batch.inputs", [samples] + input, size: 1)
      if loss == "mse" {
        add("batch.labels", labels, size: 1)
      } else {
        addIntegers("batch.labels", labels, below: 10)
      }
    }
    try writer.write(to: path)
  }
}

extension CommandLineTests {
  @Suite struct MemoryTests {
    /// Phase by phase the vectors that there are at the worst moment, and the plan's, in bytes.
    private func memory(
      _ test: PlannedCase, _ options: [String]
    ) throws -> [(phase: String, measured: Double, planned: Double)] {
      let folder = try TemporaryFolder()
      try test.write(to: folder.path("x.bin"))
      let result = try Command.run(
        ["score", folder.path("x.bin"), "--verbose", "--precision", "float32"] + options)
      #expect(result.status == 0, "\(result.error)")
      let units = ["kB": 1e3, "MB": 1e6, "GB": 1e9]
      let phases = ["forward pass", "Gram matrices", "reference", "directions", "jvp and scores"]
      return try phases.compactMap { phase in
        guard let row = result.error.split(separator: "\n").first(where: { $0.hasPrefix(phase) })
        else { return nil }
        let words = row.split(separator: " ").suffix(4).map(String.init)
        func number(_ place: Int) throws -> Double {
          try #require(Double(words[place])) * #require(units[words[place + 1]])
        }
        return (phase, try number(0), try number(2))
      }
    }

    /// What is planned is what is allocated.
    @Test(arguments: PlannedCase.all, [["sgd,ef,ief,sf", "1"], ["sgd,diag-ef,ng@2", "2"]])
    fileprivate func memoryIsAsPlanned(_ test: PlannedCase, _ options: [String]) throws {
      let phases = try memory(
        test, ["--reference", "none", "--methods", options[0], "--threads", options[1]])
      #expect(phases.count == 4)
      for (phase, measured, planned) in phases {
        #expect(abs(planned / measured - 1) < 0.05, "\(phase): \(measured), planned \(planned)")
      }
    }

    /// Scored positions that are samples have passes of their own.
    @Test func positionsTakeWhatIsPlanned() throws {
      let positions = try #require(PlannedCase.all.first { $0.name == "positions" })
      let phases = try memory(
        positions,
        ["--reference", "none", "--threads", "1", "--sample", "token", "--batch-size", "12"])
      #expect(phases.count == 4)
      for (phase, measured, planned) in phases {
        #expect(abs(planned / measured - 1) < 0.05, "\(phase): \(measured), planned \(planned)")
      }
    }

    /// What methods take on their way is planned at the most, as some of it goes by the rank of what they
    /// find; so is what one keeps while others run.
    @Test(
      arguments: [0, 2, 4],
      [
        "layer-ng,block-ng,shampoo", "block-ef,layer-ef,layer-ief", "block-sf,layer-sf,sophia",
        "kfac,kfac@exact,foof,evkfac", "soap,kl-shampoo", "muon,muon@polar,shampoo@2",
        "sign,diag-ng,adam",
      ])
    func methodsTakeNoMoreThanPlanned(_ test: Int, _ methods: String) throws {
      let phases = try memory(
        PlannedCase.all[test], ["--reference", "none", "--methods", methods, "--threads", "2"])
      #expect(phases.count == 4)
      for (phase, measured, planned) in phases {
        #expect(measured < 1.05 * planned, "\(phase): \(measured), planned \(planned)")
      }
    }

    /// Solvers are planned for with the most that they keep at a time; `dense` takes what it finds room for.
    @Test(arguments: ["cg", "lsqr", "gram"])
    func referencesTakeNoMoreThanPlanned(_ reference: String) throws {
      let phases = try memory(
        PlannedCase.all[4], ["--reference", reference, "--methods", "sgd", "--cg-iterations", "20"])
      #expect(phases.count == 5)
      for (phase, measured, planned) in phases {
        #expect(measured < 1.05 * planned, "\(phase): \(measured), planned \(planned)")
      }
    }
  }
}
