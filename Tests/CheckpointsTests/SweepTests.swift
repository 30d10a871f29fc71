import Testing

@testable import Checkpoints

/// Damage of the simplest kinds at every place of valid files.
@Suite struct SweepTests {
  static let files = [
    "golden/mlp_tanh.bin", "golden/tokens_ignore.bin", "data/compressed.npz", "data/zip64.npz",
    "data/samples.npz", "data/torch/small.pt", "data/torch/small_legacy.pt",
    "data/torch/checkpoint.pt", "data/torch/big.pt", "data/torch/deflated.pt",
    "hf/t5_prompt/adapter/adapter_model.bin",
  ]

  @Test(arguments: files) func aFileCutAnywhereIsAnError(_ name: String) throws {
    let bytes = try fixtureBytes(name)
    let file = TemporaryFile(bytes)
    for count in bytes.indices.reversed() {
      try file.truncate(to: count)
      #expect(throws: CheckpointError.self, "\(name) cut at byte \(count)") {
        try readAll(TensorArchive.open(file.path))
      }
    }
  }

  /// A flipped bit in the numbers of a safetensors or PyTorch file goes unseen, as the format has
  /// no checksum or an optional one; what matters is that nothing but a `CheckpointError` comes of it.
  @Test(arguments: files) func aFlippedBitNeverCrashes(_ name: String) throws {
    let bytes = try fixtureBytes(name)
    let file = TemporaryFile(bytes)
    for index in bytes.indices {
      try file.write(bytes[index] ^ (1 << UInt8(index % 8)), at: index)
      do {
        try readAll(TensorArchive.open(file.path))
        _ = try CheckpointFile.open(file.path).batchData()
      } catch {
        #expect(error is CheckpointError, "\(name), byte \(index)")
        #expect("\(error)".isEmpty == false)
      }
      try file.write(bytes[index], at: index)
    }
  }

  @Test func randomDamageNeverCrashes() throws {
    for seed in UInt64(1)...300 {
      var generator = SeededGenerator(seed: seed)
      var bytes = try fixtureBytes(Self.files[Int(seed) % Self.files.count])
      for _ in 0..<Int.random(in: 1...8, using: &generator) {
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] =
          UInt8.random(in: 0...255, using: &generator)
      }
      let file = TemporaryFile(bytes)
      do {
        try readAll(TensorArchive.open(file.path))
      } catch {
        #expect(error is CheckpointError, "seed \(seed)")
      }
    }
  }
}
