/// A row of epochs.csv, which training writes: the model at the end of an epoch, over all samples that it is
/// trained on.
package struct EpochRow: Sendable {
  package var epoch: Double?
  /// The name of its file; empty where none was saved.
  package var checkpoint: String
  /// `nil` for losses without classes.
  package var accuracy: Double?

  static func read(_ table: CSVTable) throws(TableError) -> [EpochRow] {
    try TableCells.rows(table, requiring: ["epoch", "train_accuracy", "checkpoint"]) {
      (cells) throws(TableError) in
      EpochRow(
        epoch: try cells.number("epoch"), checkpoint: cells.text("checkpoint"),
        accuracy: try cells.number("train_accuracy"))
    }
  }

  /// That of a checkpoint: by its file's name, or by its epoch where that epoch was not saved.
  static func of(_ checkpoint: String, _ epoch: Double?, in rows: [EpochRow]) -> EpochRow? {
    func name(_ path: String) -> Substring? { path.split(separator: "/").last }
    return rows.first { !$0.checkpoint.isEmpty && name($0.checkpoint) == name(checkpoint) }
      ?? rows.first { $0.checkpoint.isEmpty && $0.epoch != nil && $0.epoch == epoch }
  }
}
