import Checkpoints
import Foundation
import Models

/// One checkpoint of a run with what belongs to it alone.
public struct CheckpointInput: Sendable, Equatable, Codable {
  /// A file or a folder.
  public var path: String
  /// Folder of a PEFT adapter on the model at `path`.
  public var adapter: String?
  /// The state of the optimiser at this checkpoint.
  public var optimizerState: String?
  /// Files with directions to score at it.
  public var updateFiles: [String] = []
  /// As of `EvaluationOptions`.
  public var directionNames: [String: String] = [:]

  public init(path: String, adapter: String? = nil) {
    self.path = path
    self.adapter = adapter
  }

  /// What was scored: the adapter where there is one.
  public var name: String { adapter ?? path }
}

extension EvaluationOptions {
  /// Those of one checkpoint.
  public func of(_ input: CheckpointInput) -> EvaluationOptions {
    var options = self
    options.adapter = input.adapter ?? adapter
    options.optimizerState = input.optimizerState ?? optimizerState
    if !input.updateFiles.isEmpty { options.updateFiles = input.updateFiles }
    options.directionNames.merge(input.directionNames) { $1 }
    return options
  }
}

/// Files of a series, one for each checkpoint, as they are written on a command line: as many as
/// there are checkpoints, in their order, or patterns with places for what tells a checkpoint from
/// the others.
public struct SeriesFiles: Sendable, Equatable {
  /// Word in place of a file: the state that lies in the same file or folder as the weights.
  public static let automatic = "auto"

  public var optimizerStates: [String]
  public var updates: [String]

  public init(optimizerStates: [String] = [], updates: [String] = []) {
    self.optimizerStates = optimizerStates
    self.updates = updates
  }
}

extension Evaluation {
  /// Gives each checkpoint its files.
  ///
  /// - Parameters:
  ///   - adapters: On the one checkpoint that is given, each of which is scored.
  /// - Throws: `EvaluationError.series` where numbers of files do not agree or a pattern asks for what
  ///   a checkpoint does not tell; everything that opening a checkpoint may throw.
  public func inputs(
    checkpoints: [String], adapters: [String] = [], files series: SeriesFiles = SeriesFiles()
  ) throws(EvaluationError) -> [CheckpointInput] {
    var inputs = checkpoints.map { CheckpointInput(path: $0) }
    if !adapters.isEmpty {
      guard let base = checkpoints.first, checkpoints.count == 1 else {
        throw .series(.adapters(adapters.count, checkpoints: checkpoints.count))
      }
      inputs = adapters.map { CheckpointInput(path: base, adapter: $0) }
    }
    return try evaluating {
      let states = try each(series.optimizerStates, inputs, .optimizerState)
      let updates = try eachOfSeveral(series.updates, inputs, .updates)
      for index in inputs.indices {
        inputs[index].optimizerState = states.isEmpty ? nil : states[index]
        inputs[index].updateFiles = updates.map { $0.files[index] }
        // A direction that has the name of its file would have another one at every checkpoint.
        for update in updates { inputs[index].directionNames[update.files[index]] = update.name }
      }
      return inputs
    }
  }

  /// One file for each checkpoint; none if none is given.
  private func each(
    _ given: [String], _ inputs: [CheckpointInput], _ setting: Setting
  ) throws -> [String] {
    guard let first = given.first else { return [] }
    if given.count == 1 {
      if first == SeriesFiles.automatic { return try inputs.map(ownState) }
      if SeriesPattern(first).hasPlaces { return try inputs.map { try file(first, $0, setting) } }
      if inputs.count > 1 {
        throw EvaluationError.sharedUpdate(setting, file: first, checkpoints: inputs.count)
      }
    }
    try requireCount(given, inputs, setting)
    return given
  }

  /// A row of files with one for each checkpoint, and the name that they have in common.
  private struct Row {
    var files: [String]
    /// `nil`: that of the file.
    var name: String?
  }

  /// Patterns, each of which has a file for each checkpoint, and files; a single checkpoint takes all
  /// of these.
  private func eachOfSeveral(
    _ given: [String], _ inputs: [CheckpointInput], _ setting: Setting
  ) throws -> [Row] {
    var rows: [Row] = []
    var plain: [String] = []
    for path in given {
      let pattern = SeriesPattern(path)
      if pattern.hasPlaces {
        rows.append(
          Row(files: try inputs.map { try file(path, $0, setting) }, name: pattern.commonName))
      } else {
        plain.append(path)
      }
    }
    if inputs.count == 1 { return plain.map { Row(files: [$0]) } + rows }
    guard let first = plain.first else { return rows }
    if plain.count == 1 {
      throw EvaluationError.sharedUpdate(setting, file: first, checkpoints: inputs.count)
    }
    try requireCount(plain, inputs, setting)
    return [Row(files: plain, name: SeriesPattern.commonName(of: plain))] + rows
  }

  private func requireCount(
    _ given: [String], _ inputs: [CheckpointInput], _ setting: Setting
  ) throws(EvaluationError) {
    if given.count == inputs.count { return }
    throw .series(.count(setting, given.count, checkpoints: inputs.count))
  }

  /// The file that a pattern means at a checkpoint.
  private func file(_ pattern: String, _ input: CheckpointInput, _ setting: Setting) throws
    -> String
  {
    let place =
      SeriesPattern(pattern).asksForPlace
      ? try CheckpointSource(
        path: input.path, adapter: input.adapter, model: options.model, loss: options.loss,
        classAxis: options.classAxis, task: options.task.flatMap(LanguageTask.init(rawValue:)),
        files: files.part()) : nil
    let candidates = try SeriesPattern(pattern).paths(
      checkpoint: input.name, epoch: place?.epoch, step: place?.step
    ) { missing in
      EvaluationError.series(.untold(setting, pattern, missing, checkpoint: input.name))
    }
    // As the checkpoint's own name spells a number, or plainly.
    return candidates.first { (try? files.kind(of: $0)) ?? nil != nil } ?? candidates[0]
  }

  /// The file that has the optimiser's state beside the weights.
  private func ownState(_ input: CheckpointInput) throws -> String {
    let path = input.name
    guard files.isFolder(path) else { return path }
    if let file = try TrainerState.optimizerFile(in: path, files: files) { return file }
    throw EvaluationError.series(.noState(folder: path))
  }
}
