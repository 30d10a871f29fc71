import Checkpoints
import Foundation
import TensorModule
import TestSupport
import Testing

@testable import ApproxEval

/// The setups of the paper at full size, by their configurations alone, and the scales of random
/// weights.
@Suite struct RandomModelTests {
  /// method.md 6; the sizes of the base models are those of the published ones.
  static let counts:
    [(
      config: String, adapter: RandomModel.Adapter, task: RandomModel.Task?, base: Int,
      trainable: Int
    )] = [
      ("t5-base", .prompt(tokens: 20), .causalLM, 222_903_552, 15_360),
      ("t5-base", .lowRank(.init()), nil, 222_903_552, 884_736),
      ("vit-base", .lowRank(.init(bias: .adapted)), nil, 86_567_656, 313_344),
    ]

  @Test(arguments: counts.indices)
  func countsAreThoseOfThePaper(_ index: Int) throws {
    let setup = Self.counts[index]
    let model = try RandomModel(
      config: fixture("configs/\(setup.config).json"), adapter: setup.adapter, task: setup.task)
    #expect(model.baseParameters == setup.base)
    #expect(model.trainableParameters == setup.trainable)
  }

  /// ViT's layers in Transformers 5; PEFT finds no `query` there, and this found no `q_proj`.
  @Test func targetsMayBeThoseOfTransformers5() throws {
    let path = fixture("hf/vit_lora/base")
    var files: [TensorArchive] = []
    let folders = [["query", "value", "intermediate.dense"], ["q_proj", "v_proj", "fc1"]].map {
      ($0, NSTemporaryDirectory() + "/random-model-" + UUID().uuidString)
    }
    defer { for (_, folder) in folders { try? FileManager.default.removeItem(atPath: folder) } }
    for (targets, folder) in folders {
      let model = try RandomModel(
        config: path, adapter: .lowRank(.init(targets: targets, bias: .adapted)))
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true)
      try model.writeAdapter(to: folder)
      files.append(try TensorArchive.open(folder + "/adapter_model.safetensors"))
      var options = EvaluationOptions()
      options.adapter = folder
      options.dataFile = fixture("hf/vit_lora/data.safetensors")
      #expect(
        try Evaluation(options).describe(checkpoint: path).trainableParameters
          == model.trainableParameters)
    }
    let old = files[0].tensors.keys.sorted()
    let new = files[1].tensors.keys.sorted()
    #expect(old.count == new.count && Set(old).isDisjoint(with: new))
    // As PEFT has them on Transformers 5 (fixtures/hf_double/vit_version_5).
    #expect(new.contains("base_model.model.vit.layers.0.attention.q_proj.lora_A.weight"))
    #expect(new.contains("base_model.model.vit.layers.1.mlp.fc1.base_layer.bias"))
  }

  /// With n numbers the deviation is known to 1 / sqrt(2 n), the mean to 1 / sqrt(n) deviations;
  /// five of these.
  @Test(arguments: [0.02, 1, 30])
  func normalNumbersHaveTheirDeviation(_ deviation: Double) {
    let numbers = Vector<Float>(count: 1 << 16)
    NamedRandom(seed: 1, name: "w").normal(
      0..<numbers.count, deviation: Float(deviation), into: numbers.pointer)
    let count = Double(numbers.count)
    let mean = numbers.array.reduce(0) { $0 + Double($1) } / count
    let square = numbers.array.reduce(0) { $0 + Double($1) * Double($1) } / count
    #expect(abs(mean) < 5 * deviation / count.squareRoot())
    #expect(abs(square.squareRoot() / deviation - 1) < 5 / (2 * count).squareRoot())
  }

  @Test func uniformNumbersFillTheirInterval() {
    let numbers = Vector<Float>(count: 1 << 16)
    NamedRandom(seed: 1, name: "w").uniform(
      0..<numbers.count, bound: 0.25, into: numbers.pointer)
    #expect(numbers.array.allSatisfy { abs($0) <= 0.25 })
    #expect(numbers.array.max()! > 0.249)
    #expect(numbers.array.min()! < -0.249)
  }

  @Test func piecesAreThoseOfTheWhole() {
    let random = NamedRandom(seed: 9, name: "w")
    let whole = Vector<Float>(count: 1003)
    random.normal(0..<1003, deviation: 1, into: whole.pointer)
    let pieces = Vector<Float>(count: 1003)
    for first in stride(from: 0, to: 1003, by: 100) {
      random.normal(
        first..<min(first + 100, 1003), deviation: 1, into: pieces.pointer + first)
    }
    #expect(pieces.array == whole.array)
    let other = Vector<Float>(count: 1003)
    NamedRandom(seed: 9, name: "v").normal(0..<1003, deviation: 1, into: other.pointer)
    #expect(other.array != whole.array)
  }
}

