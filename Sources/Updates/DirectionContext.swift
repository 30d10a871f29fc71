import Curvature
import TensorModule

/// What rules know of a batch. What several of them need is made once, when the first of them asks.
package final class DirectionContext<S: EngineScalar> {
  /// With as many draws as the method is to have.
  package let gradients: BatchGradients<S>
  package private(set) lazy var blocks = TensorBlocks(gradients)
  private var squares: [MethodNeeds.Squares: SummedSquares<S>] = [:]
  private let source: (any DirectionSource<S>)?

  /// - Parameter source: Not needed by methods that neither solve nor read.
  package init(_ gradients: BatchGradients<S>, source: (any DirectionSource<S>)? = nil) {
    self.gradients = gradients
    self.source = source
  }

  package func summedSquares(_ kind: MethodNeeds.Squares) -> SummedSquares<S> {
    if let known = squares[kind] { return known }
    let made = SummedSquares(gradients, kind)
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
