import Curvature
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
  private let draw: (_ draws: Int) -> [LogitGradient]

  /// - Parameters:
  ///   - source: Not needed by methods that neither solve nor read.
  ///   - draw: Draws labels for whoever estimates what it cannot sum.
  package init(
    _ gradients: BatchGradients<S>, source: (any DirectionSource<S>)? = nil,
    draw: ((_ draws: Int) -> [LogitGradient])? = nil
  ) {
    self.gradients = gradients
    self.source = source
    self.draw = draw ?? { gradients.output.sampledGradients(draws: $0, seed: 0, batch: 0) }
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
