extension OutputState {
  /// How many scored labels of these draws are another class than the true ones, and how many there
  /// are. Of soft labels the most probable class counts as the true one, of the binary loss every
  /// output has a label, and the nearer of 0 and 1 is the true one.
  ///
  /// - Parameter truth: The true labels.
  /// - Returns: `nil` for squared errors: a drawn number is never the true one.
  package func changedLabels(
    of draws: [LogitGradient], truth: Labels
  ) -> (changed: Int, all: Int)? {
    if loss == .squaredError { return nil }
    var (changed, all) = (0, 0)
    for draw in draws {
      switch (draw, truth) {
      case (.softmax(let drawn, _, _), _):
        for row in labels.indices where labels[row] >= 0 {
          all += 1
          if drawn[row] != labels[row] { changed += 1 }
        }
      case (.elementwise(let u), .real(let targets)):
        for i in targets.indices where weights.isEmpty || weights[i] > 0 {
          all += 1
          // u is p - 1 or p: where it is nothing, the label is the one that the model is sure of.
          let isOne = u[i] == 0 ? probabilities[i] > 0.5 : u[i] < 0
          if isOne != (targets[i] >= 0.5) { changed += 1 }
        }
      default: preconditionFailure("OutputState: draws of another loss than \(loss.rawValue)")
      }
    }
    return (changed, all)
  }
}
