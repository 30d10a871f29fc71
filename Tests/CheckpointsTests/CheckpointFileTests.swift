import Foundation
import TensorModule
import Testing

@testable import Checkpoints

private let model = #"{"type":"sequential","layers":[{"type":"linear","kernel_size":3}]}"#

/// A checkpoint with this metadata (nil takes a key out) and U8 tensors of these names.
private func checkpoint(
  _ changes: [String: String?] = [:], tensors: [String] = ["params.w"]
) throws -> TemporaryFile {
  var metadata: [String: String] = ["format": "approx-eval/1", "model": model]
  for (key, value) in changes { metadata[key] = value }
  var writer = SafetensorsWriter(metadata: metadata)
  for name in tensors { writer.add(name, dtype: .u8, shape: [1], data: Data([1])) }
  let file = TemporaryFile()
  try writer.write(to: file.path)
  return file
}

@Suite struct CheckpointFileTests {
  @Test func theGoldenPerceptronReads() throws {
    let file = try CheckpointFile.open(fixture("golden/mlp_tanh.bin"))
    #expect(file.loss == "cross_entropy")
    #expect(file.epoch == 3)
    #expect(file.step == 120)
    #expect(file.trainable == [Glob("*")])
    #expect(
      file.parameters.keys.sorted()
        == ["0.bias", "0.weight", "2.bias", "2.weight", "4.bias", "4.weight"])
    #expect(file.batch.keys.sorted() == ["inputs", "labels", "sampled_labels"])
    #expect(file.updates.isEmpty)
    #expect(try file.model["type"].string() == "sequential")
    #expect(try file.model["layers"][4]["out_features"].integer() == 4)
    #expect(try file.parameter("0.weight").shape == [6, 8])
    #expect(try file.parameter("0.weight").vector(of: Double.self).array.allSatisfy(\.isFinite))
    let data = try #require(try file.batchData())
    #expect(data.count == 12)
    #expect(try data.labels.integers().allSatisfy { (0..<4).contains($0) })
    #expect(data.sampledLabels?.shape == [1, 12])
    #expect(try data.inputs(["inputs"])["inputs"]?.shape == [12, 8])
  }

  @Test func theGoldenTokenModelHasUnscoredLabels() throws {
    let file = try CheckpointFile.open(fixture("golden/tokens_ignore.bin"))
    let data = try #require(try file.batchData())
    let labels = try data.labels.integers()
    #expect(labels.count == 20)
    #expect(labels.contains(-100))
    #expect(try data.inputs(["tokens"])["tokens"]?.integers().count == 20)
  }

  @Test func namesAreSortedByWhatTheyAreFor() throws {
    let file = try checkpoint(
      [
        "loss": "mse", "epoch": "7", "step": "-1", "trainable": #"["a.*","head.?"]"#,
        "author": "somebody",
      ],
      tensors: [
        "params.a.w", "params.head.b", "batch.labels", "updates.adam.a.w", "updates.adam.head.b",
        "updates.sgd.a.w", "model.onnx",
      ])
    let read = try CheckpointFile.open(file.path)
    #expect(read.loss == "mse")
    #expect(read.epoch == 7)
    #expect(read.step == -1)
    #expect(read.parameters.keys.sorted() == ["a.w", "head.b"])
    #expect(read.batch.keys.sorted() == ["labels"])
    #expect(read.updates.keys.sorted() == ["adam", "sgd"])
    #expect(read.updates["adam"]?.keys.sorted() == ["a.w", "head.b"])
    #expect(read.updates["adam"]?["a.w"]?.name == "updates.adam.a.w")
    #expect(read.onnx != nil)
    #expect(read.isTrainable("a.w") && read.isTrainable("head.b"))
    #expect(!read.isTrainable("head.bias"))
  }

  /// Looking up every end of such a name would take minutes.
  @Test(.timeLimit(.minutes(1))) func namesOfDirectionsMayHaveManyDots() {
    let parameters = ParameterNames(["weight", "b.weight"])
    let name = String(repeating: "a.", count: 1 << 18) + "b.weight"
    let own = UpdateTensorName(name[...], parameters: parameters)
    #expect(own?.parameter == "b.weight")
    #expect(own.map { $0.update + ".b.weight" } == name)
    #expect(UpdateTensorName("a.b.c", parameters: parameters)?.update == "a")
    #expect(UpdateTensorName("b.weight", parameters: parameters)?.parameter == "weight")
    #expect(UpdateTensorName("weight", parameters: parameters) == nil)
  }

  @Test func defaultsAreThoseOfTheFormat() throws {
    let file = try checkpoint()
    let read = try CheckpointFile.open(file.path)
    #expect(read.loss == "cross_entropy")
    #expect(read.isTrainable("any.thing"))
    #expect(read.epoch == nil && read.step == nil)
    #expect(try read.batchData() == nil)
  }

  struct Case: CustomTestStringConvertible {
    var claim: String
    var changes: [String: String?] = [:]
    var tensors = ["params.w"]
    var message: String
    var testDescription: String { claim }
  }

  static let cases: [Case] = [
    Case(
      claim: "no format", changes: ["format": nil],
      message: """
        __metadata__.format is missing
          at FILE
          A checkpoint has the metadata format = approx-eval/1 and model = {...}.
        """),
    Case(
      claim: "a bare state_dict", changes: ["format": "pt"],
      message: """
        __metadata__.format is "pt", expected "approx-eval/1"
          at FILE
          This is a bare state_dict of Hugging Face; give the folder with its config.json.
        """),
    Case(
      claim: "a later format", changes: ["format": "approx-eval/2"],
      message: """
        __metadata__.format is "approx-eval/2", expected "approx-eval/1"
          at FILE
          It was written by another version, or for another program.
        """),
    Case(
      claim: "no model", changes: ["model": nil],
      message: """
        __metadata__.model is missing
          at FILE
        """),
    Case(
      claim: "a model that is no JSON", changes: ["model": "{'type': 'vit'}"],
      message: """
        model is not valid JSON: found ''', expected a key in quotation marks (at its byte 1)
          at FILE
        """),
    Case(
      claim: "an unknown loss", changes: ["loss": "cross-entropy"],
      message: """
        unknown loss "cross-entropy"
          at FILE
          Did you mean cross_entropy?
        """),
    Case(
      claim: "a loss like no other", changes: ["loss": "hinge"],
      message: """
        unknown loss "hinge"
          at FILE
          Known are cross_entropy, mse or bce.
        """),
    Case(
      claim: "an epoch that is no integer", changes: ["epoch": "3.5"],
      message: """
        __metadata__.epoch is "3.5", expected an integer
          at FILE
        """),
    Case(
      claim: "patterns that are no list", changes: ["trainable": #""*""#],
      message: """
        trainable is "*", expected a list
          at FILE
        """),
    Case(
      claim: "a pattern that is no string", changes: ["trainable": #"["*",1]"#],
      message: """
        trainable[1] is 1, expected a string
          at FILE
        """),
    Case(
      claim: "a misspelt key", changes: ["trainabel": "[]"],
      message: """
        unknown key __metadata__.trainabel
          at FILE
          Did you mean trainable?
        """),
    Case(
      claim: "a misspelt prefix", tensors: ["param.w"],
      message: """
        this tensor has no meaning here
          at FILE, tensor param.w
          Did you mean params.w?
        """),
    Case(
      claim: "an unknown prefix", tensors: ["optimizer.w"],
      message: """
        this tensor has no meaning here
          at FILE, tensor optimizer.w
          Names begin with params., batch. or updates.<update>., or are model.onnx or model.pt2.
        """),
    Case(
      claim: "an empty parameter name", tensors: ["params."],
      message: """
        this tensor has no meaning here
          at FILE, tensor params.
          Names begin with params., batch. or updates.<update>., or are model.onnx or model.pt2.
        """),
    Case(
      claim: "a direction without a parameter", tensors: ["updates.adam"],
      message: """
        this tensor has no meaning here
          at FILE, tensor updates.adam
          Directions are named updates.<update>.<parameter>.
        """),
  ]

  @Test(arguments: cases) func isRefusedWithItsReason(_ hostile: Case) throws {
    let file = try checkpoint(hostile.changes, tensors: hostile.tensors)
    #expect(
      message(for: file.path) { _ = try CheckpointFile.open(file.path) } == hostile.message)
  }

  @Test func anArchiveOfArraysIsNoCheckpoint() {
    let path = fixture("data/samples.npz")
    #expect(
      message(for: path) { _ = try CheckpointFile.open(path) } == """
        this is an npz file, expected a checkpoint in safetensors format
          at FILE
          An npz file can be given as data.
        """)
  }

  @Test func aMissingParameterNamesThoseThatComeNear() throws {
    let path = fixture("golden/mlp_tanh.bin")
    let file = try CheckpointFile.open(path)
    #expect(
      message(for: path) { _ = try file.parameter("0.weigth") } == """
        there is no tensor params.0.weigth
          at FILE
          Did you mean params.0.weight, params.2.weight or params.4.weight?
        """)
  }

  @Test func theWrongTypeNamesTheTensor() throws {
    let path = fixture("golden/mlp_tanh.bin")
    let file = try CheckpointFile.open(path)
    #expect(
      message(for: path) { _ = try file.batch["labels"]?.vector(of: Float.self) } == """
        dtype is I64, expected F64, F32, F16 or BF16
          at FILE, tensor batch.labels
        """)
    #expect(
      message(for: path) { _ = try file.parameter("0.bias").integers() } == """
        dtype is F64, expected I64, I32, I16, I8, U8 or BOOL
          at FILE, tensor params.0.bias
        """)
    #expect(
      message(for: path) { try file.parameter("0.weight").requireShape([8, 6]) } == """
        shape is [6, 8], expected [8, 6]
          at FILE, tensor params.0.weight
        """)
  }
}

