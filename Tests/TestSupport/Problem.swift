import Foundation

/// Labels of a batch: class numbers with -100 for positions that are not scored, or targets.
package enum OracleLabels: Sendable {
  /// `[N O]`
  case classes([Int])
  /// `[N O C]`
  case real([Double])
}

/// One row of the case list: a model, a loss and what is trained, without numbers.
package struct Case: Sendable, CustomStringConvertible {
  package var name: String
  /// The checkpoint's `model`.
  package var model: String
  package var loss = "cross_entropy"
  /// Names of trainable parameters; empty: all.
  package var trainable: [String] = []
  package var samples = 3
  /// Leaves the labels of some positions out: a whole sample of the last position and one more.
  package var ignores = false
  package var weights: [OracleWeighting.Part] = []
  package var seed: UInt64 = 1

  package init(
    _ name: String, input: [Int], _ layers: String, loss: String = "cross_entropy",
    trainable: [String] = [], samples: Int = 3, ignores: Bool = false,
    weights: [OracleWeighting.Part] = [], seed: UInt64 = 1
  ) {
    self.name = name
    model = #"{"type": "sequential", "input_shape": \#(input), "layers": [\#(layers)]}"#
    self.loss = loss
    self.trainable = trainable
    self.samples = samples
    self.ignores = ignores
    self.weights = weights
    self.seed = seed
  }

  /// What the test log shows; the seed makes a failure repeatable.
  package var description: String {
    let parts = weights.map { ", " + $0.rawValue }.joined()
    return "\(name), \(loss)\(parts), N = \(samples), seed \(seed)"
  }
}

/// A case with its numbers, all of them exact in single precision.
package struct Problem {
  package let model: OracleModel
  package let json: String
  package let loss: String
  package let samples: Int
  package let trainable: Set<String>
  package var parameters: [String: [Double]] = [:]
  /// `[N]` of one sample each; whole numbers for an embedding.
  package var inputs: [[Double]] = []
  package var labels: OracleLabels
  package var weighting = OracleWeighting()
  package let outputShape: [Int]

  package init(_ test: Case) {
    var random = SeededGenerator(seed: test.seed)
    model = OracleModel(test.model)
    json = test.model
    loss = test.loss
    samples = test.samples
    let names = model.parameters.filter { !$0.isBuffer }.map(\.name)
    trainable = Set(test.trainable.isEmpty ? names : test.trainable)
    precondition(trainable.isSubset(of: names), "\(test.name): trains \(trainable) of \(names)")
    for parameter in model.parameters {
      var values = random.normals(parameter.count, scale: 0.6)
      if parameter.name.hasSuffix("running_var") { values = values.map { 0.5 + abs($0) } }
      if parameter.shape.count == 1, parameter.name.hasSuffix("weight") {
        values = values.map { Double(Float(1 + $0)) }
      }
      parameters[parameter.name] = values.map { Double(Float($0)) }
    }
    let size = model.inputShape.reduce(1, *)
    for _ in 0..<samples {
      inputs.append(
        model.tokenBound.map { bound in
          (0..<size).map { _ in Double(Int.random(in: 0..<bound, using: &random)) }
        } ?? random.normals(size))
    }
    let output = model.logits(inputs[0], parameters.mapValues { $0.map { Dual($0) } })
    outputShape = output.shape
    let classes = output.shape.last!
    let positions = output.count / classes
    switch loss {
    case "cross_entropy":
      var drawn = (0..<samples * positions).map { _ in Int.random(in: 0..<classes, using: &random) }
      if test.ignores {
        drawn[drawn.count - 1] = -100
        for o in 0..<positions where samples > 1 { drawn[positions + o] = -100 }
      }
      labels = .classes(drawn)
    case "mse": labels = .real(random.normals(samples * output.count))
    default:
      // Hard and soft targets.
      labels = .real((0..<samples * output.count).map { [0.0, 1.0, 0.25][$0 % 3] })
    }
    if test.weights.contains(.softLabels) {
      labels = .real(
        (0..<samples * positions).flatMap { row in
          // The first label is of one class.
          let shares = (0..<classes).map {
            Double(row == 0 ? ($0 == 0 ? 1 : 0) : 1 + (row + $0) % 3)
          }
          return shares.map { $0 / shares.reduce(0, +) }
        })
    }
    weighting = OracleWeighting(
      test.weights, samples: samples, positions: positions, classes: classes)
  }

  /// A problem with given numbers, such as those of a file.
  package init(
    json: String, loss: String, trainable: Set<String>?, parameters: [String: [Double]],
    inputs: [[Double]], labels: OracleLabels
  ) {
    model = OracleModel(json)
    (self.json, self.loss, self.parameters) = (json, loss, parameters)
    (self.inputs, self.labels, samples) = (inputs, labels, inputs.count)
    self.trainable =
      trainable ?? Set(model.parameters.filter { !$0.isBuffer }.map(\.name))
    outputShape = model.logits(inputs[0], parameters.mapValues { $0.map { Dual($0) } }).shape
  }

  /// The same with parameters off by `size` of themselves, up or down.
  package func rounded(_ size: Double, seed: UInt64 = 5) -> Problem {
    var (result, random) = (self, SeededGenerator(seed: seed))
    for parameter in trained {
      result.parameters[parameter.name] = parameters[parameter.name]!.map {
        $0 * (1 + (Bool.random(using: &random) ? size : -size))
      }
    }
    return result
  }

  package var classes: Int { outputShape.last! }
  package var positions: Int { outputShape.dropLast().reduce(1, *) }
  package var logitCount: Int { outputShape.reduce(1, *) }
  /// Trainable parameters in the oracle's order; directions are their concatenation.
  package var trained: [OracleModel.Parameter] {
    model.parameters.filter { trainable.contains($0.name) }
  }
  package var parameterCount: Int { trained.reduce(0) { $0 + $1.count } }

  /// Values and directional derivatives of one sample's logits.
  package func logits(_ sample: Int, along direction: [Double]? = nil) -> [Dual] {
    var values = parameters.mapValues { $0.map { Dual($0) } }
    if let direction {
      var offset = 0
      for parameter in trained {
        for i in 0..<parameter.count {
          values[parameter.name]![i].derivative = direction[offset + i]
        }
        offset += parameter.count
      }
    }
    return model.logits(inputs[sample], values).values
  }

  /// `J_n v` for all samples, `[N O C]`.
  package func jvp(_ direction: [Double]) -> [Double] {
    (0..<samples).flatMap { logits($0, along: direction).map(\.derivative) }
  }

  /// Labels as if drawn from the model, for `draws` draws.
  package func drawnLabels(_ draws: Int, seed: UInt64) -> [OracleLabels] {
    var random = SeededGenerator(seed: seed)
    return (0..<draws).map { _ in
      switch labels {
      case .classes(let known):
        return .classes(
          known.map { $0 < 0 ? -100 : Int.random(in: 0..<classes, using: &random) })
      case .real where loss == "cross_entropy":
        return .classes(
          (0..<samples * positions).map { _ in Int.random(in: 0..<classes, using: &random) })
      case .real(let targets):
        return .real(
          loss == "mse"
            ? random.normals(targets.count)
            : targets.map { _ in Bool.random(using: &random) ? 1 : 0 })
      }
    }
  }
}
