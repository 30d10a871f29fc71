import Checkpoints
import Foundation
import TensorModule
import TestSupport
import Testing

@testable import ApproxEval

/// States of PyTorch optimisers, against the steps that PyTorch itself has taken
/// (fixtures/make_optimizer.py).
struct OptimizerStateTests {
  private static let folder = "data/optimizer/"
  private static let checkpoint = fixture(folder + "checkpoint.bin")

  @Test(arguments: ["adam", "adamw", "amsgrad", "groups", "momentum", "named", "checkpoint"])
  func directionIsTheStepOfTheOptimiser(_ name: String) throws {
    let expected = try expectedDirection(name)
    let state = try OptimizerState.open(fixture(Self.folder + name + ".pt"))
    #expect(state.name == (name == "momentum" ? "momentum-state" : "adam-state"))
    let loaded = try LoadedCheckpoint(path: Self.checkpoint, options: EvaluationOptions())
    try state.check(loaded)
    func check<S: EngineScalar>(_: S.Type, _ tolerance: Double) throws {
      let direction = try state.direction(loaded, S.self, pool: WorkerPool(threads: 1)).vector()
      let found = direction.vector.array.map { Double($0) * direction.scale }
      #expect(mismatch(found, expected, tolerance: tolerance) == nil)
    }
    // The step is a difference of parameters of the order of 1.
    try check(Double.self, 1e-14)
    try check(Float.self, 1e-7)
  }

  @Test func itIsScoredLikeADirectionFromAFile() throws {
    var options = EvaluationOptions()
    options.optimizerState = fixture(Self.folder + "adam.pt")
    options.methods = [.sgd]
    options.precision = .float64
    let scores = try Evaluation(options).score(checkpoint: Self.checkpoint)[0].scores
    #expect(scores.map(\.method) == ["sgd", "update:adam-state", "ng"])
    #expect(scores[1].gamma > scores[2].gamma)
    let expected = try expectedDirection("adam")
    #expect(
      mismatch(scores[1].updateNorm, dot(expected, expected).squareRoot(), tolerance: 1e-13) == nil)
  }

  @Test func frozenParametersTakeNoPart() throws {
    var options = EvaluationOptions()
    options.trainable = ["2.*"]
    let loaded = try LoadedCheckpoint(path: Self.checkpoint, options: options)
    let state = try OptimizerState.open(fixture(Self.folder + "adam.pt"))
    let direction = try state.direction(loaded, Double.self, pool: WorkerPool(threads: 1)).vector()
    let found = direction.vector.array.map { $0 * direction.scale }
    // The last layer, 4 x 3 and 3, is the last part of the direction.
    #expect(
      mismatch(found, Array(try expectedDirection("adam").suffix(15)), tolerance: 1e-14) == nil)
  }

  /// States in another order than the model's, by the names that PEFT gives. The gradient of tensor j,
  /// in alphabetical order, was j + 1 everywhere and eps 1.
  @Test func namesOfPEFTFindTheirParameters() throws {
    var options = EvaluationOptions()
    options.adapter = fixture("hf/t5_lora/adapter")
    options.dataFile = fixture("hf/t5_lora/data.safetensors")
    let loaded = try LoadedCheckpoint(path: fixture("hf/t5_lora/base"), options: options)
    let state = try OptimizerState.open(fixture(Self.folder + "t5_lora.pt"))
    let direction = try state.direction(loaded, Double.self, pool: WorkerPool(threads: 1)).vector()
    let program = loaded.program
    let specs = program.trainable.map { program.graph.parameters[$0.index] }
    let names = specs.map(\.name).sorted()
    #expect(names.count == 24)
    for parameter in program.trainable {
      let spec = program.graph.parameters[parameter.index]
      let j = try #require(names.firstIndex(of: spec.name))
      let offset = program.offsets[parameter.index]!
      let found = (offset..<offset + spec.count).map {
        direction.vector[$0] * direction.scale
      }
      let expected = [Double](repeating: Double(j + 1) / Double(j + 2), count: spec.count)
      // Moments in float32.
      #expect(mismatch(found, expected, tolerance: 1e-6) == nil, "\(spec.name)")
    }
  }

  // MARK: - Errors

  @Test(arguments: [
    (
      "nadam",
      """
      param_groups.0 is the settings of NAdam, expected those of Adam or AdamW
        at FILE
      """
    ),
    (
      "radam",
      """
      param_groups.0 is the settings of RAdam, expected those of Adam or AdamW
        at FILE
      """
    ),
  ])
  func otherOptimisersAreNamed(_ name: String, _ message: String) throws {
    let path = fixture(Self.folder + name + ".pt")
    let error = try #require(throws: CheckpointError.self) { try OptimizerState.open(path) }
    #expect(error.description == message.replacing("FILE", with: path))
  }

  @Test func aStateDictOfAModelHasNoState() throws {
    let path = fixture("data/torch/small.pt")
    let error = try #require(throws: CheckpointError.self) { try OptimizerState.open(path) }
    #expect(
      error.description == """
        there is no tensor state.<index>.exp_avg
          at \(path)
          The state of Adam, AdamW or SGD with momentum is read, after at least one step.
        """)
  }

  @Test func aSafetensorsFileIsNoState() throws {
    let error = try #require(throws: CheckpointError.self) {
      try OptimizerState.open(Self.checkpoint)
    }
    #expect(
      error.description == """
        this is a safetensors file, expected a PyTorch file
          at \(Self.checkpoint)
          Save it with torch.save(optimizer.state_dict(), ...).
        """)
  }

  @Test func aStateOfAnotherModelIsRefused() throws {
    let path = fixture(Self.folder + "adam.pt")
    let state = try OptimizerState.open(path)
    let other = try LoadedCheckpoint(
      path: fixture("golden/mlp_tanh.bin"), options: EvaluationOptions())
    let error = try #require(throws: CheckpointError.self) { try state.check(other) }
    #expect(
      error.description == """
        param_groups is 4 parameters, expected 6
          at \(path)
          The optimiser belongs to another model.
        """)
    let similar = try LoadedCheckpoint(
      path: fixture("golden/mse_mlp.bin"), options: EvaluationOptions())
    let shape = try #require(throws: CheckpointError.self) { try state.check(similar) }
    #expect(
      shape.description == """
        shape is [4, 3], expected [7, 5]
          at \(path), tensor state.0.exp_avg
        """)
  }

  @Test func aTransformerNeedsNames() throws {
    let path = fixture(Self.folder + "adam.pt")
    var options = EvaluationOptions()
    options.adapter = fixture("hf/vit_lora/adapter")
    options.dataFile = fixture("hf/vit_lora/data.safetensors")
    let vit = try LoadedCheckpoint(path: fixture("hf/vit_lora/base"), options: options)
    let error = try #require(throws: CheckpointError.self) {
      try OptimizerState.open(path).check(vit)
    }
    #expect(
      error.description == """
        param_groups.0.param_names is missing
          at \(path)
          Which state belongs to which parameter of a vit model is told by names: make the optimiser \
        with model.named_parameters(), or add the list to the file.
        """)
  }

  /// In the order of the checkpoint's parameters.
  private func expectedDirection(_ name: String) throws -> [Double] {
    let data = try Data(contentsOf: URL(fileURLWithPath: fixture(Self.folder + "directions.json")))
    let all = try JSONDecoder().decode([String: [String: [Double]]].self, from: data)
    let own = try #require(all[name])
    return try ["0.weight", "0.bias", "2.weight", "2.bias"].flatMap { try #require(own[$0]) }
  }
}
