/// A row of a table by column name.
package struct TableCells {
  private let table: CSVTable
  private let places: [String: Int]
  private let row: CSVTable.Row

  /// The value of every row, read by `make`.
  ///
  /// - Throws: one error that names all columns that are missing; `.notANumber` where a cell is
  ///   none.
  static func rows<T>(
    _ table: CSVTable, requiring columns: [String],
    _ make: (TableCells) throws(TableError) -> T
  ) throws(TableError) -> [T] {
    let places = Dictionary(uniqueKeysWithValues: table.columns.enumerated().map { ($1, $0) })
    let missing = columns.filter { places[$0] == nil }
    if !missing.isEmpty { throw TableError(.missingColumns(missing), file: table.file, line: 1) }
    var values: [T] = []
    for row in table.rows {
      values.append(try make(TableCells(table: table, places: places, row: row)))
    }
    return values
  }

  /// Empty for a column that is not there.
  func text(_ column: String) -> String { places[column].map { row.cells[$0] } ?? "" }

  /// `nil` for an empty cell, or a column that is not there.
  func number(_ column: String) throws(TableError) -> Double? {
    let cell = text(column)
    if cell.isEmpty { return nil }
    guard let value = Double(cell) else { throw notANumber(cell, column) }
    return value
  }

  func integer(_ column: String) throws(TableError) -> Int? {
    let cell = text(column)
    if cell.isEmpty { return nil }
    guard let value = Int(cell) else { throw notANumber(cell, column) }
    return value
  }

  /// `true` or `false`; `nil` for an empty cell, or a column that is not there.
  func flag(_ column: String) throws(TableError) -> Bool? {
    let cell = text(column)
    if cell.isEmpty { return nil }
    guard let value = Bool(cell) else {
      throw TableError(.notAFlag(cell, column: column), file: table.file, line: row.line)
    }
    return value
  }

  /// NaN for an empty cell: what has no value is never drawn.
  func measure(_ column: String) throws(TableError) -> Double { try number(column) ?? .nan }

  func place() throws(TableError) -> Place {
    Place(
      checkpoint: text("checkpoint"), epoch: try number("epoch"), step: try number("step"),
      batch: text("batch"), run: text("run"))
  }

  private func notANumber(_ cell: String, _ column: String) -> TableError {
    TableError(.notANumber(cell, column: column), file: table.file, line: row.line)
  }
}

/// Which checkpoint and batch a row is about.
package struct Place: Hashable, Sendable {
  package var checkpoint: String
  package var epoch: Double?
  package var step: Double?
  package var batch: String
  /// The training run that the checkpoint is of; empty where the table does not tell.
  package var run = ""
}

/// What identifies a direction within a batch.
package struct ScoredDirection: Hashable, Sendable {
  package var method: String
  /// What the method's name has in common with its kin's.
  package var family: String
  package var role: Role
  /// Monte-Carlo draws, where the table tells them.
  package var draws: Int?
  /// As given; `nil` where the method has none.
  package var damping: String?

  package enum Role: String, Sendable {
    case method
    /// The gradient that ratios are relative to.
    case baseline
    /// The natural gradient that efficiencies are relative to.
    case reference
  }

  init(_ cells: TableCells) throws(TableError) {
    method = cells.text("method")
    draws = try cells.integer("mc_samples")
    let text = cells.text("damping")
    damping = text.isEmpty ? nil : text
    if let told = Role(rawValue: cells.text("role")), !cells.text("family").isEmpty {
      (role, family) = (told, cells.text("family"))
    } else {
      (role, family) = Self.inferred(method, damping: damping)
    }
  }

  /// What rows are in tables of versions that did not say it.
  private static func inferred(_ method: String, damping: String?) -> (Role, family: String) {
    let role: Role =
      method == "sgd" ? .baseline : method == "ng" && damping == nil ? .reference : .method
    return (role, String(method.prefix { $0 != "@" && $0 != ":" }))
  }
}

/// A row of scores.csv, as far as it is drawn.
package struct ScoreRow: Sendable {
  package var place: Place
  package var direction: ScoredDirection
  /// The value used; NaN where the method has no damping.
  package var lambda: Double
  package var gamma: Double
  package var gammaRelativeToSGD: Double
  package var efficiency: Double
  package var efficiencyLow: Double
  /// An estimate of the relative error of gamma; NaN in tables of versions that had none.
  package var gammaError: Double
  /// Whether gamma may be off by more than a thousandth.
  package var isMarked: Bool

  static func read(_ table: CSVTable) throws(TableError) -> [ScoreRow] {
    try TableCells.rows(
      table,
      requiring: [
        "checkpoint", "epoch", "step", "batch", "method", "damping", "lambda", "gamma",
        "gamma_rel_sgd", "efficiency", "efficiency_low",
      ]
    ) { (cells) throws(TableError) in
      let error = try cells.measure("gamma_error")
      return ScoreRow(
        place: try cells.place(), direction: try ScoredDirection(cells),
        lambda: try cells.measure("lambda"), gamma: try cells.measure("gamma"),
        gammaRelativeToSGD: try cells.measure("gamma_rel_sgd"),
        efficiency: try cells.measure("efficiency"),
        efficiencyLow: try cells.measure("efficiency_low"), gammaError: error,
        // Tables of older versions have the error alone.
        isMarked: try cells.flag("marked") ?? (error > 1e-3))
    }
  }
}

