import Curvature
import GraphModule
import TensorModule

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// How an optimiser that looks at weights as matrices makes a direction of the gradients of single
/// samples (method.md 7).
protocol MatrixStep: Sendable {
  /// How tensors of this role are stepped.
  func form(_ role: WeightRole) -> StepForm

  /// Directions `[rows, columns]` of a weight for each lambda, in whatever units: `scaleExponent` says what
  /// becomes of a common factor of all gradients.
  ///
  /// - Parameters:
  ///   - matrices: In orthonormal bases of what they span, which no step depends on.
  ///   - isVector: Whether the weight has one axis: its matrices have one column.
  ///   - lambdas: In units of the gradients.
  func steps(
    _ matrices: GradientMatrices, isVector: Bool, lambdas: [Double]
  ) throws(LinearAlgebraError) -> [Vector<Double>]

  /// The direction is multiplied by the power of this exponent of what the gradients are multiplied by.
  var scaleExponent: Int { get }

  /// What a step is multiplied by for its shape.
  func factor(rows: Int, columns: Int) -> Double
}

extension MatrixStep {
  var scaleExponent: Int { 0 }
  func factor(rows: Int, columns: Int) -> Double { 1 }
}

/// How one tensor is stepped.
enum StepForm {
  case matrix(rows: Int, columns: Int)
  /// As a matrix of one column, of one statistic.
  case vector(count: Int)
  case elementwise(ElementwiseStep)
}

/// `g / (S^power + lambda)`, S the sum of squared gradients: the forms of Adam (power 1/2) and of
/// the diagonal of the empirical Fisher matrix (power 1).
struct ElementwiseStep: Sendable {
  enum Power: Sendable {
    case half
    case one
  }
  let power: Power
  /// The power of N that it is multiplied by: beside steps of other forms it counts whether g and S are
  /// sums or means.
  var samplePower = 0.0
}

