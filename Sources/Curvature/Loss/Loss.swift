/// The losses for which the exact Fisher matrix is the generalised Gauss-Newton matrix
/// (method.md 1). A sample's loss is a SUM over its scored positions.
public enum Loss: String, Sendable, CaseIterable {
  /// `-log p_y`; a label of -100 marks a position that is not scored.
  case crossEntropy = "cross_entropy"
  /// `1/2 |z - y|^2`; the Fisher matrix of a normal distribution around z.
  case squaredError = "mse"
  /// Binary cross-entropy of logits, element by element; labels in [0, 1].
  case binaryCrossEntropy = "bce"
}

/// Labels of a batch, or of Monte-Carlo draws for it.
package enum Labels: Sendable {
  /// `[N O]`; negative: not scored.
  case classes([Int64])
  /// `[N O C]`: targets of element-wise losses, soft labels of cross-entropy.
  case real([Double])
}

/// What multiplies and smooths the losses of a batch (Documentation/methods.md, Losses).
package struct LossWeighting: Sendable, Equatable {
  /// The share of every label that is spread over all classes; for cross-entropy.
  package var smoothing = 0.0
  /// `[C]`: of a class in cross-entropy, of an output in element-wise losses.
  package var classes: [Double]?
  /// `[C]`: of labels of one against labels of zero; for binary cross-entropy.
  package var positives: [Double]?
  /// `[N O]`, for element-wise losses also `[N O C]`.
  package var samples: [Double]?

  package static let none = LossWeighting()

  package init(
    smoothing: Double = 0, classes: [Double]? = nil, positives: [Double]? = nil,
    samples: [Double]? = nil
  ) {
    self.smoothing = smoothing
    self.classes = classes
    self.positives = positives
    self.samples = samples
  }
}

/// A gradient of the loss with respect to the logits, for true or sampled labels, in double and
/// in a form that does not cancel.
package enum LogitGradient: Sendable {
  /// `weight (p - onehot(label))` with `rest = 1 - p_label`, all `[N O]`; no weights: ones.
  case softmax(labels: [Int64], rest: [Double], weights: [Double])
  /// The gradient itself, `[N O C]`, whose rows add up to zero.
  case centred([Double])
  /// The gradient itself, `[N O C]`.
  case elementwise([Double])
}

/// The matrix between the two Jacobians of a curvature product.
package enum OutputMetric: Sendable {
  /// H: the Fisher matrix of the output distribution, weighted as the loss is.
  case fisher
  /// The identity on scored positions, weighted as the loss is: Gauss-Newton (Eqn 9).
  case identity
}
