import Checkpoints
import Foundation
import TestSupport
import Testing

@testable import ApproxEval

/// Checkpoints of a network by torch.export, as training scripts save them.
struct StateDictTests {
  private let model = fixture("golden/exported/resnet/model.pt2")

  private func source(
    _ name: String, prefix: String, others: [String] = []
  ) throws -> CheckpointSource {
    let state = try TensorArchive.open(fixture("golden/exported/resnet/weights.pt"))
    var writer = SafetensorsWriter(metadata: [:])
    for (key, tensor) in state.tensors.sorted(by: { $0.key < $1.key }) {
      writer.add(prefix + key, tensor)
      for other in others { writer.add(other + key, tensor) }
    }
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent(name).path
    try writer.write(to: path)
    return try CheckpointSource(path: path, model: model)
  }

  @Test(arguments: ["", "module.", "model._orig_mod.", "model_state_dict."])
  func prefixesOfWrappersAreLeftOut(_ prefix: String) throws {
    let own = try CheckpointSource(
      path: fixture("golden/exported/resnet/weights.pt"), model: model)
    let found = try source("a.safetensors", prefix: prefix)
    #expect(Set(found.parameters.keys) == Set(own.parameters.keys))
  }

  @Test func whatLiesBesideTheNetworkIsLeftOut() throws {
    let found = try source("a.safetensors", prefix: "model.", others: ["optimizer.state."])
    #expect(found.parameters["fc.weight"] != nil)
    #expect(!found.parameters.keys.contains { $0.hasPrefix("optimizer") })
  }

  @Test func theNameOfTheFileTellsTheEpoch() throws {
    #expect(try source("epoch-12.safetensors", prefix: "").epoch == 12)
    #expect(try source("last.safetensors", prefix: "").epoch == nil)
  }

  @Test func aModelThatIsNoArchiveIsOneError() throws {
    #expect(throws: CheckpointError.self) {
      _ = try CheckpointSource(
        path: fixture("golden/exported/resnet/weights.pt"),
        model: fixture("golden/mlp_tanh.bin"))
    }
  }
}
