import Checkpoints
import Foundation
import Metrics

/// The version of the package, in reports and of the command.
public let packageVersion = "0.1.0"

/// run.json: what it takes to trace a number back.
public struct RunRecord: Sendable {
  /// With the name of the program.
  public var command: [String]
  let settings: RecordedSettings
  /// `nil` where the results are those of several runs.
  let threads: Int?
  /// Everything that is read, in the order in which it was opened: checkpoints, data, updates.
  public var files: [FileRecord]
  /// When the run began.
  public var start: Moment
  /// When it ended.
  public var end: Moment
  /// Batches that the run has to score; `nil` where the results are all there are.
  public var plannedBatches: Int?
  /// Batches that an earlier run had finished.
  public var resumedBatches = 0
  /// The part of the run that this one is.
  public var shard: Shard?
  /// Checkpoints that could not be scored, or not to their end.
  public var failures: [FailureRecord] = []
  /// What a reader must know of what was asked for; notes on results are not among them.
  public var notes: [String] = []
  /// Folders of the shards that the results come from.
  public var merged: [String] = []
  /// What it ran on.
  public var machine: Machine

  /// Reads all files of the run once, for their sums.
  ///
  /// - Parameter files: Those that the plan of the run has opened, and that it will score.
  /// - Throws: `changed` where one of them is no longer what was opened: its sum would be of neither.
  public init(
    command: [String], options: EvaluationOptions, files: InputFiles, start: Moment
  ) throws(CheckpointError) {
    self.init(
      command: command, settings: RecordedSettings(options), threads: options.threads,
      files: try FileRecord.all(files), start: start)
  }

  /// The same of files that others have read.
  init(
    command: [String], settings: RecordedSettings, threads: Int?, files: [FileRecord],
    start: Moment
  ) {
    self.command = command
    self.settings = settings
    self.threads = threads
    self.files = files
    self.start = start
    end = start
    machine = .current
  }

  /// The document, with what only the results tell.
  public func json(_ report: Report) -> ReportJSON {
    .members([
      "version": .text(packageVersion),
      "command": .texts(command),
      "seed": settings[.seed],
      "precision": settings[.precision],
      "threads": .integer(threads),
      "start": .text(Self.time(start.date)),
      "end": .text(Self.time(end.date)),
      "seconds": .number(end.seconds(since: start)),
      "complete": .bool(
        failures.isEmpty && report.batchCount == plannedBatches ?? report.batchCount),
      "batches_planned": .integer(plannedBatches ?? report.batchCount),
      "batches_finished": .integer(report.batchCount),
      "batches_resumed": .integer(resumedBatches),
      "batches_in_double": .integer(report.batchesInDouble),
      "batches_repeated_in_double": .integer(report.batchesRepeated),
      "references_not_converged": .integer(report.referencesNotConverged),
      "shard": .text(shard?.text),
      "merged": .texts(merged),
      "failures": .list(failures.map(\.json)),
      "tables": .texts(report.tables.map(\.name)),
      "options": settings.json,
      "checkpoints": .list(report.entries.map(json)),
      "files": .list(files.map(\.json)),
      "machine": machine.json,
      "notes": .texts(notes + report.notes),
    ])
  }

  private func json(_ entry: Report.Entry) -> ReportJSON {
    let it = entry.description
    return .members([
      "path": .text(it.path), "base": .text(it.base), "run": .text(it.run),
      "optimizer_state": .text(entry.input.optimizerState),
      "updates": .texts(entry.input.updateFiles), "model": .text(it.model), "loss": .text(it.loss),
      "loss_settings": .texts(it.lossSettings), "epoch": .integer(it.epoch),
      "step": .integer(it.step),
      "trainable_parameters": .integer(it.trainableParameters),
      "all_parameters": .integer(it.allParameters), "positions": .integer(it.positions),
      "classes": .integer(it.classes), "batches": .integer(entry.results.count),
      "parameters": .list(settings.goByParameters ? it.parameters.map(Self.json) : []),
    ])
  }

  private static func json(_ parameter: ParameterRole) -> ReportJSON {
    .members([
      "name": .text(parameter.name), "count": .integer(parameter.count),
      "status": .text(parameter.status.rawValue),
      "kfac_block": .text(parameter.kroneckerBlock),
    ])
  }

  /// ISO 8601 in UTC: `2026-02-01T12:30:05.123Z`.
  static func time(_ date: Date) -> String {
    date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }
}

// MARK: - Parts that records share

extension ReportJSON {
  /// A number where every reader of JSON keeps all of its digits.
  init(seed: UInt64) {
    self = seed < 1 << 53 ? .integer(Int(seed)) : .text(String(seed))
  }
}

extension FileRecord {
  var json: ReportJSON {
    .members(["path": .text(path), "bytes": .integer(bytes), "sha256": .text(sha256)])
  }
}

