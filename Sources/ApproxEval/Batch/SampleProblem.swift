import Curvature
import GraphModule
import TensorModule
import Updates

/// What the gradients of single samples are made from: the batch as it is, or every scored position of it
/// as a sample of its own.
///
/// Of tokens, gradient, F and gamma of a direction are those of the batch: these, and the reference, are
/// computed on whole sequences.
struct SampleProblem<S: EngineScalar> {
  let linearization: Linearization<S>
  let output: OutputState<S>
  let labels: Labels
  let storedDraws: [LogitGradient]
  /// Per sample its row `n O + o` in the batch; `nil` where samples are those of the batch.
  let rows: [Int]?
  private let problem: BatchProblem<S>
  private let formsDirections: Bool

  /// The batch as it is.
  ///
  /// - Parameter formsDirections: Whether directions are formed even where that costs more.
  init(_ problem: BatchProblem<S>, formsDirections: Bool = false) {
    (self.problem, self.formsDirections) = (problem, formsDirections)
    (linearization, output) = (problem.linearization, problem.output)
    (labels, storedDraws, rows) = (problem.labels, problem.storedDraws, nil)
  }

  /// Every scored position of it.
  ///
  /// - Parameter batch: What the problem was made from.
  init(
    tokensOf problem: BatchProblem<S>, _ tokens: TokenSamples, _ batch: BatchReader.Batch<S>,
    parameters: ParameterStore<S>
  ) {
    (self.problem, formsDirections) = (problem, true)
    let whole = problem.linearization
    let own = TokenBatch(batch, whole.program.graph)
    linearization = Linearization(
      program: tokens.program, layerProgram: tokens.layerProgram, parameters: parameters,
      inputs: own.inputs, pool: whole.pool, budget: whole.spareBudget)
    let output = OutputState(
      loss: problem.output.loss, labels: own.labels, weighting: own.weighting,
      linearization: linearization)
    self.output = output
    (labels, rows) = (own.labels, own.rows)
    let linearization = linearization
    storedDraws = own.sampledLabels.map {
      output.gradient(forSampled: $0, linearization: linearization)
    }
  }

  /// Gradients of labels drawn from the model: those that the batch as it is would have.
  func sampledGradients(draws: Int, seed: UInt64, batch: Int) -> [LogitGradient] {
    let drawn = problem.output.sampledGradients(draws: draws, seed: seed, batch: batch)
    return drawn.map { tokens(of: $0) }
  }

  /// What a gradient of drawn labels of the batch is for its tokens.
  func tokens(of gradient: LogitGradient) -> LogitGradient {
    guard let rows else { return gradient }
    switch gradient {
    case .softmax(let labels, _, _):
      // With the probabilities of these very logits: a label that is drawn as it is has the same gradient.
      return output.gradient(
        forSampled: .classes(rows.map { labels[$0] }), linearization: linearization)
    case .elementwise(let u):
      return .elementwise(rows.flatMap { u[$0 * output.classes..<($0 + 1) * output.classes] })
    case .centred: preconditionFailure("SampleProblem: drawn labels are single classes")
    }
  }

  /// Gradients of all samples. Of tokens, directions are formed: combinations of theirs would be multiplied
  /// by J token by token.
  ///
  /// - Parameter isSolved: Whether Gram matrices will be solved with.
  func gradients(
    sampled: [LogitGradient], dropDuplicates: Double?, isSolved: Bool
  ) -> BatchGradients<S> {
    BatchGradients(
      linearization, output, sampled: sampled, dropDuplicates: dropDuplicates,
      usesCombinations: formsDirections ? false : nil, isSolved: isSolved)
  }

  /// Per sample the one of the batch that it is of.
  var sequences: [Int]? { rows.map { $0.map { $0 / problem.output.positions } } }
}
