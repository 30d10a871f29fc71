/// How much gamma of a reference can be above the least that any direction has, as a share of it.
public struct ReferenceExcess: Sendable, Equatable {
  /// By the certificate: proved, whatever the solver did; where a direct solver knows the singular values
  /// of B by these, if that is less. Wide where the least gamma lies above gamma_bound, as where there
  /// are more logits than parameters, and no singular values are known.
  public var bound: Double?
  /// Above all directions that are up to twice as long, for the same `d^T g`: proved by the residual.
  /// Never more than `bound`.
  public var ofShort: Double?
  /// By the solver's own account (`LanczosSteps`); no bound.
  public var estimate: Double?

  init(_ record: ReferenceRecord, bound: Double) {
    func excess(over least: Double) -> Double? {
      let value = record.gamma / least - 1
      // Rounding may put gamma below its bound.
      return value.isFinite ? max(value, 0) : nil
    }
    self.bound = excess(over: max(bound, record.leastGamma ?? 0))
    ofShort = [self.bound, record.leastGammaOfShort.flatMap { excess(over: $0) }]
      .compactMap { $0 }.min()
    estimate = record.leastGammaEstimate.flatMap { excess(over: $0) }
  }
}
