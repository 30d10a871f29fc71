import Checkpoints
import Curvature
import Updates

/// Methods that a set of methods names and a checkpoint is too large for: solves for blocks of its Fisher matrix
/// would take far longer than everything else.
public struct DisproportionateMethods: Sendable, Equatable {
  /// In the order of the options.
  public var methods: [UpdateMethod]
  /// Multiplications and additions that they may take on a batch, of the checkpoint where these are most.
  public var operations: Double
  /// Those of everything else there.
  public var otherOperations: Double

  /// What their solves may take at the most and still be worth it, whatever the rest of a batch takes: some
  /// minutes.
  static var fewOperations: Double { 0x1p46 }
  /// And as a multiple of the rest.
  static var patience: Double { 10 }

  /// In a sentence or two, for people.
  public var note: String {
    let names = methods.map(\.name).joined(separator: ", ")
    let (own, other) = (
      shortened(operations, digits: 2), shortened(otherOperations, digits: 2)
    )
    return
      "left out of a set of methods: \(names), whose solves for blocks of the Fisher matrix may take \(own) "
      + "operations a batch, beside \(other) of everything else. Named beside the set they are scored; "
      + "layer-sf and block-sf have the same blocks from sampled labels"
  }
}

extension Evaluation {
  /// Those of some methods that are out of proportion on one of the checkpoints, by shapes and settings alone;
  /// `nil` if none is. Checkpoints with which something is wrong are passed over.
  public func disproportionate(
    _ candidates: [UpdateMethod], _ inputs: [CheckpointInput]
  ) -> DisproportionateMethods? {
    disproportionate(candidates, inputs, fewOperations: DisproportionateMethods.fewOperations)
  }

  func disproportionate(
    _ candidates: [UpdateMethod], _ inputs: [CheckpointInput], fewOperations: Double
  ) -> DisproportionateMethods? {
    let solving = candidates.filter { $0.needs.fisherBlocks != nil }
    if solving.isEmpty { return nil }
    var rest = options
    rest.methods.removeAll { solving.contains($0) }
    var found: DisproportionateMethods?
    for input in inputs {
      let own = of(input)
      guard
        let checkpoint = try? LoadedCheckpoint(
          path: input.path, options: own.options, files: files),
        let samples = try? own.source(checkpoint).samples(0).count
      else { continue }
      let other = rest.of(input).operations(checkpoint, samples: samples)
      let long = solving.compactMap { method -> (UpdateMethod, Double)? in
        let operations = own.options.blockSolveOperations(method, checkpoint, samples: samples)
        let limit = max(fewOperations, DisproportionateMethods.patience * other)
        return operations > limit ? (method, operations) : nil
      }
      if long.isEmpty { continue }
      let operations = long.reduce(0) { $0 + $1.1 }
      let before = found?.methods ?? []
      if operations > found?.operations ?? 0 {
        found = DisproportionateMethods(
          methods: [], operations: operations, otherOperations: other)
      }
      let methods = before + long.map(\.0)
      found?.methods = solving.filter(methods.contains)
    }
    return found
  }
}

extension EvaluationOptions {
  fileprivate func estimate(_ checkpoint: LoadedCheckpoint, _ samples: Int) -> ResourceEstimate {
    // A fixed number of threads: nothing may depend on the machine.
    var options = self
    options.threads = 4
    return ResourceEstimate(checkpoint, samples: samples, options: options, updates: [])
  }

  /// Of the solves of one method's blocks.
  fileprivate func blockSolveOperations(
    _ method: UpdateMethod, _ checkpoint: LoadedCheckpoint, samples: Int
  ) -> Double {
    var options = self
    options.methods = [method]
    return options.estimate(checkpoint, samples).blockSolveOperations
  }
}
