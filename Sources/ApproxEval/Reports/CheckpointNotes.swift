import Checkpoints

extension CheckpointDescription {
  /// What a reader must know of the checkpoint, whatever the batch.
  public var allNotes: [SettingText] {
    notes + (equalWeightsNotes + [unusedNote].compactMap { $0 }).map { SettingText($0) }
  }

  /// Layers that may be one.
  private var equalWeightsNotes: [String] {
    equalWeights.map { group in
      let names = group.names.prefix(4).map { printable($0) }.joined(separator: ", ")
      let more = group.names.count > 4 ? " and \(group.names.count - 4) more" : ""
      return
        "Equal to the last bit: \(names)\(more). They are scored as layers that train on their "
        + "own. If they are one layer that is used several times, describe it under one name."
    }
  }

  /// What trains and is read by no computation.
  private var unusedNote: String? {
    let unused = parameters.filter { $0.status == .unused }
    guard let first = unused.first else { return nil }
    let count = unused.reduce(0) { $0 + $1.count }
    let more = unused.count > 1 ? " and \(unused.count - 1) more" : ""
    return
      "PEFT trains \(grouped(count)) of the P parameters without reading them "
      + "(\(printable(first.name))\(more)): "
      + "their gradient is zero, and no method moves them."
  }
}
