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
  /// Other roundings of the gradients whose steps tell how far this one may be off: of one the least
  /// singular value, which makes most of it, may by chance have next to no error.
  private static var errors: Int { 2 }

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    let program = gradients.linearization.program
    let lambdas = isDamped ? dampings.map { gradients.lambda($0) } : [(value: 0, scaled: 0)]
    let parts = lambdas.map { _ in
      DirectionParts<S>(program, samples: gradients.samples, errors: Self.errors)
    }
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
    try writeWeights(context, weights, lambdas: own, to: parts)
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
    _ context: DirectionContext<S>, _ weights: [Weight], lambdas: [Double],
    to parts: [DirectionParts<S>]
  ) throws(LinearAlgebraError) {
    let gradients = context.gradients
    let (pool, kept) = (gradients.linearization.pool, context.preparedWeights)
    let rows = gradients.perSample.prefix(draws: 1)
    let unit = powerOfTwo(near: rows.scales.max() ?? 0)
    let level = TensorLevel(gradients)
    let centred =
      gradients.output.loss == .crossEntropy
      ? gradients.linearization.layerProgram.logitTensors : []
    for first in stride(from: 0, to: weights.count, by: pool.threads) {
      let own = weights[first..<min(first + pool.threads, weights.count)]
      // By all threads, and only what no method before has made of them.
      let all = own.map { weight in
        kept?.isKnown(weight.parameter) == true
          ? nil
          : GradientMatrices(
            rows.weightRows(of: weight.parameter, dividedBy: unit), samples: gradients.samples,
            shape: (weight.rows, weight.columns), isCentred: centred.contains(weight.parameter))
      }
      _ = try pool.results(own.count) { task throws(LinearAlgebraError) in
        let weight = own[first + task]
        var prepared = kept?[weight.parameter]
        if let matrices = all[task] {
          prepared = try PreparedWeight.prepared(matrices, unit: unit, level: level)
          kept?.set(weight.parameter, prepared)
        }
        if let prepared { try write(prepared, weight, lambdas: lambdas, to: parts) }
      }
    }
  }

  private func write<S: EngineScalar>(
    _ prepared: PreparedWeight, _ weight: Weight, lambdas: [Double],
    to parts: [DirectionParts<S>]
  ) throws(LinearAlgebraError) {
    let (reduced, size) = (prepared.reduced, prepared.size)
    let scaled = lambdas.map { min($0 / size, 0x1p996) }
    let steps = try step.steps(reduced.matrices, isVector: weight.isVector, lambdas: scaled)
    // What other roundings of the gradients would have made of it.
    let others = try (0..<Self.errors).map { draw throws(LinearAlgebraError) in
      try step.steps(
        reduced.matrices.perturbed(prepared.errors, draw: draw), isVector: weight.isVector,
        lambdas: scaled)
    }
    let factor = step.factor(rows: weight.rows, columns: weight.columns)
    let exponent = step.scaleExponent * prepared.exponent
    for (place, parts) in parts.enumerated() {
      let values = steps[place]
      let differences = others.map { VectorNorms.difference(values, $0[place]) }
      let norm = VectorNorms.norm(values)
      let distance = differences.reduce(0) { max($0, VectorNorms.norm($1)) }
      let result = reduced.expanded(values)
      Kernels.axpby(0, result.pointer, factor, result.pointer, count: result.count)
      parts.set(weight.parameter, result.pointer, exponent: exponent)
      parts.setError(
        weight.parameter, relative: norm > 0 ? distance / norm : 0, of: result.pointer,
        count: result.count, exponent: exponent)
      for (error, difference) in differences.enumerated() {
        parts.setResponse(
          weight.parameter, error: error,
          reduced.matrices.products(with: difference).map { $0 * factor * size },
          exponent: exponent)
      }
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
      let norms = rows.restricted(to: parameter).gramMatrix(.norms, withSums: false)
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
        parts.setResponseBound(
          parameter, (0..<gradients.samples).map { norms.norm($0) * error }, exponent: exponent)
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
