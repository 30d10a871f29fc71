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
    var writer = SafetensorsWriter(
      metadata: try PackedCheckpoint.metadata(checkpoint, options, epoch: epoch, step: step))
    let program = checkpoint.program
    for (index, spec) in program.graph.parameters.enumerated() {
      let name = "params." + spec.name
      if program.offsets[index] == nil {
        writer.add(name, try checkpoint.source.parameter(spec.name))
      } else {
        let ordered = Vector<S>(count: spec.count)
        spec.reorder(parameters.vectors[index].pointer, into: ordered.pointer, toFile: true)
        writer.add(name, shape: spec.shape, ordered)
      }
    }
    PackedCheckpoint.addProgram(checkpoint, to: &writer)
    if !carried.isEmpty { PackedCheckpoint.add(reader, carried, to: &writer) }
    try writer.write(to: path)
  }
}
