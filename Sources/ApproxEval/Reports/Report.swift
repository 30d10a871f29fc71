import Checkpoints

/// The results of a run as the tables of formats.md, "Reports".
public struct Report: Sendable {
  /// One checkpoint with its batches, in the order of the run.
  public struct Entry: Sendable {
    /// What was scored.
    public var description: CheckpointDescription
    /// Its batches, in the order of their numbers.
    public var results: [BatchResult]
    /// With the files that are its own.
    public var input: CheckpointInput
    /// How notes spell settings.
    public var names: SettingNames

    /// - Parameter input: `nil`: what the description is of, with nothing else.
    public init(
      _ description: CheckpointDescription, _ results: [BatchResult],
      input: CheckpointInput? = nil, names: SettingNames = .plain
    ) {
      self.description = description
      self.results = results
      self.input = input ?? CheckpointInput(path: description.path)
      self.names = names
    }
  }

  /// A checkpoint each, in the order of the run.
  public let entries: [Entry]

  /// Batches of all checkpoints.
  public var batchCount: Int { entries.reduce(0) { $0 + $1.results.count } }

  /// Batches that were done again in double.
  public var batchesRepeated: Int {
    entries.reduce(0) { $0 + $1.results.count { $0.isRepeated } }
  }

  /// Batches that were done in double, at once or again.
  public var batchesInDouble: Int {
    entries.reduce(0) { $0 + $1.results.count { $0.precision == .float64 } }
  }

  /// Batches whose reference did not converge.
  public var referencesNotConverged: Int {
    entries.reduce(0) { $0 + $1.results.count { $0.reference?.isConverged == false } }
  }

  /// Of results as `Evaluation` returns them, or as they come back from a journal.
  public init(_ entries: [Entry]) { self.entries = entries }

  /// All tables, in the order in which they are written.
  public var tables: [ReportTable] { [scores, batches, cg, summary] + (hasLayers ? [layers] : []) }

  /// Names of all files that a report may have; the record, which vouches for the others, first.
  static let fileNames =
    ["run.json"] + ["scores", "batches", "cg", "summary", "layers"].map { $0 + ".csv" }

  /// Of those that this one does not have.
  var absentFileNames: [String] { hasLayers ? [] : ["layers.csv"] }
}

// MARK: - One row per observation

extension Report {
  /// A row per checkpoint, batch, method and damping.
  public var scores: ReportTable {
    var table = ReportTable(
      name: "scores",
      columns: [
        "checkpoint", "epoch", "step", "batch", "samples", "method", "damping", "lambda", "gamma",
        "gamma_rel_sgd", "gamma_rel_reference", "efficiency", "efficiency_low",
        "fisher_quadratic", "gradient_dot", "update_norm", "cosine_gradient", "cosine_reference",
        "seconds", "mc_samples", "gamma_error", "precision", "no_gamma", "family", "role",
        "marked", "sharpness", "fisher_within_layers", "fisher_across_layers", "run", "sample",
      ])
    for result in entries.flatMap(\.results) {
      for score in result.scores {
        table.append([
          .text(result.checkpoint), .integer(result.epoch), .integer(result.step),
          .integer(result.batch), .integer(result.samples), .text(score.method),
          .text(score.damping), .number(score.lambda),
          .number(known: score.gamma),
          .number(score.gammaRelativeToSGD), .number(score.gammaRelativeToReference),
          .number(score.efficiency),
          .number(known: score.efficiencyLow),
          .number(score.fisherQuadratic), .number(score.gradientDot), .number(score.updateNorm),
          .number(known: score.cosineGradient), .number(known: score.cosineReference),
          .number(score.seconds), .integer(score.monteCarloSamples), .number(score.gammaError),
          .text(result.precision.rawValue), .text(score.defect?.rawValue),
          .text(score.family), .text(score.role.rawValue), .flag(score.isMarked),
          .number(score.sharpness), .number(score.withinLayers),
          .number(score.withinLayers.map { 1 - $0 }),
          .text(result.run), .text(result.sample.rawValue),
        ])
      }
    }
    return table
  }

