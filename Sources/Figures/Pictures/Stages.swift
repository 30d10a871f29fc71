/// The checkpoints of a run in the order of training.
package struct Stages: Sendable {
  package struct Stage: Hashable, Sendable {
    package var checkpoint: String
    /// On the axis.
    package var position: Double
    /// `epoch 3`, or the name of the file.
    package var label: String
  }

  package let stages: [Stage]
  /// With the unit.
  private let axisLabel: String
  /// Whether positions are only an order.
  private let isOrder: Bool

  /// By epoch where every checkpoint has one of its own, else by step, else in the given order.
  package init(_ places: some Sequence<Place>) {
    var known: Set<String> = []
    var checkpoints: [Place] = []
    for place in places where known.insert(place.checkpoint).inserted { checkpoints.append(place) }
    func distinct(_ values: [Double?]) -> [Double]? {
      let all = values.compactMap { $0 }.filter(\.isFinite)
      return all.count == values.count && Set(all).count == all.count ? all : nil
    }
    let names = Self.names(checkpoints.map(\.checkpoint))
    let positions: [Double]
    let labels: [String]
    if let epochs = distinct(checkpoints.map(\.epoch)) {
      (positions, axisLabel, isOrder) = (epochs, "training (epochs)", false)
      labels = epochs.map { "epoch " + Axis.short($0) }
    } else if let steps = distinct(checkpoints.map(\.step)) {
      (positions, axisLabel, isOrder) = (steps, "training (steps)", false)
      labels = steps.map { "step " + Axis.short($0) }
    } else {
      (positions, axisLabel, isOrder) = (
        checkpoints.indices.map { Double($0 + 1) }, "checkpoint (in the order given)", true
      )
      labels = names
    }
    stages = checkpoints.indices.map {
      Stage(checkpoint: checkpoints[$0].checkpoint, position: positions[$0], label: labels[$0])
    }.sorted { $0.position < $1.position }
  }

  package var axis: Axis {
    var axis = Axis.linear(axisLabel, holding: stages.map(\.position))
    if isOrder && stages.count <= 12 {
      axis.ticks = stages.map { Axis.Tick(position: $0.position, label: $0.label) }
    }
    return axis
  }

  /// At most so many, evenly over training, with the first and the last.
  package func selection(_ limit: Int) -> [Stage] {
    if stages.count <= limit { return stages }
    return (0..<limit).map { stages[$0 * (stages.count - 1) / (limit - 1)] }
  }

  /// What a figure with a selection says about it.
  func note(_ limit: Int) -> [String] {
    stages.count <= limit
      ? [] : ["\(limit) of \(stages.count) checkpoints are shown, evenly over training."]
  }

  /// Last components of the paths where these differ, else the paths.
  private static func names(_ paths: [String]) -> [String] {
    let last = paths.map { $0.split(separator: "/").last.map(String.init) ?? $0 }
    let names = Set(last).count == paths.count ? last : paths
    return names.map { singleLine($0, limit: 24) }
  }
}
