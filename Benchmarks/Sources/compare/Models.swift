import ApproxEval
import ArgumentParser
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
  private let folder: String

  /// Writes a workload below `folder`: random weights, inputs and labels from a seed.
  ///
  /// - Parameter configurations: The folder with the configurations of `TransformerWorkload`.
  init(_ name: String, in folder: String, configurations: String) throws {
    self.name = name
    let folder = folder + "/" + name
    self.folder = folder
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true)
    if let workload = Workload.all.first(where: { $0.name == name }) {
      checkpoint = folder + "/checkpoint.bin"
      (adapter, data, samples) = (nil, nil, workload.samples)
      arguments = [checkpoint]
      try workload.write(to: checkpoint)
    } else {
      guard let workload = TransformerWorkload.all.first(where: { $0.name == name }) else {
        throw ValidationError("unknown workload \(name)")
      }
      checkpoint = folder + "/model"
      let data = folder + "/data.safetensors"
      samples = workload.samples
      let model = try RandomModel(
        config: "\(configurations)/\(workload.configuration)", adapter: workload.adapter,
        task: workload.task, seed: 1337)
      try model.writeModel(to: checkpoint)
      adapter = workload.adapter.map { _ in folder + "/adapter" }
      if let adapter { try model.writeAdapter(to: adapter) }
      try workload.writeSamples(to: data)
      self.data = data
      arguments =
        [checkpoint] + (adapter.map { ["--adapter", $0] } ?? [])
        + ["--data", data, "--batch-size", String(samples), "--batches", "1"]
    }
  }

  var options: EvaluationOptions {
    var options = EvaluationOptions()
    options.adapter = adapter
    options.dataFile = data
    if data != nil { (options.batchSize, options.batches) = (samples, 1) }
    options.reference = .none
    return options
  }

  /// Four directions of random numbers, one file each, written when they are first asked for.
  func directions() throws -> [String] {
    let paths = (1...4).map { "\(folder)/d\($0).safetensors" }
    if paths.allSatisfy(FileManager.default.fileExists) { return paths }
    let inspection = try Inspection(checkpoint: checkpoint, options: options)
    var random = SplitMix64(state: 2026)
    for path in paths {
      var writer = SafetensorsWriter(metadata: [:])
      for parameter in inspection.parameters where parameter.isTrainable {
        let tensor = parameter.tensor
        let values = (0..<tensor.shape.reduce(1, *)).map { _ in random.normal() }
        writer.add(
          tensor.name, dtype: .f32, shape: tensor.shape,
          data: values.withUnsafeBytes { Data($0) })
      }
      try writer.write(to: path)
    }
    return paths
  }
}
