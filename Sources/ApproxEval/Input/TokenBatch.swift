import Checkpoints
import Curvature
import GraphModule
import TensorModule

/// A batch in which every scored position is a sample of its own.
struct TokenBatch<S: EngineScalar> {
  /// With the number of the position behind the inputs of the sample that it is of.
  let inputs: BatchInputs<S>
  let labels: Labels
  let weighting: LossWeighting
  let sampledLabels: [Labels]
  /// Per token its row `n O + o` among those of the batch, ascending.
  let rows: [Int]

  init(_ batch: BatchReader.Batch<S>, _ graph: Graph) {
    let (positions, classes) = (graph.positions, graph.classes)
    let rows = batch.weighting.scoredRows(batch.labels, of: classes)
    self.rows = rows
    let own = batch.inputs.gathered(rows.map { $0 / positions }, graph)
    inputs = BatchInputs(
      samples: rows.count,
      values: own.values + [.index(IndexVector(rows.map { Int32($0 % positions) }))])
    labels = batch.labels.rows(rows, of: classes)
    sampledLabels = batch.sampledLabels.map { $0.rows(rows, of: classes) }
    var weighting = batch.weighting
    if let own = weighting.samples {
      let isByOutput = own.count == batch.inputs.samples * positions * classes && classes > 1
      weighting.samples = own.rows(rows, of: isByOutput ? classes : 1)
    }
    self.weighting = weighting
  }
}

extension Labels {
  /// Those of some positions.
  fileprivate func rows(_ rows: [Int], of classes: Int) -> Labels {
    switch self {
    case .classes(let all): .classes(all.rows(rows, of: 1))
    case .real(let all): .real(all.rows(rows, of: classes))
    }
  }
}

extension Array {
  /// Rows of so many entries each.
  fileprivate func rows(_ rows: [Int], of columns: Int) -> [Element] {
    rows.flatMap { self[$0 * columns..<($0 + 1) * columns] }
  }
}

extension LossWeighting {
  /// Positions that are scored: their label is not -100, and they have a weight, which for a class is that
  /// of their label unless smoothing spreads it.
  func scoredRows(_ labels: Labels, of classes: Int) -> [Int] {
    let count: Int
    let isLabelled: (Int) -> Bool
    switch labels {
    case .classes(let all):
      let weights = smoothing == 0 ? self.classes : nil
      count = all.count
      isLabelled = { row in
        let label = Int(all[row])
        return label >= 0 && weights?[label] != 0
      }
    case .real(let all): (count, isLabelled) = (all.count / classes, { _ in true })
    }
    return (0..<count).filter { isLabelled($0) && isWeighted(row: $0, of: count) }
  }

  private func isWeighted(row: Int, of count: Int) -> Bool {
    guard let samples else { return true }
    let columns = samples.count / count
    return samples[row * columns..<(row + 1) * columns].contains { $0 > 0 }
  }
}

extension BatchReader {
  /// Per sample of the data how many of its positions are scored.
  func scoredPositions() throws(CheckpointError) -> [Int] {
    var counts: [Int] = []
    for sample in 0..<data.count {
      let (labels, weighting) = try labelsAndWeights([sample])
      counts.append(weighting.scoredRows(labels, of: graph.classes).count)
    }
    return counts
  }
}