@Suite struct DataFileTests {
  @Test func samplesOfAnArchiveRead() throws {
    let file = try DataFile.open(fixture("data/samples.npz"))
    #expect(file.count == 4)
    #expect(try file.labels.integers() == [-3, -2, -1, 0])
    #expect(file.sampledLabels?.shape == [2, 4])
    #expect(try file.inputs(["pixel_values"])["pixel_values"]?.shape == [4, 3])
  }

  @Test func severalInputsGoByTheirNames() throws {
    let file = TemporaryFile()
    var writer = SafetensorsWriter()
    writer.add("input_ids", shape: [2, 3], integers: [1, 2, 3, 4, 5, 6])
    writer.add("attention_mask", shape: [3, 1], integers: [1, 1, 1])
    writer.add("labels", shape: [2], integers: [0, 1])
    try writer.write(to: file.path)
    let data = try DataFile.open(file.path)
    #expect(try data.inputs(["input_ids"])["input_ids"]?.shape == [2, 3])
    #expect(
      message(for: file.path) { _ = try data.inputs(["input_ids", "attention_mask"]) } == """
        3 samples, but labels has 2
          at FILE, tensor attention_mask
          The first dimension counts samples and must agree.
        """)
    #expect(
      message(for: file.path) { _ = try data.inputs(["input_id", "attention_mask"]) } == """
        there is no tensor input_id
          at FILE
          Did you mean input_ids?
        """)
  }

  @Test func labelsAreNeeded() throws {
    let file = TemporaryFile()
    var writer = SafetensorsWriter()
    writer.add("inputs", shape: [2], integers: [0, 1])
    try writer.write(to: file.path)
    #expect(
      message(for: file.path) { _ = try DataFile.open(file.path) } == """
        there is no tensor labels
          at FILE
          There are: inputs.
        """)
  }

  @Test func sampledLabelsHaveTheDrawBeforeTheSample() throws {
    let file = TemporaryFile()
    var writer = SafetensorsWriter()
    writer.add("labels", shape: [2], integers: [0, 1])
    writer.add("sampled_labels", shape: [2, 1], integers: [0, 1])
    try writer.write(to: file.path)
    #expect(
      message(for: file.path) { _ = try DataFile.open(file.path) } == """
        1 sample, but labels has 2
          at FILE, tensor sampled_labels
          Sampled labels are draws x samples: [K, 2, ...].
        """)
  }

  @Test func aScalarIsNoSetOfLabels() throws {
    let file = TemporaryFile()
    var writer = SafetensorsWriter()
    writer.add("labels", shape: [], integers: [0])
    try writer.write(to: file.path)
    #expect(
      message(for: file.path) { _ = try DataFile.open(file.path) } == """
        shape is [], expected [1]
          at FILE, tensor labels
          The first dimension of the labels counts samples.
        """)
  }
}
