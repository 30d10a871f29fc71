import Curvature
import TensorModule

/// How many decisions of a batch are right.
package struct Accuracy: Sendable, Equatable {
  package var correct = 0
  package var total = 0

  package init() {}

  /// `cross_entropy`: positions whose largest logit (the first, if several are equal) is the
  /// label's (of soft labels the most probable one's), of those that are scored. `bce`: elements on the label's side of one half. `mse`
  /// decides nothing: 0 of 0.
  package init<S: EngineScalar>(_ labels: Labels, loss: Loss, _ linearization: Linearization<S>) {
    let graph = linearization.program.graph
    let (positions, classes) = (graph.positions, graph.classes)
    for chunk in linearization.schedule.chunks {
      let logits = linearization.logits(chunk)
      switch labels {
      case .classes(let all):
        for row in 0..<chunk.count * positions {
          let label = all[chunk.first * positions + row]
          if label < 0 { continue }
          let z = UnsafeBufferPointer(start: logits + row * classes, count: classes)
          total += 1
          if Self.largest(z) == Int(label) { correct += 1 }
        }
      case .real(let targets) where loss == .crossEntropy:
        for row in 0..<chunk.count * positions {
          let first = (chunk.first * positions + row) * classes
          let z = UnsafeBufferPointer(start: logits + row * classes, count: classes)
          total += 1
          if Self.largest(z) == Self.largest(targets[first..<first + classes]) { correct += 1 }
        }
      case .real(let targets):
        guard loss == .binaryCrossEntropy else { continue }
        let first = chunk.first * positions * classes
        for i in 0..<chunk.count * positions * classes {
          total += 1
          if (logits[i] > 0) == (targets[first + i] > 0.5) { correct += 1 }
        }
      }
    }
  }

  /// The place of the largest number, the first if several are equal.
  private static func largest(_ numbers: some Collection<some Comparable>) -> Int {
    var (place, best) = (0, numbers.first)
    for (index, number) in numbers.enumerated() {
      if let top = best, number > top { (place, best) = (index, number) }
    }
    return place
  }

  /// `nil` where there was nothing to decide.
  package var share: Double? { total > 0 ? Double(correct) / Double(total) : nil }

  package static func += (a: inout Accuracy, b: Accuracy) {
    a.correct += b.correct
    a.total += b.total
  }
}
