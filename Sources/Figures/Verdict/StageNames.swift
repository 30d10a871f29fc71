import Checkpoints

/// Stages of training in words.
struct StageNames {
  private let labels: [String]
  /// `epoch`, where every label begins with it.
  private let kind: String?

  init(_ labels: [String]) {
    self.labels = labels
    kind = ["epoch", "step"].first { word in labels.allSatisfy { $0.hasPrefix(word + " ") } }
  }

  var count: Int { labels.count }

  /// `epoch 3`
  subscript(_ stage: Int) -> String { labels[stage] }

  /// `epochs 0, 3 and 10 to 40`, for some of the stages in ascending order; no more than a few parts, and their
  /// number where there would be more.
  func list(_ stages: [Int]) -> String {
    if stages.count == labels.count && stages.count > 1 { return "all \(stages.count) stages" }
    let spans = Self.spans(stages)
    if spans.count > 4 { return "\(stages.count) of \(labels.count) stages" }
    if stages.count == 1 { return labels[stages[0]] }
    let parts = spans.flatMap { span in
      span.count == 2
        ? [short(span.lowerBound), short(span.upperBound)]
        : span.count == 1
          ? [short(span.lowerBound)]
          : ["\(short(span.lowerBound)) to \(short(span.upperBound))"]
    }
    return (kind.map { $0 + "s " } ?? "") + listed(parts)
  }

  private func short(_ stage: Int) -> String {
    kind.map { String(labels[stage].dropFirst($0.count + 1)) } ?? labels[stage]
  }

  /// Runs of stages that follow each other.
  static func spans(_ stages: [Int]) -> [ClosedRange<Int>] {
    var spans: [ClosedRange<Int>] = []
    for stage in stages {
      if let last = spans.last, last.upperBound == stage - 1 {
        spans[spans.count - 1] = last.lowerBound...stage
      } else {
        spans.append(stage...stage)
      }
    }
    return spans
  }
}
