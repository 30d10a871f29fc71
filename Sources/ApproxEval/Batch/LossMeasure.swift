import Curvature
import TensorModule
import Training

/// What a model does on some samples.
public struct LossMeasure: Sendable, Equatable {
  /// Mean over scored positions.
  public let loss: Double
  /// Share of right decisions; `nil` for `mse`.
  public let accuracy: Double?

  init(loss: Double, accuracy: Double?) {
    self.loss = loss
    self.accuracy = accuracy
  }

  /// Samples of one forward pass.
  static var together: Int { 256 }

  /// - Parameters:
  ///   - samples: Each with something that is scored.
  ///   - problem: Some of them, at the parameters that are measured.
  init<S: EngineScalar>(_ samples: [Int], _ problem: ([Int]) throws -> BatchProblem<S>) throws {
    var (loss, weight) = (0.0, 0.0)
    var accuracy = Accuracy()
    for start in stride(from: 0, to: samples.count, by: Self.together) {
      let problem = try problem(Array(samples[start..<min(start + Self.together, samples.count)]))
      loss += problem.output.totalLoss
      weight += problem.output.positionWeight
      accuracy += Accuracy(problem.labels, loss: problem.output.loss, problem.linearization)
    }
    self.init(loss: loss / weight, accuracy: accuracy.share)
  }
}