  /// A row per checkpoint and batch.
  public var batches: ReportTable {
    var table = ReportTable(
      name: "batches",
      columns: [
        "checkpoint", "epoch", "step", "batch", "samples", "loss", "gradient_norm",
        "gradient_norm_ratio", "logit_gradient_norm_ratio", "gamma_bound", "reference_gamma",
        "reference_iterations", "reference_residual", "reference_stop", "seconds",
        "reference_solver", "reference_excess_bound", "reference_excess_estimate", "precision",
        "mean_loss", "reference_status", "sampled_labels", "sampled_labels_changed",
        "data_samples", "duplicates", "sampled_duplicates", "reference_converged", "run",
        "sequences", "reference_excess_short",
      ])
    for (entry, result) in entries.flatMap({ entry in entry.results.map { (entry, $0) } }) {
      let reference = result.reference
      table.append([
        .text(result.checkpoint), .integer(result.epoch), .integer(result.step),
        .integer(result.batch), .integer(result.samples), .number(result.loss),
        .number(result.gradientNorm), .number(known: result.gradientNormRatio),
        .number(known: result.logitGradientNormRatio), .number(result.gammaBound),
        .number(known: reference?.gamma), .integer(reference?.iterations),
        .number(reference?.residual),
        .text(reference?.stop), .number(result.seconds), .text(reference?.kind.name),
        .number(result.referenceExcess?.bound), .number(result.referenceExcess?.estimate),
        .text(result.precision.rawValue), .number(result.meanLoss),
        .text(reference?.status.rawValue), .integer(result.sampledLabels?.all),
        .integer(result.sampledLabels?.changed), .integer(entry.description.data?.samples),
        .integer(result.duplicates?.samples), .integer(result.duplicates?.sampled),
        .flag(reference?.isConverged), .text(result.run), .integer(result.drawn),
        .number(result.referenceExcess?.ofShort),
      ])
    }
    return table
  }

  /// A row per iterate of every reference solve.
  public var cg: ReportTable {
    var table = ReportTable(name: "cg", columns: Self.traceColumns)
    for result in entries.flatMap(\.results) {
      for row in result.trace {
        table.append(
          Self.trace(
            row, checkpoint: result.checkpoint, batch: result.batch, run: result.run))
      }
    }
    return table
  }

  static let traceColumns = [
    "checkpoint", "batch", "iteration", "relative_residual", "gamma", "seconds", "run",
  ]

  static func trace(
    _ row: TraceRow, checkpoint: String, batch: Int, run: String?
  ) -> [ReportCell] {
    [
      .text(checkpoint), .integer(batch), .integer(row.iteration), .number(row.relativeResidual),
      .number(row.gamma), .number(row.seconds), .text(run),
    ]
  }
}

// MARK: - One row per checkpoint, method and damping

extension Report {
  /// Statistics over the batches: means and standard deviations first (n - 1; empty for a single
  /// batch), then standard errors of the means and order statistics.
  public var summary: ReportTable {
    let measures = ["gamma", "gamma_rel_sgd", "gamma_rel_reference", "efficiency"]
    var columns = ["checkpoint", "epoch", "step", "method", "damping", "mc_samples", "batches"]
    for measure in measures { columns += [measure + "_mean", measure + "_std"] }
    for measure in measures {
      columns += ["_stderr", "_min", "_median", "_max"].map { measure + $0 }
    }
    columns += ["batches_reference_not_converged", "batches_without_gamma", "role", "run"]
    var table = ReportTable(name: "summary", columns: columns)
    for entry in entries {
      for group in entry.summaries {
        let place = entry.description
        var row: [ReportCell] = [
          .text(place.path), .integer(place.epoch), .integer(place.step), .text(group.method),
          .text(group.damping), .integer(group.monteCarloSamples), .integer(group.gamma.count),
        ]
        // Where a batch has none, `batches_without_gamma` says so.
        let measures = [
          group.batchesWithoutGamma == 0 ? group.gamma : nil, group.gammaRelativeToSGD,
          group.gammaRelativeToReference, group.efficiency,
        ]
        for measure in measures {
          row += [.number(measure?.mean), .number(measure?.standardDeviation)]
        }
        for measure in measures {
          row += [
            .number(measure?.standardError), .number(measure?.min),
            .number(measure?.median), .number(measure?.max),
          ]
        }
        row += [
          .integer(group.batchesWithoutReference), .integer(group.batchesWithoutGamma),
          .text(group.role.rawValue), .text(place.run),
        ]
        table.append(row)
      }
    }
    return table
  }
}
