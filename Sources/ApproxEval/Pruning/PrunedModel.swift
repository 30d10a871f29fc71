import Checkpoints
import Curvature
import GraphModule
import TensorModule

/// A model whose prunable weights change, and nothing else: measured, and written as a checkpoint.bin.
struct PrunedModel<S: EngineScalar> {
  private let checkpoint: LoadedCheckpoint
  private let weights: PrunableWeights
  private let reader: BatchReader
  private let options: PruningOptions
  /// Of its own where weights change, otherwise those of the source.
  private let store: ParameterStore<S>
  /// Weights that are in double here and in single precision in the file.
  private let rounded: Set<ParameterID>

  init(
    _ checkpoint: LoadedCheckpoint, _ weights: PrunableWeights, _ parameters: ParameterStore<S>,
    _ reader: BatchReader, _ options: PruningOptions
  ) throws {
    (self.checkpoint, self.weights, self.reader, self.options) = (
      checkpoint, weights, reader, options
    )
    store = parameters.replacing(
      Dictionary(
        uniqueKeysWithValues: weights.tensors.map {
          ($0.index, parameters.vector($0.index).copy())
        }))
    let names = checkpoint.program.graph.parameters.map(\.name)
    rounded = Set(
      try weights.tensors.filter {
        try S.self == Double.self && checkpoint.source.parameter(names[$0.index]).dtype != .f64
      })
  }

  /// Takes the weights as the file will have them.
  func set(_ values: Vector<Double>) {
    weights.set(values, in: store)
    for tensor in rounded {
      let vector = store.vector(tensor.index)
      for i in 0..<vector.count { vector.pointer[i] = S(Float(vector.pointer[i])) }
    }
  }

  /// - Parameter isWhole: Whether nothing has been removed yet: then logits that are no numbers are an
  ///   error, and afterwards a result.
  func measure(_ samples: [Int], _ pool: WorkerPool, isWhole: Bool) throws -> LossMeasure {
    do {
      return try LossMeasure(samples) { group in
        try BatchProblem(
          checkpoint, parameters: store, batch: reader.read(group, S.self), pool: pool, budget: 0)
      }
    } catch EvaluationError.nonFiniteLogits where !isWhole {
      return LossMeasure(loss: .nan, accuracy: nil)
    }
  }

  func write(to path: String) throws {
    let parameters = checkpoint.program.graph.parameters
    let writer = try PackedCheckpoint.writer(
      checkpoint, options.loading, carried: (reader, carried)
    ) { index, name, writer in
      let tensor = ParameterID(index: index)
      guard weights.tensors.contains(tensor) else { return false }
      let spec = parameters[index]
      let ordered = Vector<S>(count: spec.count)
      spec.reorder(store.vector(index).pointer, into: ordered.pointer, toFile: true)
      if rounded.contains(tensor) {
        let single = Vector<Float>(count: spec.count)
        for i in 0..<spec.count { single.pointer[i] = Float(ordered.pointer[i]) }
        writer.add(name, shape: spec.shape, single)
      } else {
        writer.add(name, shape: spec.shape, ordered)
      }
      return true
    }
    try writer.write(to: path)
  }

  /// The batch of the checkpoint, or of a data file what `score` would draw first, as `train` has it.
  private var carried: [Int]? {
    guard options.evaluation.dataFile != nil else { return nil }
    let count = reader.data.count
    return sampleWithoutReplacement(
      count: min(EvaluationOptions.usualBatchSize, count), from: count,
      seed: options.evaluation.seed, batch: 0)
  }
}