@Suite struct ResourceEstimateTests {
  /// Two operations for each weight in each product: J v has one with the input's tangent (not in
  /// the first layer) and one with the weight's, J^T w the same.
  @Test func operationsOfAPerceptronAreCounted() throws {
    let needs = try Evaluation().resources(checkpoint: fixture("golden/mlp_tanh.bin"))
    #expect(needs.samples == 12)
    let weights = 8 * 6 + 6 * 5 + 5 * 4
    let later = 6 * 5 + 5 * 4
    // Each activation adds a few operations a scalar, each bias one.
    let expected = Double(2 * 12 * 2 * (weights + later))
    #expect(needs.productOperations >= expected)
    #expect(needs.productOperations < 1.5 * expected)
    #expect(needs.forwardOperations >= 2 * weights)
  }

  @Test func memoryFollowsBatchAndPrecision() throws {
    var options = EvaluationOptions()
    options.threads = 2
    options.precision = .float32
    let single = try Evaluation(options).resources(checkpoint: fixture("golden/mlp_tanh.bin"))
    options.precision = .float64
    let double = try Evaluation(options).resources(checkpoint: fixture("golden/mlp_tanh.bin"))
    // What is done at once in double is estimated so.
    options.precision = .auto
    #expect(
      try Evaluation(options).resources(checkpoint: fixture("golden/mlp_tanh.bin")).memory
        == double.memory)
    options.precision = .float64
    // 8-6-5-4 with biases, in the file in double: there they are used where the file is mapped, in single
    // precision they are converted. The file's own pages are counted by themselves.
    let parameters = 8 * 6 + 6 + 6 * 5 + 5 + 5 * 4 + 4
    #expect(single.memory.bytes(of: "parameters") == 4 * parameters)
    #expect(double.memory.bytes(of: "parameters") == 0)
    // Eight inputs a sample, its label and a sampled one.
    #expect(double.memory.bytes(of: "pages of files") == 8 * (parameters + 12 * (8 + 1 + 1)))
    #expect(double.memory.total > single.memory.total)
    options.batchSize = 6
    let half = try Evaluation(options).resources(checkpoint: fixture("golden/mlp_tanh.bin"))
    #expect(
      half.memory.bytes(of: "forward values") < double.memory.bytes(of: "forward values"))
    #expect(half.productOperations == double.productOperations / 2)
  }

  /// Where not all samples' values fit: less memory, more operations. Images of a convolution, whose
  /// values are many more than its weights: for others it is no gain.
  @Test func memoryThatIsTooSmallCostsOperations() throws {
    let samples = 64
    let convolution = #"{"type": "conv2d", "kernel_size": 3, "padding": 1, "out_channels": 8, "#
    let file = try TemporaryCheckpoint(
      model: #"{"type": "sequential", "input_shape": [1, 16, 16], "layers": ["# + convolution
        + #""name": "a", "in_channels": 1}, {"type": "tanh"}, "# + convolution
        + #""name": "b", "in_channels": 8}, {"type": "tanh"}, "#
        + #"{"type": "adaptive_avg_pool2d", "output_size": 1}, {"type": "flatten"}]}"#,
      loss: "cross_entropy"
    ) { writer in
      func numbers(_ count: Int) -> Vector<Double> {
        Vector((0..<count).map { Double($0 % 7 - 3) / 8 })
      }
      writer.add("params.a.weight", shape: [8, 1, 3, 3], numbers(72))
      writer.add("params.a.bias", shape: [8], numbers(8))
      writer.add("params.b.weight", shape: [8, 8, 3, 3], numbers(576))
      writer.add("params.b.bias", shape: [8], numbers(8))
      writer.add("batch.inputs", shape: [samples, 1, 16, 16], numbers(samples * 256))
      writer.add("batch.labels", shape: [samples], integers: (0..<samples).map { Int64($0 % 8) })
    }
    var options = EvaluationOptions()
    // The chunks in work of two threads would be the whole batch.
    options.threads = 1
    options.methods = [.sgd]
    // `auto` would give up double for single precision first, and what the reference may fall back on.
    options.precision = .float32
    options.reference = .none
    let whole = try Evaluation(options).resources(checkpoint: file.path)
    #expect(whole.recomputedSamples == 0)
    options.memory = whole.memory.total - whole.memory.bytes(of: "forward values") / 4
    let part = try Evaluation(options).resources(checkpoint: file.path)
    #expect(part.recomputedSamples > 0 && part.memory.total <= options.memory)
    #expect(
      part.productOperations - whole.productOperations
        == Double(part.recomputedSamples * part.forwardOperations))
    let result = try Evaluation(options).score(checkpoint: file.path)[0]
    #expect(result.recomputedSamples == part.recomputedSamples)
  }

  @Test func amountsAreRounded() {
    #expect(bytes(999) == "999 bytes")
    #expect(bytes(999_999) == "1 MB")
    #expect(bytes(999_400) == "999.4 kB")
    #expect(bytes(1_536_000_000, digits: 3) == "1.54 GB")
    #expect(operations(35.14e9) == "35.1 GFLOP")
    #expect(duration(61) == "61 s")
    #expect(duration(720) == "12 min")
    #expect(duration(7500) == "2 h 5 min")
  }
}
