import Checkpoints
import Curvature
import GraphModule
import Models
import TensorModule

// Labels, one class or soft or numbers, and the weights beside them: shapes, then values.
extension BatchReader {
  /// Columns that class labels have, and weights may have.
  private var columns: [Int] {
    sequence?.labels.map { [$0.count] } ?? Array(graph.outputShape.dropLast())
  }

  /// - Parameter areTrue: Draws of cross-entropy are always classes, its labels may be soft.
  func checkLabels(
    _ tensor: StoredTensor, leading: [Int], areTrue: Bool
  ) throws(CheckpointError) {
    let isClasses = loss == .crossEntropy && !(areTrue && tensor.dtype.isFloatingPoint)
    if tensor.dtype.isInteger != isClasses || tensor.dtype == .bool {
      throw CheckpointError(
        .wrongDType(
          found: tensor.dtype,
          expected: isClasses ? [.i64, .i32] : DType.allCases.filter(\.isFloatingPoint)),
        at: tensor.location,
        hint: isClasses
          ? "cross_entropy reads class numbers." : "\(loss.rawValue) reads numbers, not classes.")
    }
    let expected = leading + (isClasses ? columns : graph.outputShape)
    // One position may be written out or left out.
    let isSingle = columns.reduce(1, *) == 1
    let accepted =
      isSingle && isClasses
      ? [leading, leading + [1], expected]
      : isSingle && loss == .crossEntropy
        ? [expected, leading + [1, graph.classes], leading + [graph.classes]]
        : graph.outputShape == [1] ? [expected, leading] : [expected]
    if !accepted.contains(tensor.shape) {
      throw CheckpointError(
        .shapeMismatch(found: tensor.shape, expected: expected), at: tensor.location,
        hint: loss == .crossEntropy && !isClasses
          ? "Class numbers are I64 or I32; other numbers are soft labels, a probability for each class."
          : nil)
    }
  }

  func checkWeights(_ tensor: StoredTensor) throws(CheckpointError) {
    var accepted = [[data.count], [data.count] + columns]
    if columns.reduce(1, *) == 1 { accepted.append([data.count, 1]) }
    if loss != .crossEntropy { accepted.append([data.count] + graph.outputShape) }
    if !accepted.contains(tensor.shape) {
      throw CheckpointError(
        .shapeMismatch(found: tensor.shape, expected: [data.count]), at: tensor.location,
        hint: "Weights are one for each sample, or one for each of its positions"
          + (loss == .crossEntropy ? "." : " or outputs."))
    }
  }

  // MARK: - Values

  func readLabels(
    _ tensor: StoredTensor, _ samples: [Int], draw: Int = 0, areTrue: Bool
  ) throws(CheckpointError) -> Labels {
    if loss == .crossEntropy && tensor.dtype.isInteger {
      var classes: [Int64] = []
      for sample in samples {
        let row = try classLabels(tensor, sample, draw: draw)
        classes += sequence?.labels?.scored.map { row[$0] } ?? row
      }
      return .classes(classes)
    }
    let size = graph.outputShape.reduce(1, *)
    let values = Vector<Double>(count: samples.count * size)
    for (place, sample) in samples.enumerated() {
      let target = values.pointer + place * size
      try tensor.read(range(draw * data.count + sample, size), into: target)
      switch loss {
      case .crossEntropy: try checkSoftLabels(tensor, sample, target)
      case .binaryCrossEntropy:
        for i in 0..<size where !(0...1).contains(target[i]) {
          throw labelError(tensor, sample, "\(target[i])", "a number in [0, 1]")
        }
      case .squaredError: break
      }
    }
    try tensor.requireFinite(UnsafePointer(values.pointer), count: values.count)
    return .real(values.array)
  }

  /// Every position of a sample has probabilities that add up to one, as closely as the type of the
  /// file lets a softmax add up.
  private func checkSoftLabels(
    _ tensor: StoredTensor, _ sample: Int, _ values: UnsafePointer<Double>
  ) throws(CheckpointError) {
    let tolerance = tensor.dtype == .f16 || tensor.dtype == .bf16 ? 1e-2 : 1e-4
    for position in 0..<graph.positions {
      var sum = 0.0
      for c in 0..<graph.classes {
        let value = values[position * graph.classes + c]
        guard value >= 0, value.isFinite else {
          throw labelError(tensor, sample, "\(value)", "a probability, not negative")
        }
        sum += value
      }
      guard abs(sum - 1) <= tolerance else {
        throw CheckpointError(
          .unexpectedValue(
            "the sum of the probabilities of sample \(sample)", found: "\(sum)", expected: "1"),
          at: tensor.location,
          hint:
            "Divide each soft label by its sum; a position that is not scored has a weight of 0.")
      }
    }
  }

  /// The samples' own weights, `[n O]` or `[n O C]`, `nil` where the data have none.
  func readWeights(_ samples: [Int]) throws(CheckpointError) -> [Double]? {
    guard let tensor = data.weights else { return nil }
    let size = tensor.shape.dropFirst().reduce(1, *)
    var result: [Double] = []
    for sample in samples {
      let row = try tensor.doubles(range(sample, size))
      for value in row where !(value >= 0 && value.isFinite) {
        throw CheckpointError(
          .unexpectedValue(
            "weight of sample \(sample)", found: "\(value)",
            expected: "a finite number, not negative"), at: tensor.location)
      }
      if size == 1 {
        result += [Double](repeating: row[0], count: graph.positions)
      } else {
        result += sequence?.labels?.scored.map { row[$0] } ?? row
      }
    }
    return result
  }

  /// All label columns of one sample.
  func classLabels(
    _ tensor: StoredTensor, _ sample: Int, draw: Int
  ) throws(CheckpointError) -> [Int64] {
    let columns = sequence?.labels?.count ?? graph.positions
    let row = try tensor.integers(range(draw * data.count + sample, columns))
    for value in row where value != -100 && !(0..<Int64(graph.classes)).contains(value) {
      throw labelError(
        tensor, sample, "\(value)", "0 ..< \(graph.classes), or -100 for not scored")
    }
    return row
  }
}

extension LossWeighting {
  /// Whether anything of these labels has a weight above zero.
  func scores(_ labels: Labels, classes count: Int) -> Bool {
    let isWeighted = classes != nil || samples != nil || positives != nil
    switch labels {
    case .classes(let all):
      return all.indices.contains { row in
        guard all[row] >= 0, (samples?[row] ?? 1) > 0 else { return false }
        guard let classes else { return true }
        return classes[Int(all[row])] > 0 || smoothing > 0 && classes.contains { $0 > 0 }
      }
    case .real(let all):
      if !isWeighted { return true }
      return all.indices.contains { i in
        let own = samples.map { $0.count == all.count ? $0[i] : $0[i / count] } ?? 1
        return own * (classes?[i % count] ?? 1) > 0
      }
    }
  }
}