extension [ScoreRow] {
  /// Which gammas rounding may have moved, and how far; `nil` where there is none.
  package var markNote: String? {
    let marked = filter(\.isMarked)
    guard let worst = marked.map(\.gammaError).max() else { return nil }
    var methods: [String] = []
    for row in marked where !methods.contains(row.direction.method) {
      methods.append(row.direction.method)
    }
    let size = worst < 1 ? "up to \(shown(100 * worst, digits: 2)) %" : "100 % or more"
    return
      "In \(marked.count) of \(count) rows (\(methods.joined(separator: ", "))) γ may be off by "
      + "\(size), by the rounding of numbers."
  }
}

/// A row of batches.csv, as far as it is drawn.
package struct BatchRow: Sendable {
  package var place: Place
  package var samples: Double
  /// Samples of the data: fewer than `samples` where these are scored positions.
  package var drawn: Double
  /// Those that batches come from; `nil` in the tables of versions that did not write it.
  package var dataSamples: Double?
  /// NaN in the tables of versions that did not write it.
  package var meanLoss: Double
  package var gradientNormRatio: Double
  package var gammaBound: Double
  package var referenceIterations: Double?
  package var referenceResidual: Double?
  /// Empty without a reference.
  package var referenceStop: String
  /// Whether the reference is the natural gradient up to rounding or tolerance.
  package var hasConvergedReference: Bool
  /// By how much the reference's gamma is above the least at most, as a share; `nil` where the table does not
  /// tell.
  package var referenceExcessBound: Double?

  static func read(_ table: CSVTable) throws(TableError) -> [BatchRow] {
    try TableCells.rows(
      table,
      requiring: [
        "checkpoint", "epoch", "step", "batch", "samples", "gradient_norm_ratio",
        "gamma_bound", "reference_iterations", "reference_residual", "reference_stop",
      ]
    ) { (cells) throws(TableError) in
      let samples = try cells.measure("samples")
      return BatchRow(
        place: try cells.place(), samples: samples,
        drawn: try cells.number("sequences") ?? samples,
        dataSamples: try cells.number("data_samples"),
        meanLoss: try cells.measure("mean_loss"),
        gradientNormRatio: try cells.measure("gradient_norm_ratio"),
        gammaBound: try cells.measure("gamma_bound"),
        referenceIterations: try cells.number("reference_iterations"),
        referenceResidual: try cells.number("reference_residual"),
        referenceStop: cells.text("reference_stop"),
        hasConvergedReference: try cells.flag("reference_converged")
          ?? inferredConvergence(cells),
        referenceExcessBound: try cells.number("reference_excess_bound"))
    }
  }

  /// Of tables of versions that did not say it. What is not known counts as a failure: the bracket is
  /// then drawn, never left out.
  private static func inferredConvergence(_ cells: TableCells) -> Bool {
    let status = cells.text("reference_status")
    if !status.isEmpty { return ["converged", "exact", "zero-gradient"].contains(status) }
    return ["tolerance", "certificate", "dense", "zero-gradient"].contains(
      cells.text("reference_stop"))
  }
}

/// A row of cg.csv: one iterate of a reference solve.
package struct IterateRow: Sendable {
  package var checkpoint: String
  package var batch: String
  package var iteration: Double
  package var relativeResidual: Double
  package var gamma: Double

  static func read(_ table: CSVTable) throws(TableError) -> [IterateRow] {
    try TableCells.rows(
      table, requiring: ["checkpoint", "batch", "iteration", "relative_residual", "gamma"]
    ) { (cells) throws(TableError) in
      IterateRow(
        checkpoint: cells.text("checkpoint"), batch: cells.text("batch"),
        iteration: try cells.measure("iteration"),
        relativeResidual: try cells.measure("relative_residual"),
        gamma: try cells.measure("gamma"))
    }
  }
}

/// A row of layers.csv: a direction restricted to one parameter tensor or block.
package struct LayerRow: Sendable {
  package var place: Place
  package var direction: ScoredDirection
  /// NaN where the method has no damping.
  package var lambda: Double
  package var layer: String
  /// `tensor` or `block`
  package var kind: String
  package var gammaRelativeToSGD: Double

  static func read(_ table: CSVTable) throws(TableError) -> [LayerRow] {
    try TableCells.rows(
      table,
      requiring: [
        "checkpoint", "epoch", "step", "batch", "method", "damping", "layer", "kind",
        "gamma_rel_sgd",
      ]
    ) { (cells) throws(TableError) in
      LayerRow(
        place: try cells.place(), direction: try ScoredDirection(cells),
        lambda: try cells.measure("lambda"), layer: cells.text("layer"), kind: cells.text("kind"),
        gammaRelativeToSGD: try cells.measure("gamma_rel_sgd"))
    }
  }
}
