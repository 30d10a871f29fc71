import TensorModule
import Updates

/// One solve of a batch: `(F + mu I) x = g`.
struct ReferenceTask<S: EngineScalar> {
  let gradients: BatchGradients<S>
  /// mu
  let damping: Double
  /// That an iterative solver may take.
  let iterations: Int
  /// Where another solver could take over.
  var outlook: ReferenceOutlook?
}

/// What a `ReferenceMethod` does.
protocol ReferenceSolving: Sendable {
  func solve<S: EngineScalar>(
    _ task: ReferenceTask<S>, of batch: BatchReference<S>
  ) throws -> ReferenceSolution<S>
}
