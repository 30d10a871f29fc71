import Curvature
import HessianFree
import TensorModule

/// The vectors of the iterative solves of a run: the first solve of a kind and size makes them, the
/// others, of all batches and dampings, use them again.
package final class ReferenceWorkspace<S: EngineScalar> {
  /// For solves in logit space, with right-hand side and solution, of which nothing is kept.
  struct Pairs {
    let workspace: ConjugateGradient.Workspace<Double>
    let b: Vector<Double>
    let x: Vector<Double>
  }

  private var explicit: ConjugateGradient.Workspace<S>?
  private var pairs: Pairs?
  private var factor: LSQR.Workspace<S>?

  package init() {}

  /// How many vectors have been made for what is held.
  package var vectorsMade: Int {
    let spaces = [explicit?.operations.vectorsMade, factor?.long.vectorsMade]
    let doubles = [pairs?.workspace.operations.vectorsMade, factor?.short.vectorsMade]
    return (spaces + doubles).reduce(0) { $0 + ($1 ?? 0) }
  }

  /// For vectors of length P.
  func vectors(_ operations: VectorOperations<S>) -> ConjugateGradient.Workspace<S> {
    if let explicit, explicit.operations.isLike(operations) { return explicit }
    explicit = nil
    let made = ConjugateGradient.Workspace(operations)
    explicit = made
    return made
  }

  func pairs(_ fisher: LogitFisherOperator<S>) -> Pairs {
    let space = fisher.space()
    if let pairs, pairs.workspace.operations.isLike(space) { return pairs }
    pairs = nil
    let made = Pairs(
      workspace: ConjugateGradient.Workspace(space), b: space.vectors(), x: space.vectors())
    pairs = made
    return made
  }

  func rowsAndColumns(_ fisher: FisherFactor<S>) -> LSQR.Workspace<S> {
    let pool = fisher.linearization.pool
    let rows = VectorOperations<Double>(pool: pool, count: fisher.rows)
    let columns = VectorOperations<S>(pool: pool, count: fisher.columns)
    if let factor, factor.short.isLike(rows), factor.long.isLike(columns) { return factor }
    factor = nil
    let made = LSQR.Workspace(rows: rows, columns: columns)
    factor = made
    return made
  }
}

extension VectorOperations {
  /// Whether vectors of one are vectors of the other.
  fileprivate func isLike(_ other: VectorOperations) -> Bool {
    pool === other.pool && count == other.count && innerProduct == other.innerProduct
  }
}
