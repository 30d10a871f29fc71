import Curvature
import TensorModule
import Updates

// What of a batch is told in counts.
extension BatchEvaluation {
  func sampledLabels(
    _ samples: SampleProblem<S>, _ gradients: BatchGradients<S>
  ) -> SampledLabelCount? {
    if gradients.sampled.isEmpty { return nil }
    return samples.output.changedLabels(of: gradients.sampled, truth: samples.labels).map {
      SampledLabelCount(changed: $0.changed, all: $0.all)
    }
  }

  func duplicates(_ gradients: BatchGradients<S>) -> DuplicateCount? {
    if options.dropDuplicates == nil { return nil }
    return DuplicateCount(
      samples: gradients.leftOut.count, sampled: gradients.sampledLeftOut.count,
      draws: gradients.draws * gradients.samples)
  }
}
