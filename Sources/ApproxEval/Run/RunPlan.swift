import Checkpoints

/// The batches of a run, checkpoint by checkpoint, in the order in which they are scored.
public struct RunPlan: Sendable, Equatable {
  /// A checkpoint and the numbers of its batches.
  public struct Checkpoint: Sendable, Equatable {
    public var input: CheckpointInput
    public var description: CheckpointDescription
    public var batches: Range<Int>

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

  public let checkpoints: [Checkpoint]

  public init(_ checkpoints: [Checkpoint]) { self.checkpoints = checkpoints }

  /// Number of batches.
  public var count: Int { checkpoints.reduce(0) { $0 + $1.batches.count } }

  /// What is scored after `finished` batches; `nil` after the last one.
  public func step(after finished: Int) -> Step? {
    var rest = finished
    for (index, checkpoint) in checkpoints.enumerated() {
      if rest < checkpoint.batches.count {
        return Step(checkpoint: index, batch: checkpoint.batches.lowerBound + rest)
      }
      rest -= checkpoint.batches.count
    }
    return nil
  }

  /// Results in the order of the run, by checkpoint; those without a result are left out.
  public func report(_ results: [BatchResult]) -> Report {
    var rest = results[...]
    var entries: [Report.Entry] = []
    for checkpoint in checkpoints {
      let own = rest.prefix(checkpoint.batches.count)
      rest = rest.dropFirst(own.count)
      if !own.isEmpty { entries.append(Report.Entry(checkpoint.description, Array(own))) }
    }
    return Report(entries)
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
        throw .sharedUpdate(
          option: "--optimizer-state", file: file, checkpoints: checkpoints.count)
      }
      if let file = options.updateFiles.first {
        throw .sharedUpdate(option: "--updates", file: file, checkpoints: checkpoints.count)
      }
    }
    return try plan(checkpoints.map { CheckpointInput(path: $0) })
  }

  /// The same for checkpoints with files of their own.
  public func plan(_ inputs: [CheckpointInput]) throws(EvaluationError) -> RunPlan {
    var planned: [RunPlan.Checkpoint] = []
    for input in inputs {
      let (own, first) = (of(input), options.firstBatch)
      planned.append(
        RunPlan.Checkpoint(
          input, description: try own.describe(checkpoint: input.path),
          batches: first..<first + (try own.batchCount(checkpoint: input.path))))
    }
    return RunPlan(planned)
  }

  /// That of one checkpoint, with the same files and threads.
  public func of(_ input: CheckpointInput) -> Evaluation {
    Evaluation(options.of(input), files: files, pool: pool)
  }

  /// Scores every batch of a plan beyond the first `finished`. Results do not depend on where a
  /// run begins.
  ///
  /// - Parameter observe: Called after each batch, in order; what it throws ends the run.
  public func score(
    _ plan: RunPlan, after finished: Int = 0,
    observing observe: (BatchResult) throws(EvaluationError) -> Void
  ) throws(EvaluationError) {
    var rest = finished
    for checkpoint in plan.checkpoints {
      let batches = checkpoint.batches.dropFirst(rest)
      rest = max(rest - checkpoint.batches.count, 0)
      if batches.isEmpty { continue }
      try of(checkpoint.input).score(
        checkpoint: checkpoint.input.path, batches: batches, observing: observe)
    }
  }
}
