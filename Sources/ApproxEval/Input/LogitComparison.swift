import Checkpoints
import Curvature
import GraphModule
import TensorModule

/// The logits of a network beside those that a program of the user's has saved for the same samples.
public struct LogitComparison: Sendable, Equatable {
  /// Of the saved ones, which are the first samples of the data.
  public var samples: Int
  /// `max |z - saved|`
  public var largestDifference: Double
  /// `max |saved|`
  public var largestLogit: Double
  /// The sample with the largest difference.
  public var worstSample: Int

  /// The largest difference over the largest logit.
  public var relativeDifference: Double {
    largestLogit > 0 ? largestDifference / largestLogit : largestDifference
  }
}

extension Evaluation {
  /// Compares the logits of a checkpoint with saved ones.
  ///
  /// - Parameter file: An npz, safetensors or PyTorch file with a tensor `logits`, or with a single one:
  ///   the output of the first samples of the data, `[n, ...]`, with its axes as the network has them.
  /// - Throws: `EvaluationError` also where the shapes do not go together.
  public func compareLogits(
    checkpoint path: String, against file: String
  ) throws(EvaluationError) -> LogitComparison {
    try evaluating {
      let checkpoint = try LoadedCheckpoint(path: path, options: options, files: files)
      guard let reader = try checkpoint.reader() else {
        throw EvaluationError.missingBatch(checkpoint: path)
      }
      let saved = try SavedLogits(file, checkpoint, reader, files)
      return options.precision == .float64
        ? try compare(checkpoint, reader, saved, Double.self)
        : try compare(checkpoint, reader, saved, Float.self)
    }
  }

  private func compare<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _ reader: BatchReader, _ saved: SavedLogits, _: S.Type
  ) throws -> LogitComparison {
    var result = LogitComparison(
      samples: saved.samples, largestDifference: 0, largestLogit: 0, worstSample: 0)
    let parameters = try checkpoint.parameters(S.self, areRead: true, pool: pool)
    let size = checkpoint.program.graph.outputShape.reduce(1, *)
    for first in stride(from: 0, to: saved.samples, by: 64) {
      let samples = Array(first..<min(first + 64, saved.samples))
      let batch = try reader.read(samples, S.self)
      let linearization = Linearization(
        program: checkpoint.program, layerProgram: checkpoint.layerProgram, parameters: parameters,
        inputs: batch.inputs, pool: pool, budget: options.memory / 2)
      for chunk in linearization.schedule.chunks {
        let logits = linearization.logits(chunk)
        for n in 0..<chunk.count {
          for i in 0..<size {
            let expected = saved.values[(first + chunk.first + n) * size + i]
            let difference = abs(Double(logits[n * size + i]) - expected)
            result.largestLogit = max(result.largestLogit, abs(expected))
            // NaN is the largest of all.
            if !(difference <= result.largestDifference) {
              (result.largestDifference, result.worstSample) = (difference, first + chunk.first + n)
            }
          }
        }
      }
    }
    return result
  }
}

/// Logits of a file in the order of the engine, `[n, O C]`.
private struct SavedLogits {
  let samples: Int
  let values: [Double]

  init(
    _ path: String, _ checkpoint: LoadedCheckpoint, _ reader: BatchReader, _ files: InputFiles
  ) throws {
    let archive = try TensorArchive.open(path, files: files)
    let tensor =
      archive.tensors.count == 1 ? archive.tensors.values.first! : try archive.tensor("logits")
    try tensor.requireFloatingPoint()
    let graph = checkpoint.program.graph
    var own = graph.outputShape
    // As the network itself has them: the classes are where it puts them.
    let axis = checkpoint.model.classAxis ?? own.count - 1
    own.insert(own.removeLast(), at: axis)
    let count = tensor.shape.first ?? 0
    guard count > 0, count <= reader.data.count,
      tensor.shape.dropFirst().reduce(1, *) == own.reduce(1, *),
      own.count == 1 || Array(tensor.shape.dropFirst()) == own
    else {
      throw CheckpointError(
        .shapeMismatch(found: tensor.shape, expected: [reader.data.count] + own),
        at: tensor.location,
        hint: "They are the network's output for the first samples of the data, or for all.")
    }
    samples = count
    let stored = try tensor.vector(of: Double.self).array
    guard axis != own.count - 1 else {
      values = stored
      return
    }
    let (before, classes) = (own[..<axis].reduce(1, *), own[axis])
    let behind = own[(axis + 1)...].reduce(1, *)
    var values = stored
    for outer in 0..<count * before {
      for c in 0..<classes {
        for inner in 0..<behind {
          values[(outer * behind + inner) * classes + c] =
            stored[(outer * classes + c) * behind + inner]
        }
      }
    }
    self.values = values
  }
}
