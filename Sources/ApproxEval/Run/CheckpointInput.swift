import Checkpoints
import Foundation

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

  /// A checkpoint, or an adapter on the model at `path`.
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

  /// States of optimisers, or a pattern, or `automatic`.
  public var optimizerStates: [String]
  /// Files with directions, or a pattern.
  public var updates: [String]

  /// With all of its parts.
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
      let places = try places(of: inputs, for: series)
      let states = try each(series.optimizerStates, places, .optimizerState)
      let updates = try eachOfSeveral(series.updates, places, .updates)
      for index in inputs.indices {
        inputs[index].optimizerState = states.isEmpty ? nil : states[index]
        inputs[index].updateFiles = updates.map { $0.files[index] }
        // A direction that has the name of its file would have another one at every checkpoint.
        for update in updates { inputs[index].directionNames[update.files[index]] = update.name }
      }
      return inputs
    }
  }

  /// A checkpoint with what it tells of when it was saved, as far as that is asked for.
  private struct Placed {
    var input: CheckpointInput
    var epoch: Int?
    var step: Int?
  }

  /// Opens each of them once at most, however many patterns ask.
  private func places(
    of inputs: [CheckpointInput], for series: SeriesFiles
  ) throws(CheckpointError) -> [Placed] {
    let patterns = (series.optimizerStates + series.updates).map { SeriesPattern($0) }
    if !patterns.contains(where: \.asksForPlace) { return inputs.map { Placed(input: $0) } }
    return try inputs.map { input throws(CheckpointError) in
      let source = try CheckpointSource(
        path: input.path, options: options.of(input), files: files.part())
      return Placed(input: input, epoch: source.epoch, step: source.step)
    }
  }

  /// One file for each checkpoint; none if none is given.
  private func each(
    _ given: [String], _ checkpoints: [Placed], _ setting: Setting
  ) throws -> [String] {
    guard let first = given.first else { return [] }
    if given.count == 1 {
      if first == SeriesFiles.automatic { return try checkpoints.map { try ownState($0.input) } }
      if SeriesPattern(first).hasPlaces {
        return try checkpoints.map { try file(first, $0, setting) }
      }
      if checkpoints.count > 1 {
        throw EvaluationError.sharedUpdate(setting, file: first, checkpoints: checkpoints.count)
      }
    }
    try requireCount(given, checkpoints, setting)
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
    _ given: [String], _ checkpoints: [Placed], _ setting: Setting
  ) throws -> [Row] {
    var rows: [Row] = []
    var plain: [String] = []
    for path in given {
      let pattern = SeriesPattern(path)
      if pattern.hasPlaces {
        rows.append(
          Row(files: try checkpoints.map { try file(path, $0, setting) }, name: pattern.commonName))
      } else {
        plain.append(path)
      }
    }
    if checkpoints.count == 1 { return plain.map { Row(files: [$0]) } + rows }
    guard let first = plain.first else { return rows }
    if plain.count == 1 {
      throw EvaluationError.sharedUpdate(setting, file: first, checkpoints: checkpoints.count)
    }
    try requireCount(plain, checkpoints, setting)
    return [Row(files: plain, name: SeriesPattern.commonName(of: plain))] + rows
  }

  private func requireCount(
    _ given: [String], _ checkpoints: [Placed], _ setting: Setting
  ) throws(EvaluationError) {
    if given.count == checkpoints.count { return }
    throw .series(.count(setting, given.count, checkpoints: checkpoints.count))
  }

  /// The file that a pattern means at a checkpoint.
  private func file(
    _ pattern: String, _ checkpoint: Placed, _ setting: Setting
  ) throws -> String {
    let name = checkpoint.input.name
    let candidates = try SeriesPattern(pattern).paths(
      checkpoint: name, epoch: checkpoint.epoch, step: checkpoint.step
    ) { missing in
      EvaluationError.series(.untold(setting, pattern, missing, checkpoint: name))
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
