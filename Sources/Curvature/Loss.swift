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
  /// `[N O C]`
  case real([Double])
}

/// A gradient of the loss with respect to the logits, for true or sampled labels, in double and
/// in a form that does not cancel.
package enum LogitGradient: Sendable {
  /// `p - onehot(label)` with `rest = 1 - p_label`, both `[N O]`.
  case softmax(labels: [Int64], rest: [Double])
  /// The gradient itself, `[N O C]`.
  case elementwise([Double])
}

/// The matrix between the two Jacobians of a curvature product.
package enum OutputMetric: Sendable {
  /// H: the Fisher matrix of the output distribution.
  case fisher
  /// The identity on scored positions: Gauss-Newton (Eqn 9).
  case identity
}
