import ApproxEval
import Checkpoints
import Foundation
import GraphModule
import Models

/// A Hugging Face folder, with or without a PEFT adapter: how it is scored (`Scoring`), two bytes for
/// the lengths of the data, then `CONFIG separator ADAPTER separator NAMES separator NUMBERS`. An
/// empty ADAPTER is none. A line of NAMES changes the name of a tensor (`Renaming`).
struct HuggingFaceReading: Reader {
  let name = "huggingface"
  let isText = true

  func read(_ input: ArraySlice<UInt8>) throws {
    let scoring = Scoring(input.prefix(Scoring.byteCount))
    let lengths = input.dropFirst(Scoring.byteCount).prefix(2)
    var parts = Parts.split(input.dropFirst(Scoring.byteCount + 2), limit: 4)
    parts += [[], [], []]
    let (configText, adapterText) = (parts[0], parts[1])
    let config = try JSONValue(
      parsing: String(decoding: configText, as: UTF8.self), name: "config", file: "config.json")
    let adapter =
      adapterText.isEmpty
      ? nil
      : try JSONValue(
        parsing: String(decoding: adapterText, as: UTF8.self), name: "adapter_config",
        file: "adapter_config.json")
    var numbers = scoring.numbers(parts[3])
    let type = try config["model_type"].string()
    var batch: [String: StoredTensor] = [:]
    if type == "t5" { batch = Self.tokens(scoring, lengths, &numbers) }
    let model = try Model(
      type: type, config: config, adapter: adapter,
      data: type == "t5" ? DataFile(path: "data", arrays: batch) : nil)
    if !scoring.isSmall(model.graph) { return }
    if type != "t5" { batch = BatchTensors.make(model, scoring, &numbers) }

    let names = Renaming(parts[2])
    var (base, own): ([String: StoredTensor], [String: StoredTensor]) = ([:], [:])
    for spec in model.graph.parameters {
      let tensor = StoredTensor(
        name: spec.name, dtype: scoring.dtype, shape: spec.shape,
        data: numbers.tensor(scoring.dtype, spec.shape))
      let isNew = spec.name.contains(".lora_") || spec.name == "prompt_embeddings"
      if !isNew { base[spec.name] = tensor }
      if isNew || model.adapted?.contains(spec.name) == true {
        own[spec.name == "prompt_embeddings" ? spec.name : "base_model.model." + spec.name] = tensor
      }
    }
    let folder = Scratch.path("base")
    Scratch.makeFolder("base")
    Scratch.makeFolder("adapter")
    Scratch.write(configText, to: "base/config.json")
    Scratch.write(adapterText, to: "adapter/adapter_config.json")
    try Self.write(names.changed(base, in: "b"), to: "base/model.safetensors")
    try Self.write(names.changed(own, in: "a"), to: "adapter/adapter_model.safetensors")
    try Self.write(batch, to: "data.safetensors")
    func score() throws -> [BatchResult] {
      try scoring.score(checkpoint: folder) { options in
        options.adapter = adapter == nil ? nil : Scratch.path("adapter")
        options.dataFile = Scratch.path("data.safetensors")
        options.batchSize = scoring.samples
        options.batches = 1
      }
    }
    let results = try score()
    if names.isEmpty || scoring.samples % 2 == 1 { return }
    // Which of two tensors counts must not be a matter of chance.
    let again = try score()
    for (first, second) in zip(results, again) {
      precondition(
        first.loss.bitPattern == second.loss.bitPattern || first.loss.isNaN,
        "the same files, two results")
    }
  }

  private static func write(_ tensors: [String: StoredTensor], to name: String) throws {
    var writer = SafetensorsWriter()
    for (name, tensor) in tensors { writer.add(name, tensor) }
    try writer.write(to: Scratch.path(name))
  }

