import Curvature
import GraphModule
import TensorModule

/// SF of one block of parameters: `(Ghat_b^T Ghat_b + lambda I)^-1 g_b`, Ghat the gradients of k
/// sampled labels per sample divided by sqrt(k).
///
/// With fewer rows than entries through the Woodbury identity, as `SampledFisher`; with more, as
/// biases have them, through the singular values of Ghat_b, where nothing cancels. All sums are in
/// double.
struct SampledBlock<S: EngineScalar> {
  private enum System {
    /// Ghat Ghat^T, and `Ghat g`.
    case rows(DampedGramSolver, target: [Double])
    case entries(SampledSpectrum)
  }

  private let group: [ParameterID]
  private let rows: PerSampleGradients<S>
  private let samples: Int
  private let draws: Int
  private let unit: Double
  /// Of g in `System.entries`.
  private let gradientExponent: Int
  private let system: System
  /// `[R N]`: how far rows may be from exact arithmetic along any one direction, over `unit`.
  private let errors: [Double]
  private let alignment: Double
  /// Adds up the weights of equal rows.
  private let merged: ([Double]) -> [Double]

  init(
    _ gradients: BatchGradients<S>, _ group: [ParameterID]
  ) throws(LinearAlgebraError) {
    self.group = group
    rows = gradients.perSample.restricted(to: group)
    (samples, draws) = (gradients.samples, gradients.draws)
    let count = gradients.linearization.program.count(of: group)
    let sampled = draws * samples
    let root = Double(draws).squareRoot()
    let leftOut = gradients.sampledLeftOut
    let schedule = rows.linearization.schedule
    let precision = Double(S.ulpOfOne)
    merged = gradients.merged
    let alignment = Rounding.alignment(count)
    self.alignment = alignment
    let gram = rows.gramMatrix(sampled < count ? .all : .norms)
    let norms = (0..<gram.count).map { gram.scaled($0, $0).squareRoot() }
    if sampled < count {
      unit = gram.unit
      gradientExponent = 0
      errors = zip(gradients.errors.relative, norms).map { alignment * $0 * $1 }
      var target = [Double](repeating: 0, count: sampled)
      for i in 0..<sampled {
        let row = samples + i
        target[i] = schedule.sum { gram.scaled(row, $0) } / root
      }
      let (first, divisor) = (samples, Double(draws))
      let solver = try DampedGramSolver(
        count: sampled, precision: precision, parameters: count, leftOut: leftOut
      ) { gram.scaled(first + $0, first + $1) / divisor }
      system = .rows(solver, target: target)
      return
    }
    // In units of the largest scale: squares of 1e-160 are no numbers.
    let unit = powerOfTwo(near: rows.scales[samples...].max() ?? 0)
    self.unit = unit
    let errors = zip(gradients.errors.relative, norms).map {
      alignment * $0 * $1 * (gram.unit / unit)
    }
    self.errors = errors
    let matrix = rows.matrix(samples..<rows.count, dividedBy: unit * root, of: group)
    for row in leftOut {
      Kernels.zero(matrix.pointer + row * count, count: count)
    }
    let ones = [Double](repeating: 1, count: samples)
    let g = rows.weightedSum(ones + [Double](repeating: 0, count: sampled), of: group)
    gradientExponent = g.unit.exponent
    let gradientError =
      schedule.sum { errors[$0] * errors[$0] }.squareRoot() * (unit / g.unit)
    system = .entries(
      try SampledSpectrum(
        columns: count, matrix, gradient: g.values.array, precision: precision,
        rowErrors: errors[samples...].map { $0 / root },
        gradientError: gradientError, noise: 4 * gradientError / alignment))
  }

  /// Whether g_b has nothing but rounding outside of the span of the sampled rows.
  var spansGradient: Bool {
    switch system {
    case .entries(let spectrum): return spectrum.spansGradient
    case .rows(let solver, let target):
      let solution = solver.solve(target, lambda: 0)
      let sum = sum(solution, weight: 1, factor: 1)
      return sum.norm
        <= 4 * sum.noise / alignment + solver.noise(solution, lambda: 0) * (unit / sum.unit)
    }
  }

  func write(
    _ form: SampledForm, lambda: Double, batchUnit: Double, to parts: DirectionParts<S>
  ) {
    let own = rescaled(lambda: lambda, from: batchUnit, to: unit)
    switch system {
    case .rows(let solver, let target):
      writeSum(form, lambda: own, solver, target, to: parts)
    case .entries(let spectrum):
      let (part, error) = spectrum.solve(form, lambda: own)
      let exponent = gradientExponent - (form == .solution ? 2 * unit.exponent : 0)
      parts.set(group, part, exponent: exponent)
      parts.setError(group[0], relative: error, of: part, count: part.count, exponent: exponent)
    }
  }

  private func writeSum(
    _ form: SampledForm, lambda: Double, _ solver: DampedGramSolver, _ target: [Double],
    to parts: DirectionParts<S>
  ) {
    let root = Double(draws).squareRoot()
    var solution = solver.solve(target, lambda: lambda)
    var weight = 1.0
    var factor = 1.0
    var exponent = 0
    if form == .solution {
      exponent = -2 * unit.exponent
      if lambda > 0 {
        factor = 1 / lambda.significand
        exponent -= lambda.exponent
      } else {
        // Ghat^T K^-2 Ghat g.
        solution = solver.solve(solution, lambda: 0).map { -$0 }
        weight = 0
      }
    }
    let sum = sum(solution, weight: weight, factor: factor)
    exponent += sum.unit.exponent
    parts.set(group, sum.values.pointer, exponent: exponent)
    let first = sum.size * solver.share(lambda: lambda)
    // Both in the units of the sum; those of the solution are `unit`.
    let share = sum.norm * (sum.unit / unit)
    let second =
      solver.amplified(
        zip(errors[samples...], solver.roundings(of: solution)).map {
          euclidean($0 / root * share, $1 * factor)
        }, lambda: lambda) * (unit / sum.unit)
    parts.setError(
      group[0], (first * first + second * second).squareRoot(), exponent: exponent)
  }

  /// `factor (weight g - Ghat^T solution)` in units of `unit`, its norm, how far it may be from exact
  /// arithmetic through the rows that it is made of, and how far if they had nothing in common.
  private func sum(
    _ solution: [Double], weight: Double, factor: Double
  ) -> (values: Vector<Double>, unit: Double, norm: Double, size: Double, noise: Double) {
    let root = Double(draws).squareRoot()
    let weights =
      [Double](repeating: weight * factor, count: samples)
      + solution.map { -$0 * factor / root }
    let sum = rows.weightedSum(weights, of: group)
    let norm = Kernels.dot(
      UnsafePointer(sum.values.pointer), UnsafePointer(sum.values.pointer),
      count: sum.values.count
    ).squareRoot()
    func size(_ weights: [Double]) -> Double {
      let square = rows.linearization.schedule.sum(rows: weights.indices) {
        (weights[$0] * errors[$0]) * (weights[$0] * errors[$0])
      }
      return square.squareRoot() * (unit / sum.unit)
    }
    return (sum.values, sum.unit, norm, size(merged(weights)), size(weights))
  }
}
