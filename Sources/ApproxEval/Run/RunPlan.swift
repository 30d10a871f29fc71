import Checkpoints

/// The batches of a run, checkpoint by checkpoint, in the order in which they are scored.
public struct RunPlan: Sendable {
  /// A checkpoint and the numbers of its batches.
  public struct Checkpoint: Sendable, Equatable {
    /// What is read for it.
    public var input: CheckpointInput
    /// What its headers say.
    public var description: CheckpointDescription
    /// Their numbers.
    public var batches: Range<Int>
    /// Paths of all that is read for it: its own files, the data, updates.
    var files: [String] = []
    /// Names of the users' directions that are scored at it, which its rows tell.
    var directions: [String] = []

    /// - Parameter input: `nil`: what the description is of, with nothing else.
    public init(
      _ input: CheckpointInput? = nil, description: CheckpointDescription, batches: Range<Int>
    ) {
      self.input = input ?? CheckpointInput(path: description.path)
      self.description = description
      self.batches = batches
    }
  }

  /// One batch by its place in the run.
  public struct Step: Sendable, Equatable {
    /// Index among the checkpoints.
    public var checkpoint: Int
    /// The batch's number.
    public var batch: Int
  }

  /// All of the run, of whatever shard.
  public let checkpoints: [Checkpoint]
  /// `nil` for a run in one piece.
  public let shard: Shard?
  /// What is no part of it, as something is wrong with it.
  public let leftOut: [CheckpointFailure]
  let steps: RunSteps

  /// - Parameter shard: The part of them that is scored here; `nil`: all.
  public init(
    _ checkpoints: [Checkpoint], shard: Shard? = nil, leftOut: [CheckpointFailure] = []
  ) {
    self.checkpoints = checkpoints
    self.leftOut = leftOut
    self.shard = shard
    steps = RunSteps(
      checkpoints.map { ($0.description.path, $0.batches) }, shard: shard)
  }

  /// The part of it that a shard scores.
  public func part(_ shard: Shard?) -> RunPlan {
    RunPlan(checkpoints, shard: shard, leftOut: leftOut)
  }

  /// Number of batches that are scored.
  public var count: Int { steps.part.count }

  /// Numbers of the batches that are scored, counted through all checkpoints.
  public var numbers: Range<Int> { steps.part }

  /// `nil` for a number that is not scored.
  public func step(_ number: Int) -> Step? { steps.step(number) }

  /// Numbers of a checkpoint's batches that are scored.
  public func numbers(ofCheckpoint index: Int) -> Range<Int> {
    steps.numbers(ofCheckpoint: index)
  }

  /// The number of a checkpoint's first batch, scored or not.
  func firstNumber(ofCheckpoint index: Int) -> Int { steps.firsts[index] }

  /// Results in the order of the run, by checkpoint; those without a result are left out.
  ///
  /// - Parameters:
  ///   - results: By number.
  ///   - names: How the report's notes spell settings.
  public func report(
    _ results: [Int: BatchResult], names: SettingNames = .plain
  ) -> Report {
    Report(checkpoints.indices.compactMap { entry(ofCheckpoint: $0, results, names: names) })
  }

  /// The results of one checkpoint; `nil` without any.
  func entry(
    ofCheckpoint index: Int, _ results: [Int: BatchResult], names: SettingNames
  ) -> Report.Entry? {
    let own = numbers(ofCheckpoint: index).compactMap { results[$0] }
    if own.isEmpty { return nil }
    let checkpoint = checkpoints[index]
    return Report.Entry(checkpoint.description, own, input: checkpoint.input, names: names)
  }
}

// MARK: - Algorithm 4 over a plan

extension Evaluation {
  /// What a run over these checkpoints will do, without reading numbers.
  ///
  /// - Throws: Everything that the headers of all files tell.
  public func plan(checkpoints: [String]) throws(EvaluationError) -> RunPlan {
    if checkpoints.count > 1 {
      if let file = options.optimizerState {
        throw .sharedUpdate(.optimizerState, file: file, checkpoints: checkpoints.count)
      }
      if let file = options.updateFiles.first {
        throw .sharedUpdate(.updates, file: file, checkpoints: checkpoints.count)
      }
    }
    return try plan(checkpoints.map { CheckpointInput(path: $0) })
  }

  /// The same for checkpoints with files of their own.
  ///
  /// - Parameter keepsGoing: Whether a checkpoint with which something is wrong is left out; else that
  ///   is an error.
  public func plan(
    _ inputs: [CheckpointInput], keepsGoing: Bool = false
  ) throws(EvaluationError) -> RunPlan {
    var planned: [RunPlan.Checkpoint] = []
    var leftOut: [CheckpointFailure] = []
    for input in inputs {
      do throws(EvaluationError) {
        planned.append(try of(input).planned(input))
      } catch {
        if !keepsGoing { throw error }
        leftOut.append(CheckpointFailure(checkpoint: input.name, error: error))
      }
    }
    return RunPlan(planned, leftOut: leftOut)
  }

  func planned(_ input: CheckpointInput) throws(EvaluationError) -> RunPlan.Checkpoint {
    try evaluating {
      let checkpoint = try LoadedCheckpoint(path: input.path, options: options, files: files)
      var description = checkpoint.description
      let updates = try options.updates(of: checkpoint)
      for update in updates {
        try update.check(checkpoint)
        description.notes += try update.notes(checkpoint)
      }
      let count = try BatchScoring(self, checkpoint, source(checkpoint)).source.count
      var planned = RunPlan.Checkpoint(
        input, description: description,
        batches: options.firstBatch..<options.firstBatch + count)
      planned.files = checkpoint.files.usedPaths
      planned.directions = updates.map(\.name)
      return planned
    }
  }

  /// Scores every batch of a plan that is not finished. Results do not depend on where a run begins.
  ///
  /// - Parameters:
  ///   - finished: Numbers of batches that need not be scored.
  ///   - failing: Takes what goes wrong at a checkpoint, whose other batches are then left out; what it
  ///     throws ends the run. `nil`: what goes wrong ends it.
  ///   - observe: Called after each batch, in order, with its number; what it throws ends the run.
  public func score(
    _ plan: RunPlan, skipping finished: Set<Int> = [],
    failing: ((CheckpointFailure) throws(EvaluationError) -> Void)? = nil,
    observing observe: (Int, BatchResult) throws(EvaluationError) -> Void
  ) throws(EvaluationError) {
    for (index, checkpoint) in plan.checkpoints.enumerated() {
      let rest = plan.numbers(ofCheckpoint: index).lazy.filter { !finished.contains($0) }
      if rest.first == nil { continue }
      let first = checkpoint.batches.lowerBound - plan.firstNumber(ofCheckpoint: index)
      // What ends the run whatever failures are taken.
      var isObserved = false
      var batch: Int?
      do throws(EvaluationError) {
        try of(checkpoint.input).score(
          checkpoint: checkpoint.input.path,
          batches: { _ in
            rest.map { number in
              batch = number + first
              return number + first
            }
          },
          observing: { result throws(EvaluationError) in
            isObserved = true
            try observe(result.batch - first, result)
            isObserved = false
          })
      } catch {
        guard let failing, !isObserved else { throw error }
        try failing(
          CheckpointFailure(
            checkpoint: checkpoint.description.path, index: index, batch: batch, error: error))
      }
    }
  }
}
