import Checkpoints
import Curvature
import GraphModule
import HessianFree
import TensorModule
import Updates

/// By the rows of B of each sample's leading classes.
struct LeadingClassesReference: ReferenceSolving {
  func solve<S: EngineScalar>(
    _ solver: ReferenceSolver<S>, _ gradients: BatchGradients<S>, of batch: BatchReference<S>
  ) throws -> ReferenceSolution<S> {
    try LeadingReference(
      batch.problem, gradients: gradients, memory: batch.budget.reference
    ).solve(
      gradient: gradients.gradient, damping: solver.damping, gap: solver.gap,
      tolerance: solver.tolerance)
  }
}

/// The natural gradient from a few rows of B: `x = B_U^T y` with `B_U B_U^T y = w_U`, `B_U = U^T B` the rows
/// of `LeadingRows`. Each is the cotangent of a backward pass of its own sample alone, but for one of each sample,
/// which the gradient of the sample leaves (`FormedRows`).
///
/// Late in training the probabilities have one or two classes left, and all other rows of B, whose sizes are
/// `sqrt(p)`, are next to zero. All of w is in the span of U, so that `x^T g = |w|^2` and
///
///     gamma(x)^2 = (1 + |(I - U U^T) B x|^2 / |w|^2) / |w|^2 :
///
/// what is lost is what x does to the classes that have no rows of their own, and a product tells how much that
/// is, class by class. Where it is more than was asked for, the classes that it comes from get rows.
package struct LeadingReference<S: EngineScalar> {
  let problem: BatchProblem<S>
  private let formed: FormedRows<S>
  /// Bytes that it may take.
  let memory: Int

  /// What may be left out of the trace of H at first, in units of the gap. On the fitted networks of
  /// Benchmarks/reference-suite.sh gamma ends 0.4 to 0.8 % above the bound with a fifth left out, or few classes are
  /// missing; with 30 % most batches take a second round, with 15 % up to half as much time again.
  static var share: Double { 20 }
  /// How much less is left out, where classes are added, than x as it is could bear, since x changes with the rows:
  /// little where little was missing, and more where what x moves says less.
  private static func reserve(_ excess: Double, gap: Double, round: Int) -> Double {
    excess <= 3 * gap && round == 0 ? 1.3 : 4
  }
  /// For `auto`: with more, most classes lead.
  static var mostRowsPerPosition: Int { 4 }
  /// How often classes may be added, and again where all is done in double.
  static var rounds: Int { 6 }

  /// - Parameter gradients: Of the same batch, which save a pass for each sample.
  package init(_ problem: BatchProblem<S>, gradients: BatchGradients<S>? = nil, memory: Int) {
    (self.problem, self.memory) = (problem, memory)
    formed = FormedRows(problem, gradients)
  }

  /// The rows that it begins with.
  ///
  /// - Returns: `nil` where they are more than so many.
  static func rows(
    _ output: OutputState<S>, gap: Double, damping mu: Double, share: Double = Self.share,
    most: Int = .max
  ) -> LeadingRows? {
    // Without a bound there is nothing to go by: all of them.
    output.leadingRows(leaving: mu == 0 ? min(share * gap, 1) : 0, most: most)
  }

  /// For so many rows, of a batch whose forward values are kept.
  static func requiredMemory(_ batch: BatchNeeds<S>, rows: Int, threads: Int) -> Int {
    let needs = BatchNeeds<S>(
      batch.program, samples: max(rows, batch.samples), threads: threads, budget: .max)
    // Products in the engine's precision, of every lane of the matrix.
    let lanes = max(1, min(8, (1 << 24) / max(rows * rows, 1)))
    return
      (ByteCount(GramNeeds(needs, draws: 1).total) + needs.gathered + batch.unfolded
      + BatchInputs<S>.bytes(batch.program, samples: rows)
      + lanes * batch.scalars(rows, rows)
      + batch.doubles(2, rows + batch.samples, rows + batch.samples)).value
  }

  /// `(F + mu I)^-1 g`; with damping, or without a gap, of all rows.
  ///
  /// - Parameters:
  ///   - gradient: g, for the residual.
  ///   - gap: A gamma this close to the bound counts as the least one.
  ///   - tolerance: So does a residual this small.
  ///   - share: What is left out at first, in units of the gap.
  ///   - first: The rows to begin with, where they are known.
  ///   - most: No classes are added beyond so many rows.
  /// - Throws: `SolveError.memory`
  package func solve(
    gradient: ScaledVector<S>, damping mu: Double, gap: Double, tolerance: Double,
    share: Double = Self.share, first: LeadingRows? = nil, most: Int = .max
  ) throws(SolveError) -> ReferenceSolution<S> {
    let output = problem.output
    let first = first ?? Self.rows(output, gap: gap, damping: mu, share: share)
    guard var rows = first, rows.count > 0 else {
      return problem.norm(gradient) > 0
        ? .none(problem, by: .leading, .certainty) : .zero(problem, by: .leading)
    }
    let isExact = mu > 0 || gap == 0
    if isExact && !formed.isInDouble { formed.formInDouble() }
    var best: ReferenceSolution<S>?
    var round = 0
    while true {
      let gram: GramReference<S>
      do throws(SolveError) { gram = try self.gram(rows) } catch {
        if let best { return best }
        throw error
      }
      if isExact {
        return try gram.solve(gradient: gradient, damping: mu, gap: gap, tolerance: tolerance)
      }
      let found = gram.bracketedSolution(gradient: gradient, gap: gap, tolerance: tolerance)
      if let found, found.record.isConverged { return found }
      if let found, !(best.map { $0.record.gamma <= found.record.gamma } ?? false) { best = found }
      let next = found?.halves?.tangent.flatMap {
        extended(rows, $0, gamma: found!.record.gamma, gap: gap, round: round)
      }
      if let next, next.count > most { break }
      if let next, round < Self.rounds {
        round += 1
        rows = next
      } else if formed.isInDouble || most < .max && !isNear(best, gap: gap) {
        break
      } else {
        // It is not classes that are missing, or so many are that rounding counts.
        formed.formInDouble()
        round = 0
      }
    }
    return best ?? .none(problem, by: .leading, output.missesLabels ? .missedLabel : .certainty)
  }

  /// Whether it is worth as much time again, where others are there to go on.
  private func isNear(_ best: ReferenceSolution<S>?, gap: Double) -> Bool {
    best.map { $0.record.gamma <= (1 + 3 * gap) * problem.output.gammaBound } ?? false
  }

  private func gram(_ rows: LeadingRows) throws(SolveError) -> GramReference<S> {
    let (linearization, output) = (problem.linearization, problem.output)
    let needs = BatchNeeds<S>(
      linearization.program, samples: linearization.samples, threads: linearization.pool.threads,
      budget: linearization.budget)
    let required = Self.requiredMemory(
      needs, rows: max(rows.count, formed.further(with: rows)), threads: linearization.pool.threads)
    if linearization.keptSamples < linearization.samples {
      // Where forward values do not fit, those of the rows would not either.
      let missing = ForwardStore<S>.bytes(linearization.program, samples: linearization.samples)
      throw .memory(required: (ByteCount(required) + missing).value, budget: memory)
    }
    if required > memory { throw .memory(required: required, budget: memory) }
    let (sizes, targets) = output.sizesAndTargets(rows)
    return GramReference(
      problem, .leading, formed.matrix(rows, sizes: sizes, targets: targets), sizes: sizes,
      target: targets, memory: memory)
  }

  /// With the classes besides that x moves by more than the gap allows; `nil` where these are not what is
  /// missing.
  private func extended(
    _ rows: LeadingRows, _ tangent: Vector<Double>, gamma: Double, gap: Double, round: Int
  ) -> LeadingRows? {
    let output = problem.output
    let image = output.multiplyRootTransposed(tangent)
    var square = 0.0
    for i in 0..<image.count { square += image[i] * image[i] }
    let unseen = output.unseenSquare(rows, image: image) / square
    let excess = gamma / output.gammaBound - 1
    guard unseen > 0, unseen < 1, excess.isFinite, 1 / (1 - unseen).squareRoot() - 1 > excess / 2
    else { return nil }
    let allowed = 1 - 1 / ((1 + gap) * (1 + gap))
    let extended = output.extended(
      rows, image: image,
      leaving: min(allowed / unseen, 1)
        / Self.reserve(excess, gap: gap, round: round))
    return extended.count > rows.count ? extended : nil
  }
}
