/// A row of epochs.csv, which training writes: loss and accuracy of all of its data.
package struct EpochRow: Sendable {
  package var epoch: Double
  package var step: Double
  /// NaN where there is none.
  package var trainLoss: Double
  package var trainAccuracy: Double
  package var validationLoss: Double
  package var validationAccuracy: Double
  /// The folder that it was written in.
  package var run: String

  static func read(_ table: CSVTable, run: String) throws(TableError) -> [EpochRow] {
    try TableCells.rows(
      table,
      requiring: [
        "epoch", "step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy",
      ]
    ) { (cells) throws(TableError) in
      EpochRow(
        epoch: try cells.measure("epoch"), step: try cells.measure("step"),
        trainLoss: try cells.measure("train_loss"),
        trainAccuracy: try cells.measure("train_accuracy"),
        validationLoss: try cells.measure("validation_loss"),
        validationAccuracy: try cells.measure("validation_accuracy"), run: run)
    }
  }
}