extension Machine {
  var json: ReportJSON {
    .members([
      "cores": .integer(cores), "processor": .text(processor), "memory": .integer(memory),
      "os": .text(operatingSystem), "blas": .text(blas), "kernels": .text(kernels),
    ])
  }
}

// MARK: - Notes

extension Report {
  /// What a reader of the numbers must know: gradients that are zero, rows without gamma or with one
  /// that rounding may have moved, batches done again in double, references that did not converge.
  public var notes: [String] {
    var notes =
      entries.flatMap { entry in
        entry.notes.map { "\(entry.description.path): " + $0 }
      } + spreadNotes
    for (entry, result) in entries.flatMap({ entry in entry.results.map { (entry, $0) } }) {
      let place = "\(result.checkpoint), batch \(result.batch): "
      if result.gradientNorm == 0 {
        notes.append(place + "the gradient is zero: " + entry.reason(ofZeroGradient: [result]))
      }
      for (score, defect) in result.scoresWithoutGamma {
        notes.append(place + score.identity.label + ": no gamma, as \(defect).")
      }
      if result.isRepeated {
        notes.append(
          place + "done again in double, as a gamma was marked or missing in single precision.")
      }
      for score in result.scores where score.isMarked {
        notes.append(
          place + score.identity.label
            + ": gamma may be off by \(score.gammaErrorText), by rounding.")
      }
      if let reference = result.reference, let choice = reference.choice {
        let before = reference.iterationsBefore.map {
          "conjugate gradients had not converged after \($0) iterations, "
        }
        notes.append(
          place + "reference by \(reference.kind.name): \(before ?? "")chosen by \(choice).")
      }
      if let reference = result.reference, !reference.isConverged {
        notes.append(
          place + "the reference did not converge. " + reference.account.spelled(by: entry.names))
      } else if let reference = result.reference, let row = reference.replacement {
        notes.append(place + "\(row) has the lower gamma and is the reference.")
      }
    }
    return notes
  }

  /// Every table and the record as one JSON document, with the fields of the files.
  public func json(_ record: RunRecord) -> ReportJSON {
    .object(
      [.init(key: "run", value: record.json(self))]
        + tables.map { .init(key: $0.name, value: ReportJSON($0)) })
  }

  /// The files of a report; run.json is the last to appear.
  public func add(to files: inout OutputFiles, folder: String, record: RunRecord) {
    for table in tables { files.add("\(folder)/\(table.name).csv", table.csv) }
    files.addRecord("\(folder)/run.json", record.json(self).document)
  }
}

// MARK: - Rows without gamma

extension Report.Entry {
  /// What a reader must know of the checkpoint, and of labels and samples of all batches.
  var notes: [String] { checkpointNotes + [bytesNote].compactMap { $0 } + batchNotes }

  /// The part of them that holds whatever the batch.
  var checkpointNotes: [String] { description.allNotes.map { $0.spelled(by: names) } }

  /// The part of them that is of labels and samples.
  var batchNotes: [String] {
    [sampledLabelsNote, duplicatesNote, blockSolvesNote].compactMap { $0 }
  }

  /// Why the gradients of these batches are zero, as a clause.
  func reason(ofZeroGradient flat: [BatchResult]) -> String {
    if description.loss == "cross_entropy" && description.classes == 1 {
      return "cross_entropy of a single logit is zero whatever the logit is, so there is no gamma. "
        + "One output per sample goes with the loss bce or mse."
    }
    if flat.allSatisfy({ $0.loss == 0 }) {
      return
        "every sample is fitted exactly, so no direction is distinguished and there is no gamma."
    }
    return "no direction is distinguished, so there is no gamma."
  }
}

extension BatchResult {
  /// Without those that other notes explain: all of a zero gradient, and the reference.
  var scoresWithoutGamma: [(score: Score, defect: Indicator.Defect)] {
    scores.compactMap { score in
      guard let defect = score.defect, defect != .zeroGradient,
        !(score.role == .reference && reference?.isConverged == false)
      else { return nil }
      return (score, defect)
    }
  }
}

extension Score {
  /// How far gamma may be off, in words.
  var gammaErrorText: String {
    let error = gammaError ?? 0
    return error < 1 ? shortened(100 * error, digits: 2) + " %" : "100 % or more"
  }
}

extension Indicator.Defect: CustomStringConvertible {
  /// The reason as a clause.
  public var description: String {
    switch self {
    case .zeroGradient: "the gradient is zero"
    case .flat: "the direction is zero or changes no output"
    case .underflow:
      "d^T F d is below the range of double next to d^T g, the model is too far off the labels"
    case .invalid: "d^T F d or d^T g is beyond the range of double"
    case .overflow: "lambda, or what it takes to solve with it, is beyond the range of double"
    }
  }
}