/// The rule of such a method: weight by weight, several at the same time.
struct MatrixMethod<Step: MatrixStep>: DirectionRule {
  let step: Step
  let isDamped: Bool

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    let program = gradients.linearization.program
    let lambdas = isDamped ? dampings.map { gradients.lambda($0) } : [(value: 0, scaled: 0)]
    let parts = lambdas.map { _ in DirectionParts<S>(program, samples: gradients.samples) }
    // The root has the unit itself, not its square.
    let own = lambdas.map { $0.scaled.timesPowerOfTwo(2 * gradients.gram.unit.exponent) }
    var elements: [(parameter: ParameterID, step: ElementwiseStep)] = []
    var weights: [Weight] = []
    for (parameter, role) in gradients.linearization.layerProgram.weightRoles {
      switch step.form(role) {
      case .elementwise(let step): elements.append((parameter, step))
      case .matrix(let rows, let columns):
        weights.append(
          Weight(parameter: parameter, rows: rows, columns: columns, isVector: false))
      case .vector(let count):
        weights.append(Weight(parameter: parameter, rows: count, columns: 1, isVector: true))
      }
    }
    writeElements(gradients, elements, lambdas: own, to: parts)
    try writeWeights(gradients, weights, lambdas: own, to: parts)
    return zip(lambdas, parts).enumerated().map { place, one in
      let (scaled, error, _) = one.1.finished()
      var direction = Direction(
        damping: isDamped ? dampings[place] : nil, lambda: isDamped ? one.0.value : nil,
        scaled: scaled, relativeError: error)
      direction.response = one.1.response
      return direction
    }
  }

  func workspace<S: EngineScalar>(_ sizes: MethodSizes<S>) -> MethodWorkspace? {
    let weights = sizes.layerProgram.weightRoles.compactMap { parameter, role in
      switch step.form(role) {
      case .matrix(let rows, let columns):
        return sizes.batch.matrices(of: parameter, rows: rows, columns: columns)
      case .vector(let count): return sizes.batch.matrices(of: parameter, rows: count, columns: 1)
      case .elementwise: return nil as ByteCount?
      }
    }
    let together = weights.sorted(by: >).prefix(sizes.workers).total { $0 }
    return ("gradients of weights", together + 3 * sizes.batch.exactVector)
  }

  // MARK: - Weights

  private struct Weight {
    let parameter: ParameterID
    let rows: Int
    let columns: Int
    let isVector: Bool
  }

  private func writeWeights<S: EngineScalar>(
    _ gradients: BatchGradients<S>, _ weights: [Weight], lambdas: [Double],
    to parts: [DirectionParts<S>]
  ) throws(LinearAlgebraError) {
    let pool = gradients.linearization.pool
    let rows = gradients.perSample.prefix(draws: 1)
    let unit = powerOfTwo(near: rows.scales.max() ?? 0)
    let level = TensorLevel(gradients)
    let centred =
      gradients.output.loss == .crossEntropy
      ? gradients.linearization.layerProgram.logitTensors : []
    for first in stride(from: 0, to: weights.count, by: pool.threads) {
      let own = weights[first..<min(first + pool.threads, weights.count)]
      let matrices = own.map {
        GradientMatrices(
          rows.weightRows(of: $0.parameter, dividedBy: unit), samples: gradients.samples,
          shape: ($0.rows, $0.columns), isCentred: centred.contains($0.parameter))
      }
      _ = try pool.results(own.count) { task throws(LinearAlgebraError) in
        try write(
          matrices[task], own[first + task], unit: unit, level: level, lambdas: lambdas, to: parts)
      }
    }
  }

  private func write<S: EngineScalar>(
    _ all: GradientMatrices, _ weight: Weight, unit: Double, level: TensorLevel, lambdas: [Double],
    to parts: [DirectionParts<S>]
  ) throws(LinearAlgebraError) {
    let (smaller, cancellation) = all.inSmallerForm()
    // In units of its own: one tensor's gradients may be 1e-60 of another's.
    let (matrices, own) = smaller.normalized
    let size = unit * own
    let scaled = lambdas.map { min($0 / size, 0x1p996) }
    let share = level.share(
      of: matrices.squareNorm.squareRoot() * size, entries: all.rows * all.columns)
    if share.isRounding { return }
    let reduced = try matrices.reduced()
    let steps = try step.steps(reduced.matrices, isVector: weight.isVector, lambdas: scaled)
    // What another rounding of the gradients would have made of it.
    let others = try step.steps(
      reduced.matrices.perturbed(
        zip(level.errors, cancellation).map { $0 * max(share.errorFactor, $1) }),
      isVector: weight.isVector, lambdas: scaled)
    let factor = step.factor(rows: all.rows, columns: all.columns)
    let exponent = step.scaleExponent * (unit.exponent + own.exponent)
    for (place, parts) in parts.enumerated() {
      let values = steps[place]
      let difference = VectorNorms.difference(values, others[place])
      let (norm, distance) = (VectorNorms.norm(values), VectorNorms.norm(difference))
      let result = reduced.expanded(values)
      Kernels.axpby(0, result.pointer, factor, result.pointer, count: result.count)
      parts.set(weight.parameter, result.pointer, exponent: exponent)
      parts.setError(
        weight.parameter, relative: norm > 0 ? distance / norm : 0, of: result.pointer,
        count: result.count, exponent: exponent)
      parts.setResponse(
        weight.parameter, reduced.matrices.products(with: difference).map { $0 * factor * size },
        exponent: exponent)
    }
  }

  // MARK: - Other tensors

  private func writeElements<S: EngineScalar>(
    _ gradients: BatchGradients<S>, _ elements: [(parameter: ParameterID, step: ElementwiseStep)],
    lambdas: [Double], to parts: [DirectionParts<S>]
  ) {
    if elements.isEmpty { return }
    let rows = gradients.perSample.prefix(draws: 1)
    let unit = powerOfTwo(near: rows.scales.max() ?? 0)
    let program = gradients.linearization.program
    let group = elements.map(\.parameter)
    let squares = rows.summedSquares(unit: unit, of: group)
    let g = rows.restricted(to: group).weightedSum(
      [Double](repeating: 1, count: gradients.samples), of: group)
    let level = TensorLevel(gradients)
    let entryLevel = level.ofEntry / unit
    var start = 0
    for (parameter, step) in elements {
      let count = program.graph.parameters[parameter.index].count
      defer { start += count }
      let norms = rows.restricted(to: parameter).gramMatrix(.norms)
      for (lambda, parts) in zip(lambdas, parts) {
        let (values, relativeError) = step.values(
          g.values.pointer + start, ratio: g.unit / unit, squares.pointer + start, count: count,
          lambda: lambda / unit, samples: gradients.samples, error: level.errors.max() ?? 0,
          level: entryLevel)
        let exponent = step.power == .half ? 0 : -unit.exponent
        parts.set(parameter, values.pointer, exponent: exponent)
        parts.setError(
          parameter, relative: relativeError, of: values.pointer, count: count, exponent: exponent)
        let error = relativeError * VectorNorms.norm(values)
        parts.setResponse(
          parameter, (0..<gradients.samples).map { norms.norm($0) * error }, exponent: exponent,
          isBound: true)
      }
    }
  }
}