  private static func tokens(
    _ scoring: Scoring, _ lengths: ArraySlice<UInt8>, _ numbers: inout Numbers
  ) -> [String: StoredTensor] {
    let inputs = 1 + Int(lengths.first ?? 3) % 8
    let labels = 1 + Int(lengths.last ?? 1) % 4
    var tensors: [String: StoredTensor] = [:]
    func add(_ name: String, _ shape: [Int], below bound: Int, leavesOut: Bool = false) {
      tensors[name] = StoredTensor(
        name: name, dtype: .i64, shape: shape,
        data: numbers.integers(shape, below: bound, leavesOut: leavesOut))
    }
    add("input_ids", [scoring.samples, inputs], below: 4)
    if scoring.draws > 0 { add("attention_mask", [scoring.samples, inputs], below: 2) }
    add("labels", [scoring.samples, labels], below: 4, leavesOut: scoring.leavesOut)
    return tensors
  }

  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]] {
    var seeds: [String: [UInt8]] = [:]
    for place in ["hf", "hf_double"] {
      let cases = try FileManager.default.contentsOfDirectory(atPath: fixtures.path(place)).sorted()
      for (index, name) in cases.enumerated() {
        func text(_ file: String) throws -> [UInt8] {
          try Self.small(fixtures.path("\(place)/\(name)/\(file)"))
        }
        let names = index % 3 == 0 ? "b+0 classifier.modules_to_save.weight" : ""
        let scoring: [UInt8] = [
          UInt8(1 << (index % 8)), UInt8(index % 8), UInt8(index % 6), 0, UInt8(index % 3),
          UInt8(index * 7 % 64), 0, UInt8(index % 4), UInt8(index), UInt8(index / 2),
        ]
        let texts = try [text("base/config.json"), text("adapter/adapter_config.json")]
        seeds[name] = scoring + Parts.join(texts + [Array(names.utf8), [3, 250, 17, 40, 201, 99]])
      }
    }
    return seeds
  }

  /// The same configuration of a model so small that it is scored in a millisecond.
  private static func small(_ path: String) throws -> [UInt8] {
    guard let data = FileManager.default.contents(atPath: path) else { return [] }
    let text = String(decoding: data, as: UTF8.self)
    let document = try JSONValue(parsing: text, name: "", file: path)
    guard case .object(var members) = try document.content() else { return [] }
    for (key, limit) in sizes {
      if case .integer(let size)? = members[key] { members[key] = .integer(min(size, limit)) }
    }
    if members["id2label"] != nil {
      members["id2label"] = .object(["0": "a", "1": "b"].mapValues(JSONContent.string))
    }
    for key in ["label2id", "architectures", "auto_mapping"] { members[key] = nil }
    return Array(JSONContent.object(members).text.utf8)
  }

  private static let sizes = [
    "num_layers": 1, "num_decoder_layers": 1, "num_hidden_layers": 1, "hidden_size": 4,
    "intermediate_size": 3, "image_size": 4, "patch_size": 2, "num_channels": 1,
    "num_attention_heads": 2, "d_model": 4, "d_kv": 2, "d_ff": 3, "num_heads": 2, "vocab_size": 5,
    "r": 1, "num_virtual_tokens": 2,
  ]
}

/// Changes of names, one a line: `b>3 NAME` renames the fourth tensor of the base model in the order
/// of names, `a+0 NAME` gives the first of the adapter a second name, `b-1` leaves one out.
struct Renaming {
  private struct Line {
    var place: Character
    var action: Character
    var index: Int
    var name: String
  }

  private let lines: [Line]

  var isEmpty: Bool { lines.isEmpty }

  init(_ text: ArraySlice<UInt8>) {
    lines = text.split(separator: UInt8(ascii: "\n")).compactMap { line in
      let text = String(decoding: line, as: UTF8.self)
      let words = text.dropFirst(2).split(separator: " ", maxSplits: 1)
      guard text.count > 2, let index = words.first.flatMap({ Int($0) }) else { return nil }
      return Line(
        place: text.first!, action: text.dropFirst().first!, index: index,
        name: words.count == 2 ? String(words[1]) : "")
    }
  }

  func changed(
    _ tensors: [String: StoredTensor], in place: Character
  ) -> [String: StoredTensor] {
    var result = tensors
    for line in lines where line.place == place && !result.isEmpty {
      let names = result.keys.sorted()
      let old = names[Int(line.index.magnitude % UInt(names.count))]
      let tensor = result[old]!
      if line.action == ">" || line.action == "-" { result[old] = nil }
      if line.action != "-" && line.name != "__metadata__" { result[line.name] = tensor }
    }
    return result
  }
}
