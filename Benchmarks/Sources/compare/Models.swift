import ApproxEval
import Checkpoints
import Foundation
import Workloads

/// A workload on disk, as users have it: what our side opens.
struct PreparedModel {
  let name: String
  /// Arguments of `eval-cli score` that name model and samples.
  let arguments: [String]
  /// The same for the library.
  let checkpoint: String
  let adapter: String?
  let data: String?
  let samples: Int
  /// Four directions of random numbers, one file each.
  let directions: [String]

  /// Writes a workload below `folder`: random weights, inputs and labels from a seed.
  ///
  /// - Parameter configurations: The folder with `vit-base.json` and `t5-base.json`.
  init(_ name: String, in folder: String, configurations: String) throws {
    self.name = name
    let folder = folder + "/" + name
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true)
    if let workload = Workload.all.first(where: { $0.name == name }) {
      checkpoint = folder + "/checkpoint.bin"
      (adapter, data, samples) = (nil, nil, workload.samples)
      arguments = [checkpoint]
      try workload.write(to: checkpoint)
    } else {
      checkpoint = folder + "/model"
      let adapter = folder + "/adapter"
      let data = folder + "/data.safetensors"
      let isImages = name == "W3"
      samples = isImages ? 8 : 16
      let choice: RandomModel.Adapter =
        name == "W5" ? .prompt(tokens: 20) : .lowRank(.init(bias: isImages ? .adapted : .none))
      let model = try RandomModel(
        config: configurations + (isImages ? "/vit-base.json" : "/t5-base.json"),
        adapter: choice, task: isImages ? nil : .sequenceToSequence, seed: 1337)
      try model.writeModel(to: checkpoint)
      try model.writeAdapter(to: adapter)
      try Self.writeSamples(to: data, samples, isImages: isImages)
      (self.adapter, self.data) = (adapter, data)
      arguments = [
        checkpoint, "--adapter", adapter, "--data", data, "--batch-size", String(samples),
        "--batches", "1",
      ]
    }
    directions = try Self.writeDirections(in: folder, checkpoint, adapter: adapter)
  }

  var options: EvaluationOptions {
    var options = EvaluationOptions()
    options.adapter = adapter
    options.dataFile = data
    if data != nil { (options.batchSize, options.batches) = (samples, 1) }
    options.reference = .none
    return options
  }

  /// Images 3 x 224 x 224 of 1000 classes, or 64 tokens with one label token.
  private static func writeSamples(to path: String, _ samples: Int, isImages: Bool) throws {
    var random = SplitMix64(state: 1337)
    var writer = SafetensorsWriter(metadata: [:])
    func integers(_ count: Int, below limit: Int64) -> [Int64] {
      (0..<count).map { _ in Int64.random(in: 3..<limit, using: &random) }
    }
    if isImages {
      let pixels = (0..<samples * 3 * 224 * 224).map { _ in random.normal() }
      writer.add(
        "pixel_values", dtype: .f32, shape: [samples, 3, 224, 224],
        data: pixels.withUnsafeBytes { Data($0) })
      writer.add("labels", shape: [samples], integers: integers(samples, below: 1000))
    } else {
      writer.add("input_ids", shape: [samples, 64], integers: integers(samples * 64, below: 32000))
      writer.add(
        "attention_mask", shape: [samples, 64],
        integers: [Int64](repeating: 1, count: samples * 64))
      writer.add("labels", shape: [samples, 1], integers: integers(samples, below: 32000))
    }
    try writer.write(to: path)
  }

  private static func writeDirections(
    in folder: String, _ checkpoint: String, adapter: String?
  ) throws -> [String] {
    var options = EvaluationOptions()
    options.adapter = adapter
    let inspection = try Inspection(checkpoint: checkpoint, options: options)
    var random = SplitMix64(state: 2026)
    return try (1...4).map { index in
      let path = "\(folder)/d\(index).safetensors"
      var writer = SafetensorsWriter(metadata: [:])
      for parameter in inspection.parameters where parameter.isTrainable {
        let tensor = parameter.tensor
        let values = (0..<tensor.shape.reduce(1, *)).map { _ in random.normal() }
        writer.add(
          tensor.name, dtype: .f32, shape: tensor.shape,
          data: values.withUnsafeBytes { Data($0) })
      }
      try writer.write(to: path)
      return path
    }
  }
}