extension ElementwiseStep {
  /// - Parameters:
  ///   - ratio: The unit of g over that of the squares' roots.
  ///   - lambda: In the unit of what it is added to.
  ///   - error: Of rows, as a share of their norms.
  ///   - level: Of the root of an entry of all rows, on the average, in the unit of the squares' roots.
  /// - Returns: The step, in units of the roots to the power that its gradients have in it, and an
  ///   estimate of its relative error, as of `Diagonal`.
  func values(
    _ g: UnsafePointer<Double>, ratio: Double, _ squares: UnsafePointer<Double>, count: Int,
    lambda: Double, samples: Int, error: Double, level: Double
  ) -> (values: Vector<Double>, relativeError: Double) {
    let result = Vector<Double>(count: count)
    let lambda = min(lambda, 0x1p996)
    let factor = pow(Double(samples), samplePower)
    var (norm, errors) = (0.0, 0.0)
    for i in 0..<count {
      let root = squares[i].squareRoot()
      // Without damping nothing hides that entries which exact arithmetic has zero are rounding.
      if lambda == 0 && root <= TensorLevel.rounding * level { continue }
      let divisor = (power == .half ? root : squares[i]) + lambda
      if divisor == 0 { continue }
      let value = factor * (g[i] * ratio / divisor)
      result.pointer[i] = value
      norm += value * value
      let first = factor * error * (root + level) / divisor
      let second = 2 * error * value
      errors += first * first + second * second
    }
    return (result, norm > 0 ? (errors / norm).squareRoot() : 0)
  }
}

/// How large gradients are, and what rounding leaves in them where they cancel.
private struct TensorLevel {
  /// Of gradients in double that exact arithmetic has zero, as a share of what they are summed from.
  static var rounding: Double { 1e-14 }

  /// Of rows, `[N]`, as shares of their norms.
  let errors: [Double]
  /// The root of the sum of all rows' squares, for one entry on the average.
  let ofEntry: Double

  init<S: EngineScalar>(_ gradients: BatchGradients<S>) {
    errors = Array(gradients.errors.relative[..<gradients.samples])
    let ones = (0..<gradients.gram.count).map { $0 < gradients.samples ? 1.0 : 0 }
    ofEntry =
      gradients.size(of: ones) * gradients.gram.unit
      / Double(max(gradients.linearization.parameterCount, 1)).squareRoot()
  }

  /// - Parameter size: The root of the sum of squares of one tensor's gradients.
  /// - Returns: Whether it is nothing but rounding, and by how much its errors, as shares of it, are larger
  ///   than those of whole rows.
  func share(of size: Double, entries: Int) -> (isRounding: Bool, errorFactor: Double) {
    let usual = ofEntry * Double(entries).squareRoot()
    return (size <= Self.rounding * usual, size > 0 ? max(1, usual / size) : 1)
  }
}

enum VectorNorms {
  static func norm(_ x: Vector<Double>) -> Double {
    Kernels.dot(x.pointer, x.pointer, count: x.count).squareRoot()
  }

  static func difference(_ x: Vector<Double>, _ y: Vector<Double>) -> Vector<Double> {
    let difference = x.copy()
    Kernels.axpby(-1, y.pointer, 1, difference.pointer, count: x.count)
    return difference
  }
}

extension BatchNeeds {
  /// The gradients of one weight in double, in coordinates once more, and the bases.
  func matrices(of parameter: ParameterID, rows: Int, columns: Int) -> ByteCount {
    let form = weightForm(of: parameter)
    // The same in coordinates, perturbed, and turned twice.
    let spanned = { (own: Int, other: Int) in
      min(own, (ByteCount(samples) * ByteCount(other)).value)
    }
    let (k, l) = (spanned(rows, columns), spanned(columns, rows))
    let written =
      doubles(5, samples, rows * columns) + doubles(6, rows, columns) + doubles(5, k, k)
      + doubles(5, l, l)
    switch form {
    case .products(let positions)
    where GradientMatrices.isSmallerWritten(positions: positions, rows: rows, columns: columns):
      return doubles(samples * positions, rows + columns) + written
    case .products(let positions):
      let count = samples * positions
      let (k, l) = (min(rows, count), min(columns, count))
      // As they are and normalised.
      return doubles(2, count, rows + columns) + doubles(3, count, k + l)
        + doubles(4, positions, positions)
        + doubles(2, min(count, rows), rows) + doubles(2, min(count, columns), columns)
        + doubles(5, k, k) + doubles(5, l, l) + doubles(6, k, l) + doubles(2, rows, columns)
    case .explicit: return written
    }
  }
}
