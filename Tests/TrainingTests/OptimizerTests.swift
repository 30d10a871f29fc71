import Checkpoints
import Foundation
import GraphModule
import Models
import TensorModule
import TestSupport
import Testing
import Updates

@testable import Training

/// SGD, Adam, AdamW and Adafactor against the parameters that torch.optim leaves after each of five
/// steps, in double (fixtures/make_training.py). The gradients fall from 1 to 1e-4.
struct OptimizerTests {
  struct Fixture: Decodable {
    struct Settings: Decodable {
      let lr: Double
      let weightDecay: Double?
      let momentum: Double?
      let nesterov: Bool?
      let betas: [Double]?
      let eps: Double?
    }
    struct Run: Decodable {
      let optimizer: String
      let settings: Settings
      let after: [[String: [Double]]]
    }
    let start: [String: [Double]]
    let gradients: [[String: [Double]]]
    let runs: [Run]

    static let whole: Fixture = try! read("training/optimizers.json")
  }

  @Test(arguments: 0..<10)
  func stepsAreThoseOfTorch(_ index: Int) throws {
    let fixture = Fixture.whole
    #expect(fixture.runs.count == 10)
    let run = fixture.runs[index]
    let program = try program()
    let layout = ParameterLayout(program)
    for threads in [1, 3] {
      let operations = VectorOperations<Double>(
        pool: WorkerPool(threads: threads), count: layout.count)
      var optimizer = try settings(run).makeOptimizer(
        layout, operations, precision: Double.ulpOfOne)
      let theta = vector(fixture.start, layout)
      for (step, expected) in run.after.enumerated() {
        optimizer.step(
          theta, vector(fixture.gradients[step], layout), learningRate: run.settings.lr)
        // Sums of at most 36 terms and a few roots and quotients: some ulps, each step anew.
        let problem = mismatch(theta.array, vector(expected, layout).array, tolerance: 1e-13)
        #expect(problem == nil, "\(run.optimizer) \(run.settings), step \(step + 1)")
      }
    }
  }

  /// Ten steps of the real one, with gradients that fall to a ten-thousandth and rows and entries that
  /// never have any.
  @Test(arguments: 0..<3)
  func stepsAreThoseOfTransformersAdafactor(_ index: Int) throws {
    struct Fixture: Decodable {
      struct Settings: Decodable {
        let lr: Double
        let weightDecay: Double?
        let decayRate: Double?
        let clipThreshold: Double?
        let eps: Double?
      }
      struct Run: Decodable {
        let settings: Settings
        let after: [String: [String: [Double]]]
      }
      let start: [String: [Double]]
      let gradients: [[String: [Double]]]
      let runs: [Run]
    }
    let fixture: Fixture = try read("training/adafactor.json")
    #expect(fixture.runs.count == 3 && fixture.gradients.count == 10)
    let run = fixture.runs[index]
    #expect(run.after.keys.sorted() == ["1", "10", "2"])
    var settings = OptimizerSettings(.transformersAdafactor)
    settings.weightDecay = run.settings.weightDecay ?? settings.weightDecay
    settings.decayRate = run.settings.decayRate ?? settings.decayRate
    settings.clipThreshold = run.settings.clipThreshold ?? settings.clipThreshold
    settings.epsilon = run.settings.eps ?? settings.epsilon
    let layout = ParameterLayout(try program())
    for threads in [1, 3] {
      let operations = VectorOperations<Double>(
        pool: WorkerPool(threads: threads), count: layout.count)
      var optimizer = settings.makeOptimizer(layout, operations, precision: Double.ulpOfOne)
      let theta = vector(fixture.start, layout)
      for (step, gradient) in fixture.gradients.enumerated() {
        optimizer.step(theta, vector(gradient, layout), learningRate: run.settings.lr)
        guard let expected = run.after["\(step + 1)"] else { continue }
        // As above, over ten steps.
        let problem = mismatch(theta.array, vector(expected, layout).array, tolerance: 1e-13)
        #expect(problem == nil, "\(run.settings), step \(step + 1)")
      }
    }
  }

  private func settings(_ run: Fixture.Run) throws -> OptimizerSettings {
    var settings = OptimizerSettings(try #require(OptimizerKind(rawValue: run.optimizer)))
    let given = run.settings
    settings.learningRate = given.lr
    settings.weightDecay = given.weightDecay ?? settings.weightDecay
    settings.momentum = given.momentum ?? 0
    settings.isNesterov = given.nesterov ?? false
    if let betas = given.betas { settings.betas = (betas[0], betas[1]) }
    settings.epsilon = given.eps ?? settings.epsilon
    return settings
  }

  /// With a convolution, whose weight the engine stores in an order of its own.
  private func program() throws -> Program {
    let layers =
      #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 3, "kernel_size": [2, 3]}, "#
      + #"{"type": "flatten"}, "# + linear("h", 3, 4)
    let json = #"{"type": "sequential", "input_shape": [2, 2, 3], "layers": [\#(layers)]}"#
    let model = try Model(JSONValue(parsing: json, name: "model", file: nil))
    return Program(graph: model.graph) { _ in true }
  }

  private func vector(_ tensors: [String: [Double]], _ layout: ParameterLayout) -> Vector<Double> {
    let result = Vector<Double>(count: layout.count)
    for entry in layout.entries {
      let values = Vector(tensors[entry.spec.name]!)
      entry.spec.reorder(values.pointer, into: result.pointer + entry.range.lowerBound)
    }
    return result
  }
}

/// A JSON file under fixtures/, keys there in snake case.
func read<Value: Decodable>(_ name: String) throws -> Value {
  let decoder = JSONDecoder()
  decoder.keyDecodingStrategy = .convertFromSnakeCase
  return try decoder.decode(
    Value.self, from: Data(contentsOf: URL(fileURLWithPath: fixture(name))))
}
