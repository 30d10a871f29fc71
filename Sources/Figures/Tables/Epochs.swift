/// A row of epochs.csv, which training writes: the model at the end of an epoch, over all samples that it is
/// trained on.
package struct EpochRow: Sendable {
  package var epoch: Double?
  /// The name of its file; empty where none was saved.
  package var checkpoint: String
  package var step: Double?
  /// `nil` for losses without classes.
  package var accuracy: Double?
  /// NaN where there is none.
  package var loss: Double
  package var validationLoss: Double
  package var validationAccuracy: Double
  /// The folder that the table is in.
  package var run: String

  static func read(_ table: CSVTable, run: String) throws(TableError) -> [EpochRow] {
    try TableCells.rows(table, requiring: ["epoch", "train_accuracy", "checkpoint"]) {
      (cells) throws(TableError) in
      EpochRow(
        epoch: try cells.number("epoch"), checkpoint: cells.text("checkpoint"),
        step: try cells.number("step"), accuracy: try cells.number("train_accuracy"),
        loss: try cells.measure("train_loss"),
        validationLoss: try cells.measure("validation_loss"),
        validationAccuracy: try cells.measure("validation_accuracy"), run: run)
    }
  }

  /// That of a checkpoint: by its file's name, or by its epoch where that epoch was not saved.
  static func of(_ checkpoint: String, _ epoch: Double?, in rows: [EpochRow]) -> EpochRow? {
    func name(_ path: String) -> Substring? { path.split(separator: "/").last }
    return rows.first { !$0.checkpoint.isEmpty && name($0.checkpoint) == name(checkpoint) }
      ?? rows.first { $0.checkpoint.isEmpty && $0.epoch != nil && $0.epoch == epoch }
  }
}
