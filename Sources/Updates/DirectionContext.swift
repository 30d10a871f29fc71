import Curvature
import GraphModule
import HessianFree
import TensorModule

/// What rules know of a batch. What several of them need is made once, when the first of them asks.
package final class DirectionContext<S: EngineScalar> {
  /// With as many draws as the method is to have.
  package let gradients: BatchGradients<S>
  package private(set) lazy var blocks = TensorBlocks(gradients)
  package private(set) lazy var fisherRows = FisherRows(
    gradients.linearization, gradients.output)
  private var squares: [MethodNeeds.Squares: SummedSquares<S>] = [:]
  private let source: (any DirectionSource<S>)?
  /// Of solves of blocks by iterations.
  let blockLimits: SolveLimits
  /// How blocks are solved with; `nil`: as their sizes have it.
  private let givenBlockSolver: BlockSolver?
  private let draw: (_ draws: Int) -> [LogitGradient]
  /// What is kept for methods to come; `nil`: nothing of it.
  let preparedWeights: PreparedWeights?
  let sharedLayers: SharedLayers?

  /// - Parameters:
  ///   - source: Not needed by methods that neither solve nor read.
  ///   - blockLimits: Of solves of blocks by iterations.
  ///   - blockSolver: By default as the sizes of blocks have it.
  ///   - shared: What is kept for methods to come.
  ///   - draw: Draws labels for whoever estimates what it cannot sum.
  package init(
    _ gradients: BatchGradients<S>, source: (any DirectionSource<S>)? = nil,
    blockLimits: SolveLimits = SolveLimits(), blockSolver: BlockSolver? = nil,
    shared: SharedStatistics = .none, draw: ((_ draws: Int) -> [LogitGradient])? = nil
  ) {
    self.gradients = gradients
    self.source = source
    self.blockLimits = blockLimits
    givenBlockSolver = blockSolver
    let layerProgram = gradients.linearization.layerProgram
    preparedWeights =
      shared.kinds.contains(.matrices)
      ? PreparedWeights(parameters: layerProgram.graph.parameters.count) : nil
    sharedLayers =
      shared.kinds.contains(.layers)
      ? SharedLayers(layers: KroneckerPlan(layerProgram).layers.count) : nil
    self.draw = draw ?? { gradients.output.sampledGradients(draws: $0, seed: 0, batch: 0) }
  }

  func blockSolver(_ groups: [[ParameterID]]) -> BlockSolver {
    if let givenBlockSolver { return givenBlockSolver }
    let linearization = gradients.linearization
    let needs = BatchNeeds<S>(
      linearization.program, samples: linearization.samples, threads: linearization.pool.threads,
      budget: linearization.budget)
    return BlockSolver(needs, groups, iterations: blockLimits.maxIterations)
  }

  package func summedSquares(_ kind: MethodNeeds.Squares) -> SummedSquares<S> {
    if let known = squares[kind] { return known }
    let made = SummedSquares(gradients, kind, draw)
    squares[kind] = made
    return made
  }

  func requiredSource() -> any DirectionSource<S> {
    guard let source else { preconditionFailure("DirectionContext: no source of directions") }
    return source
  }
}

/// Directions that are not made of gradients here: of solvers that know the whole problem, and the
/// user's.
package protocol DirectionSource<S> {
  associatedtype S: EngineScalar

  /// `(C + lambda I)^-1 g`, C the curvature with this metric at the logits.
  func solution(_ metric: OutputMetric, _ damping: Damping) throws -> Direction<S>

  /// Where conjugate gradients on `(F + lambda I) x = g` are after so many iterations.
  func iterate(after iterations: Int, _ damping: Damping) throws -> Direction<S>

  /// The user's direction of this name.
  func update(_ name: String) -> Direction<S>
}
