import Curvature
import GraphModule
import HessianFree
import TensorModule

/// `(F_b + lambda I)^-1 g_b` of one block of parameters by conjugate gradients, with products
/// `F_b v = J_b^T H J_b v` of the linearization in the block alone: passes from the first of its parameters on,
/// and vectors of its own length.
///
/// Where it ends before it has converged, the part is the iterate of least error, and an estimate of what is
/// missing goes with it.
struct IteratedBlock<S: EngineScalar> {
  private let group: [ParameterID]
  private let fisher: FisherOperator<S>
  private let workspace: ConjugateGradient.Workspace<S>
  /// g_b over `gradientUnit`.
  private let gradient: Vector<S>
  private let gradientUnit: Double

  /// - Returns: `nil` where the logits do not depend on the block, or nothing of F is left.
  init?(_ gradients: BatchGradients<S>, _ group: [ParameterID]) {
    guard let own = gradients.linearization.restricted(to: group),
      let unit = gradients.output.curvatureUnit(.fisher)
    else { return nil }
    self.group = group
    fisher = FisherOperator(own, gradients.output, unit: unit)
    workspace = ConjugateGradient.Workspace(
      VectorOperations(pool: own.pool, count: own.parameterCount))
    let ones = [Double](repeating: 1, count: gradients.samples)
    let sum = gradients.perSample.prefix(draws: 1).restricted(to: group).weightedSum(
      ones, of: group)
    let scaled = ScaledVector<S>(rounding: sum.values)
    (gradient, gradientUnit) = (scaled.vector, scaled.scale * sum.unit)
  }

  /// - Parameters:
  ///   - lambda: In units of `batchUnit` squared.
  ///   - error: Of g_b, as a share of its norm.
  func write(
    lambda: Double, batchUnit: Double, error: Double, limits: SolveLimits,
    to parts: DirectionParts<S>
  ) throws(SolveError) {
    // An even power of two.
    let root = fisher.unit.squareRoot()
    let mu = rescaled(lambda: lambda, from: batchUnit, to: root)
    let damped = DampedOperator(fisher, mu: mu, operations: workspace.operations)
    let result = try ConjugateGradient(limits).solve(
      damped, rhs: gradient, into: Vector(count: gradient.count), workspace: workspace)
    let values = Vector<Double>(count: gradient.count)
    Kernels.toDouble(result.x.pointer, values.pointer, count: values.count)
    let exponent = gradientUnit.exponent - fisher.unit.exponent
    parts.set(group, values.pointer, exponent: exponent)
    parts.setError(
      group[0], relative: error, of: values.pointer, count: values.count, exponent: exponent)
    // All of it where nothing is known.
    let missing =
      result.stop == .zeroRightHandSide ? 0 : result.errorEstimate ?? result.terms.quadratic
    parts.setMissing(
      group[0], missing.squareRoot(), exponent: gradientUnit.exponent - root.exponent)
    parts.solves.enter(result)
  }
}

/// How the solves of a direction's blocks have ended.
public struct BlockSolves: Sendable, Equatable, Codable {
  /// Blocks that were solved for by iterations.
  public internal(set) var blocks = 0
  /// Those that had not converged.
  public internal(set) var unconverged = 0
  /// The most that one has taken.
  public internal(set) var iterations = 0
  /// The largest `|r| / |g_b|` that was left.
  public internal(set) var residual = 0.0

  /// None yet.
  public init() {}

  mutating func enter<S>(_ result: SolveResult<S>) {
    blocks += 1
    if !result.stop.isConverged { unconverged += 1 }
    iterations = max(iterations, result.iterations)
    residual = max(residual, result.residual)
  }
}

/// How blocks of the Fisher matrix are solved with.
package enum BlockSolver: Sendable {
  /// By the products of their rows of B with each other, or the singular values of these.
  case matrices
  /// By conjugate gradients.
  case iterations
}

extension BlockSolver {
  /// What the rows of B of all blocks, and the matrix of one of them with its factors, may take.
  private static var mostBytes: Int { 1 << 31 }
  /// Operations of exact solutions that are worth it whatever iterations cost, some ten seconds; and how many
  /// times all iterations that are allowed they may cost beyond that.
  private static var fewOperations: Double { 0x1p40 }
  private static var patience: Double { 10 }

  /// The one for these blocks: matrices where they are small. By shapes and settings alone, as the same numbers
  /// are to come out everywhere.
  package init<S: EngineScalar>(
    _ needs: BatchNeeds<S>, _ groups: [[ParameterID]], iterations: Int
  ) {
    // As if cross-entropy had a column for every class.
    let columns = needs.logitCount
    let rows = (ByteCount(columns) * ByteCount(needs.samples)).value
    let bytes = needs.rows(draws: columns) + needs.doubles(4, rows, rows)
    let n = Double(rows)
    let counts = groups.map { Double(needs.program.count(of: $0)) }
    // Products of rows, and an eigen-decomposition; or singular values (Golub and Van Loan, table 8.6.1).
    let exact = counts.reduce(0) { sum, count in
      sum
        + (n < count
          ? n * n * count.squareRoot() + 12 * n * n * n
          : 8 * n * count * count + 44 * count * count * count)
    }
    let product = ProductNeeds(needs).operations
    let iterated = Double(counts.count) * Double(iterations) * product
    let passes = Double(columns) * product / 4
    let isSmall =
      bytes <= ByteCount(Self.mostBytes)
      && exact + passes <= max(Self.fewOperations, Self.patience * iterated)
    self = isSmall ? .matrices : .iterations
  }
}
