// The loss in words, for the line above a table.
extension LoadedCheckpoint {
  /// What is done to the loss beside summing it.
  var lossWords: [String] {
    weightingWords + (lossSettings.reduction?.value == "mean" ? ["scored as a sum"] : [])
  }

  /// The part of it that makes labels count otherwise than they would.
  var weightingWords: [String] {
    var words: [String] = []
    if let smoothing = lossSettings.labelSmoothing?.value, smoothing > 0 {
      words.append("label smoothing \(shortened(smoothing))")
    }
    if lossSettings.classWeights != nil { words.append("weights of classes") }
    if lossSettings.positiveWeights != nil { words.append("weights of positives") }
    if data?.weights != nil { words.append("weights of samples") }
    if hasSoftLabels { words.append("soft labels") }
    return words
  }

  /// Whether labels of cross-entropy are probabilities of all classes.
  package var hasSoftLabels: Bool {
    loss == .crossEntropy && data?.labels.dtype.isFloatingPoint == true
  }
}
