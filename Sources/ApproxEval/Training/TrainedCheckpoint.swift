import Checkpoints
import GraphModule
import TensorModule
import Training

/// Writes the states of a training run as self-contained checkpoints: what is trained in the
/// engine's precision, everything else as its source has it.
struct TrainedCheckpoint<S: EngineScalar> {
  let checkpoint: LoadedCheckpoint
  let reader: BatchReader
  /// Samples that each file carries.
  let carried: [Int]
  let options: EvaluationOptions

  func write(_ parameters: ParameterStore<S>, epoch: Int, step: Int, to path: String) throws {
    let program = checkpoint.program
    let writer = try PackedCheckpoint.writer(
      checkpoint, options, epoch: epoch, step: step,
      carried: carried.isEmpty ? nil : (reader, carried)
    ) { index, name, writer in
      if program.offsets[index] == nil { return false }
      let spec = program.graph.parameters[index]
      let ordered = Vector<S>(count: spec.count)
      spec.reorder(parameters.vector(index).pointer, into: ordered.pointer, toFile: true)
      writer.add(name, shape: spec.shape, ordered)
      return true
    }
    try writer.write(to: path)
  }
}
