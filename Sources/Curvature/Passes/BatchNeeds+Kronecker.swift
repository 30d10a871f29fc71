import GraphModule
import TensorModule

extension BatchNeeds {
  /// What the linear layers of K-FAC take while their factors are formed.
  ///
  /// - Parameters:
  ///   - program: That of the layers (`Linearization.layerProgram`).
  ///   - draws: Rows per sample, those of the true labels included.
  ///   - factorDraws: Of these, the ones that make the factor of the outputs.
  ///   - workers: Layers at the same time.
  package func kronecker(
    _ layerProgram: Program, draws: Int, factorDraws: Int, workers: Int
  ) -> ByteCount {
    let plan = KroneckerPlan(layerProgram)
    let blocks = plan.layers.map { layer in
      block(
        rows: samples * layer.linear.positions,
        inputs: layer.linear.inputs + (layer.bias == nil ? 0 : 1), outputs: layer.linear.outputs,
        draws: factorDraws)
    }
    let together = blocks.sorted(by: >).prefix(workers).total { $0 }
    // Rows that are collected for it, as many as `forEachLayer` collects together.
    let rows = plan.layers.map {
      scalars(
        samples, $0.linear.positions, draws * $0.linear.outputs + $0.linear.inputs)
    }
    let collected = max(rows.max() ?? 0, min(rows.total { $0 }, ByteCount(LayerGroup.bytes)))
    if program.isLayerwise { return together + collected }
    let own = BatchNeeds(
      layerProgram, samples: samples, threads: batch.workers, budget: 0)
    return together + collected + own.forward + own.arenas(tangents: 0, cotangents: draws)
  }

  /// One layer: both spectra with their work space, the gradient, and one solution.
  private func block(rows: Int, inputs: Int, outputs: Int, draws: Int) -> ByteCount {
    spectrum(rows: rows, columns: inputs) + spectrum(rows: draws * rows, columns: outputs)
      + doubles(8, outputs, inputs)
  }

  private func spectrum(rows: Int, columns: Int) -> ByteCount {
    rows < columns
      ? LAPACK.singularValuesMemory(rows: rows, columns: columns)
      : doubles(4, columns, columns) + doubles(512, columns)
  }
}
