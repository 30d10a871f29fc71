import Checkpoints
import Foundation
import GraphModule
import TensorModule
import Training

/// What an optimiser has at hand when it steps: a parameter, the gradient of the batch, and what it
/// remembers. Everything is in the order of the file.
struct ParameterStep {
  let spec: ParameterSpec
  /// The mean gradient of the batch, its negative where the optimiser maximises; may be written to.
  let gradient: Vector<Double>
  let group: GroupSettings
  let state: ParameterState
  /// theta
  let readParameter: () throws(CheckpointError) -> Vector<Double>

  var count: Int { gradient.count }
  var shape: [Int] { spec.shape }
  var learningRate: Double { group.learningRate }

  /// A tensor of the parameter's shape.
  func moment(_ key: String) throws(CheckpointError) -> Vector<Double> {
    try state.vector(key, shape: shape)
  }

  /// A tensor of the parameter's shape whose entries are squares or sums of them.
  func squares(_ key: String) throws(CheckpointError) -> Vector<Double> {
    try state.squares(key, shape: shape)
  }

  /// The number of the step that comes next.
  func nextStep() throws(CheckpointError) -> Double { try state.number("step", .notNegative) + 1 }

  /// The same for optimisers that count in the group.
  func nextGroupStep() throws(CheckpointError) -> Double {
    try group.number("step", .notNegative) + 1
  }
}

/// The state of one parameter.
struct ParameterState: Sendable {
  let archive: TensorArchive
  /// `optimizer.state.3`
  let place: String
  let keys: Set<String>

  init(_ file: OptimizerFile, _ slot: OptimizerFile.Slot) {
    archive = file.archive
    place = "\(file.prefix)state.\(slot.key)"
    keys = slot.stateKeys
  }

  /// Whether there is more than None.
  func isGiven(_ key: String) -> Bool {
    keys.contains(key) && archive.metadata["\(place).\(key)"] != "null"
  }

  func tensor(_ key: String) throws(CheckpointError) -> StoredTensor {
    let name = "\(place).\(key)"
    guard let tensor = archive.tensors[name] else {
      throw CheckpointError(.missingTensor(name, near: []), at: .init(file: archive.path))
    }
    return tensor
  }

  func shape(_ key: String) -> [Int]? { archive.tensors["\(place).\(key)"]?.shape }

  /// Finite numbers, row-major.
  func vector(_ key: String, shape: [Int]) throws(CheckpointError) -> Vector<Double> {
    let tensor = try tensor(key)
    try tensor.requireShape(shape)
    try tensor.requireFloatingPoint()
    return try tensor.finiteVector(of: Double.self)
  }

  func squares(_ key: String, shape: [Int]) throws(CheckpointError) -> Vector<Double> {
    let values = try vector(key, shape: shape)
    for i in 0..<values.count where values.pointer[i] < 0 {
      throw CheckpointError(
        .unexpectedValue(
          "entry \(i)", found: "\(values.pointer[i])", expected: "a number that is at least 0"),
        at: try tensor(key).location,
        hint: "A mean of squares is not negative: the file is damaged.")
    }
    return values
  }

  func number(_ key: String, _ domain: GroupSettings.Domain) throws(CheckpointError) -> Double {
    try archive.number("\(place).\(key)", domain)
  }
}

// MARK: - Means

/// `mean = beta mean + (1 - beta) x`
func average(_ mean: Vector<Double>, _ x: Vector<Double>, _ beta: Double) {
  for i in 0..<mean.count {
    mean.pointer[i] = beta * mean.pointer[i] + (1 - beta) * x.pointer[i]
  }
}

/// `mean = beta mean + (1 - beta) x^2`
func averageSquares(_ mean: Vector<Double>, _ x: Vector<Double>, _ beta: Double) {
  for i in 0..<mean.count {
    mean.pointer[i] = beta * mean.pointer[i] + (1 - beta) * x.pointer[i] * x.pointer[i]
  }
}

/// `1 - beta^t`, which would cancel for few steps with a beta near 1.
func biasCorrection(_ beta: Double, _ step: Double) -> Double { -expm1(step * log(beta)) }

func rootMeanSquare(_ x: Vector<Double>) -> Double {
  rootMeanSquare(x.pointer, count: x.count)
}
