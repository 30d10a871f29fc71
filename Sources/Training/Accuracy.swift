import Curvature
import TensorModule

/// How many decisions of a batch are right.
package struct Accuracy: Sendable, Equatable {
  package var correct = 0
  package var total = 0

  package init() {}

  /// `cross_entropy`: positions whose largest logit (the first, if several are equal) is the
  /// label's, of those that are scored. `bce`: elements on the label's side of one half. `mse`
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
          let z = logits + row * classes
          var largest = 0
          for c in 1..<max(classes, 1) where z[c] > z[largest] { largest = c }
          total += 1
          if largest == Int(label) { correct += 1 }
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

  /// `nil` where there was nothing to decide.
  package var share: Double? { total > 0 ? Double(correct) / Double(total) : nil }

  package static func += (a: inout Accuracy, b: Accuracy) {
    a.correct += b.correct
    a.total += b.total
  }
}
