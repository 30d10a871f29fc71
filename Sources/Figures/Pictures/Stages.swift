/// The checkpoints of a run in the order of training.
package struct Stages: Sendable {
  package struct Stage: Hashable, Sendable {
    package var checkpoint: String
    /// On the axis.
    package var position: Double
    /// `epoch 3`, or the name of the file; with the run where there are several.
    package var label: String
    package var run = ""
  }

  package let stages: [Stage]
  /// With the unit.
  private let axisLabel: String
  /// What positions are.
  private let clock: Clock

  private enum Clock {
    case epoch
    case step
    case order
  }

  /// By epoch where every checkpoint of a run has one of its own, else by step, else in the given
  /// order.
  package init(_ places: some Sequence<Place>) {
    var known: Set<String> = []
    var checkpoints: [Place] = []
    for place in places where known.insert(place.checkpoint).inserted { checkpoints.append(place) }
    func distinct(_ values: [Double?]) -> [Double]? {
      let all = values.compactMap { $0 }.filter(\.isFinite)
      guard all.count == values.count else { return nil }
      let positions = Set(zip(checkpoints, all).map { RunPosition(run: $0.run, value: $1) })
      return positions.count == all.count ? all : nil
    }
    let names = Self.names(checkpoints.map(\.checkpoint))
    let positions: [Double]
    let labels: [String]
    if let epochs = distinct(checkpoints.map(\.epoch)) {
      (positions, axisLabel, clock) = (epochs, "training (epochs)", .epoch)
      labels = epochs.map { "epoch " + Axis.short($0) }
    } else if let steps = distinct(checkpoints.map(\.step)) {
      (positions, axisLabel, clock) = (steps, "training (steps)", .step)
      labels = steps.map { "step " + Axis.short($0) }
    } else {
      (positions, axisLabel, clock) = (
        checkpoints.indices.map { Double($0 + 1) }, "checkpoint (in the order given)", .order
      )
      labels = names
    }
    let runs = RunNames(checkpoints)
    stages = checkpoints.indices.map {
      let place = checkpoints[$0]
      return Stage(
        checkpoint: place.checkpoint, position: positions[$0],
        label: labels[$0] + (runs.label(place.run).map { ", " + $0 } ?? ""), run: place.run)
    }.sorted { $0.position < $1.position }
  }

  /// Where something of that time is on the axis; `nil` where the axis has no time.
  func position(epoch: Double?, step: Double?) -> Double? {
    switch clock {
    case .epoch: epoch
    case .step: step
    case .order: nil
    }
  }

  package var axis: Axis {
    var axis = Axis.linear(axisLabel, holding: stages.map(\.position))
    // Runs share places.
    var known: Set<Double> = []
    let places = stages.filter { known.insert($0.position).inserted }
    let positions = places.map(\.position)
    if clock == .order && stages.count <= 12 {
      axis.ticks = stages.map { Axis.Tick(position: $0.position, label: $0.label) }
    } else if clock != .order && Self.haveRoom(positions, axis) {
      axis.ticks = zip(positions, Axis.labels(positions)).map { Axis.Tick(position: $0, label: $1) }
    }
    return axis
  }

  /// Whether each position can have its own number below the axis.
  private static func haveRoom(_ positions: [Double], _ axis: Axis) -> Bool {
    let width = Double(Axis.labels(positions).map(\.count).max() ?? 0) + 1
    // A line has room for about 34 digits.
    return positions.count <= 12
      && zip(positions.dropFirst(), positions).allSatisfy {
        ($0 - $1) / (axis.high - axis.low) > width / 34
      }
  }

  /// At most so many, evenly over training, with the first and the last; of several runs the same
  /// stages, as long as two have room.
  package func selection(_ limit: Int) -> [Stage] {
    if stages.count <= limit { return stages }
    let positions = Dictionary(grouping: stages, by: \.position)
    let count = limit / (positions.values.map(\.count).max() ?? 1)
    func even<T>(_ all: [T], _ count: Int) -> [T] {
      all.count <= count ? all : (0..<count).map { all[$0 * (all.count - 1) / (count - 1)] }
    }
    if count < 2 { return even(stages, limit) }
    let chosen = Set(even(positions.keys.sorted(), count))
    return stages.filter { chosen.contains($0.position) }
  }

  /// What a figure with a selection says about it.
  func note(_ limit: Int) -> [String] {
    let shown = selection(limit).count
    return shown == stages.count
      ? [] : ["\(shown) of \(stages.count) checkpoints are shown, evenly over training."]
  }

  /// Last components of the paths where these differ, else the paths.
  private static func names(_ paths: [String]) -> [String] {
    let last = paths.map { $0.split(separator: "/").last.map(String.init) ?? $0 }
    let names = Set(last).count == paths.count ? last : paths
    return names.map { singleLine($0, limit: 24) }
  }
}

private struct RunPosition: Hashable {
  var run: String
  var value: Double
}

/// What the training runs of some results are called where there are several.
struct RunNames: Sendable {
  private let labels: [String: String]
  /// In the order of the tables.
  let runs: [String]

  init(_ places: some Sequence<Place>) {
    var runs: [String] = []
    var known: Set<String> = []
    for place in places where known.insert(place.run).inserted { runs.append(place.run) }
    self.runs = runs
    // What they have in common at the beginning says nothing.
    let parts = runs.map { $0.split(separator: "/") }
    var common = 0
    while runs.count > 1, let first = parts[0].dropFirst(common).first,
      parts.allSatisfy({ $0.count > common + 1 && $0[common] == first })
    { common += 1 }
    var labels: [String: String] = [:]
    for (run, parts) in zip(runs, parts) where runs.count > 1 {
      let name = parts.dropFirst(common).joined(separator: "/")
      labels[run] = name.isEmpty ? "no name" : singleLine(name, limit: 20)
    }
    self.labels = labels
  }

  /// `nil` where there is one run alone.
  func label(_ run: String) -> String? { labels[run] }
}
