import Checkpoints

/// A model with some of its weights removed.
public struct PruningRow: Sendable, Equatable {
  /// The name of the method, or `whole`.
  public let method: String
  /// As given; `nil` for a method without one.
  public let damping: String?
  /// What it comes to, in the units of the method's matrix.
  public let lambda: Double?
  /// The share that was asked for.
  public let sparsity: Double
  /// Weights that are zero by the removal.
  public let removed: Int
  /// Over all samples; a loss that is no number where logits are beyond all numbers.
  public let measure: LossMeasure
  /// The model that is left, if it was written.
  public let file: String?

  /// In place of a method: nothing is removed.
  public static let whole = "none"
}

/// What all methods leave of a model.
public struct PruningResult: Sendable, Equatable {
  /// First the whole model, then by method, damping and sparsity.
  public let rows: [PruningRow]
  /// Weights that may be removed.
  public let weights: Int
  /// Samples that the Fisher matrices are made of.
  public let samples: Int
  /// Bytes that were planned, with pages of files.
  public let plannedMemory: Int
  /// Bytes of all vectors that there were at a time.
  public let allocatedMemory: Int

  static var tableName: String { "pruning.csv" }
  static var recordName: String { "prune.json" }
}

extension PruningResult {
  /// pruning.csv
  var table: ReportTable {
    var table = ReportTable(
      name: "pruning",
      columns: [
        "method", "damping", "lambda", "sparsity", "removed", "weights", "loss", "accuracy",
        "checkpoint",
      ])
    for row in rows {
      table.append([
        .text(row.method), .text(row.damping), .number(row.lambda), .number(row.sparsity),
        .integer(row.removed), .integer(weights), .number(row.measure.loss),
        .number(row.measure.accuracy), .text(row.file),
      ])
    }
    return table
  }

  /// What a person sees: sparsity by sparsity the methods below each other.
  public func text(_ style: TextStyle = TextStyle()) -> String {
    let hasDampings = Set(rows.compactMap(\.damping)).count > 1
    var text = TextTable(
      [("sparsity", .right), ("method", .left)] + (hasDampings ? [("damping", .left)] : [])
        + [("weights left", .right), ("loss", .right), ("accuracy %", .right)])
    // Stable: within one sparsity in the order of the methods.
    let ordered = rows.enumerated().sorted {
      ($0.element.sparsity, $0.offset) < ($1.element.sparsity, $1.offset)
    }
    for (_, row) in ordered {
      text.append(
        [shortened(row.sparsity), row.method] + (hasDampings ? [row.damping ?? ""] : [])
          + [
            grouped(weights - row.removed), shortened(row.measure.loss),
            row.measure.accuracy.map { shortened(100 * $0) } ?? "",
          ])
    }
    return text.text(style)
  }
}

/// prune.json: what it takes to repeat a removal.
public struct PruningRecord: Sendable {
  /// With the name of the program.
  public let command: [String]
  /// Every setting.
  public let options: PruningOptions
  /// What the checkpoint holds.
  public let description: CheckpointDescription
  /// Everything that was read.
  public let files: [FileRecord]
  /// When the command began.
  public let start: Moment

  /// Reads all files once, for their sums.
  public init(command: [String], _ pruning: Pruning, start: Moment) throws(CheckpointError) {
    self.command = command
    (options, description) = (pruning.options, pruning.description)
    self.start = start
    files = try FileRecord.all(pruning.files)
  }

  /// Writes the table and the record into the folder of the models.
  public func write(
    _ result: PruningResult, to folder: String, end: Moment
  ) throws(CheckpointError) {
    var output = OutputFiles()
    output.add("\(folder)/\(PruningResult.tableName)", result.table.csv)
    output.addRecord("\(folder)/\(PruningResult.recordName)", json(result, end: end).document)
    try output.write()
  }

  private func json(_ result: PruningResult, end: Moment) -> ReportJSON {
    .members([
      "version": .text(packageVersion),
      "command": .texts(command),
      "seed": ReportJSON(seed: options.evaluation.seed),
      "precision": .text(options.precision.rawValue),
      "threads": .integer(options.evaluation.threads),
      "start": .text(RunRecord.time(start.date)),
      "end": .text(RunRecord.time(end.date)),
      "seconds": .number(end.seconds(since: start)),
      "model": .text(description.model),
      "loss": .text(description.loss),
      "methods": .texts(options.methods.map(\.name)),
      "sparsities": .list(options.sparsities.map { .number($0) }),
      "dampings": .texts(options.dampings.map(\.text)),
      "update": .text(options.update.rawValue),
      "block_size": .integer(options.blockSize),
      "weight_patterns": .texts(options.weights),
      "weights": .integer(result.weights),
      "samples": .integer(result.samples),
      "planned_memory": .integer(result.plannedMemory),
      "allocated_memory": .integer(result.allocatedMemory),
      "files": .list(files.map(\.json)),
      "machine": Machine.current.json,
    ])
  }
}
