import Checkpoints
import Foundation
import TestSupport
import Testing

@testable import ApproxEval

/// Folders of language models as runs leave them, and data that do not fit them.
struct LanguageFolderTests {
  /// A base from the Hub says nothing of the three classes for which an adapter on it has a head.
  @Test func classesOfABaseWithoutThem() throws {
    let name = "roberta_lora"
    let base = fixture("hf_double/\(name)/base")
    try withFolder { folder in
      let config = try String(contentsOfFile: base + "/config.json", encoding: .utf8)
      let silent = config.replacing(/\s*"(id2label|label2id)": \{[^}]*\},/, with: "")
      #expect(silent != config && !silent.contains("LABEL"))
      try Data(silent.utf8).write(to: URL(fileURLWithPath: folder + "/config.json"))
      try FileManager.default.copyItem(
        atPath: base + "/model.safetensors", toPath: folder + "/model.safetensors")
      let found = try [base, folder].map {
        try Evaluation(options(name)).score(checkpoint: $0)[0].scores.map(\.gamma)
      }
      #expect(found[0] == found[1])
    }
  }

  @Test(arguments: [
    ("input_ids", "entry 5 of sample 2 is 13"), ("labels", "label of sample 2 is 13"),
  ])
  func tokensBeyondTheVocabulary(_ array: String, _ what: String) throws {
    let name = "gpt2_full"
    try withFolder { folder in
      let data = try TensorArchive.open(fixture("hf_double/\(name)/data.safetensors")).tensors
      var writer = SafetensorsWriter(metadata: [:])
      for key in ["input_ids", "labels"] {
        var values = try data[key]!.integers(0..<data[key]!.count)
        if key == array { values[2 * 6 + 5] = 13 }
        writer.add(key, shape: [4, 6], integers: values)
      }
      var options = try options(name)
      options.dataFile = folder + "/data.safetensors"
      try writer.write(to: options.dataFile!)
      let error = #expect(throws: (any Error).self) {
        try Evaluation(options).score(checkpoint: fixture("hf_double/\(name)/base"))
      }
      let text = error.map { "\($0)" } ?? ""
      #expect(text.contains(what) && text.contains("own tokenizer"), "\(text)")
    }
  }

  private func options(_ name: String) throws -> EvaluationOptions {
    var options = EvaluationOptions()
    let adapter = fixture("hf_double/\(name)/adapter")
    if FileManager.default.fileExists(atPath: adapter) { options.adapter = adapter }
    options.dataFile = fixture("hf_double/\(name)/data.safetensors")
    options.batchSize = 4
    options.batches = 1
    options.reference = .none
    options.threads = 1
    return options
  }

  private func withFolder(_ body: (String) throws -> Void) throws {
    let folder = NSTemporaryDirectory() + "language-folder-\(UUID().uuidString)"
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
  }
}
