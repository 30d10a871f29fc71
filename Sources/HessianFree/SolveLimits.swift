import TensorModule

/// When an iterative solve ends by itself, and what it may keep: the settings of every solver here.
public struct SolveLimits: Equatable, Sendable {
  /// Stop when `|r| <= relativeTolerance |b|`, r the residual of the (normal) equations.
  public var relativeTolerance: Double
  /// Steps, each of one product with the operator (LSQR: and one with its transpose).
  public var maxIterations: Int
  /// Steps between two true residuals.
  public var residualCheckInterval: Int
  /// Memory for vectors of earlier steps, against which new ones are made orthogonal; 0 turns that off.
  public var historyBytes: Int
  /// Whether the result is to say what is estimated to be missing of it.
  public var estimatesError: Bool

  /// The defaults keep vectors of up to 256 MiB.
  public init(
    relativeTolerance: Double = 1e-6, maxIterations: Int = 1000, residualCheckInterval: Int = 50,
    historyBytes: Int = 1 << 28, estimatesError: Bool = true
  ) {
    precondition(relativeTolerance >= 0, "SolveLimits: tolerance \(relativeTolerance)")
    precondition(maxIterations >= 0, "SolveLimits: \(maxIterations) iterations")
    precondition(
      residualCheckInterval > 0, "SolveLimits: a check every \(residualCheckInterval) steps")
    self.relativeTolerance = relativeTolerance
    self.maxIterations = maxIterations
    self.residualCheckInterval = residualCheckInterval
    self.historyBytes = historyBytes
    self.estimatesError = estimatesError
  }

  /// How far the recurrence may be from the true residual, relative to b.
  var drift: Double { 10 * relativeTolerance }

  /// How many vectors of so many bytes are kept in what is left of the memory for them: all, or as many
  /// as there is room for; few of many are not worth their memory.
  public func keptVectors(of bytes: Int, beside others: Int = 0) -> Int {
    let room = max(historyBytes - others, 0) / max(bytes, 1)
    return room >= min(maxIterations, 100) ? min(room, maxIterations + 1) : 0
  }

  /// Vectors of so many elements in one piece of memory: enough for tall products, little enough to waste
  /// nothing.
  static func slab(of count: Int) -> Int { max(1, min(32, (1 << 22) / max(count, 1))) }

  /// What the vectors of so many elements take that are kept after so many iterations.
  public func keptBytes<Scalar>(
    of count: Int, _: Scalar.Type, after iterations: Int
  ) -> ByteCount {
    let bytes = ByteCount(ByteCount(count), of: Scalar.self)
    let slab = Self.slab(of: count)
    let kept = min(keptVectors(of: bytes.value), max(iterations, 0))
    return (kept + slab - 1) / slab * ByteCount(vector: slab * ByteCount(count), of: Scalar.self)
  }
}
