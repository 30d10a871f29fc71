import ApproxEval

/// Where the time of a batch goes, as tables.
enum PhaseText {
  /// What the phases took, beside what their shapes predict: for a log, in whole lines.
  static func table(_ costs: [PhaseCost]) -> String {
    var table = TextTable([
      ("phase", .left), ("seconds", .right), ("operations", .right), ("predicted", .right),
      ("per second", .right), ("operands", .right), ("predicted", .right),
      ("memory", .right), ("planned", .right),
    ])
    for cost in costs {
      table.append([
        name(cost.phase), shortened(cost.seconds, digits: 3), operations(cost.measured.operations),
        cost.predicted.map { operations($0.operations) } ?? "",
        operations(cost.measured.operations / cost.seconds),
        bytes(cost.measured.bytes, digits: 3),
        cost.predicted.map { bytes($0.bytes, digits: 3) } ?? "",
        cost.memory.map { bytes($0.measured, digits: 3) } ?? "",
        cost.memory.map { bytes($0.planned, digits: 3) } ?? "",
      ])
    }
    return table.text
  }

  /// What they will take, as far as shapes tell.
  static func prediction(_ phases: [ResourceEstimate.Phase]) -> String {
    var table = TextTable([
      ("matrix products of", .left), ("operations", .right), ("operands", .right),
    ])
    for phase in phases {
      table.append([
        name(phase.phase) + (phase.phase == .reference ? ", an iteration" : ""),
        operations(phase.work.operations), bytes(phase.work.bytes, digits: 3),
      ])
    }
    return table.text(Console.outputStyle)
  }

  private static func name(_ phase: PhaseCost.Phase) -> String {
    switch phase {
    case .forward: "forward pass"
    case .gram: "Gram matrices"
    case .reference: "reference"
    case .directions: "directions"
    case .jvp: "jvp and scores"
    }
  }
}
