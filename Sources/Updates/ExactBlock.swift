import Curvature
import GraphModule
import TensorModule

/// `(F_b + lambda I)^-1 g_b` of one block of parameters from the rows of B: with fewer rows than entries
/// through `B_b B_b^T`; with more, as biases have them, through the singular values of B_b.
struct ExactBlock<S: EngineScalar> {
  private enum Form {
    case rows(RowBlock<S>)
    case entries(SampledSpectrum, unit: Double, gradientExponent: Int)
  }

  /// What is decomposed.
  enum System {
    case rows(RowBlock<S>.Matrix)
    /// B_b over `unit`, `[rows, entries]`, and g_b over a unit of its own.
    case entries(
      group: [ParameterID], matrix: Vector<Double>, unit: Double, gradient: [Double],
      gradientUnit: Double)

    init(_ fisher: FisherRows<S>, _ group: [ParameterID], _ target: TargetValues) {
      let all = fisher.perSample
      let count = all.linearization.program.count(of: group)
      if all.count < count {
        self = .rows(.init(all, group))
        return
      }
      let own = all.restricted(to: group)
      let unit = powerOfTwo(near: all.scales.max() ?? 0)
      // From the very rows of B, so that it lies in their span.
      let g = own.weightedSum(target.values, of: group)
      self = .entries(
        group: group, matrix: own.matrix(0..<own.count, dividedBy: unit, of: group), unit: unit,
        gradient: g.values.array, gradientUnit: g.unit)
    }
  }

  private let group: [ParameterID]
  private let form: Form

  /// - Parameters:
  ///   - errors: Of the rows of B, as shares of their norms.
  ///   - onlyLambda: The one that will be solved for, if there is just one, in units of `batchUnit`
  ///     squared.
  init(
    _ system: System, errors: [Double], _ target: TargetValues, onlyLambda: Double?,
    batchUnit: Double
  ) throws(LinearAlgebraError) {
    switch system {
    case .rows(let matrix):
      group = matrix.group
      form = .rows(
        try RowBlock(
          matrix, relativeErrors: errors, onlyLambda: onlyLambda, batchUnit: batchUnit))
    case .entries(let group, let matrix, let unit, let gradient, let gradientUnit):
      self.group = group
      let count = gradient.count
      let alignment = Rounding.alignment(count)
      var rowErrors: [Double] = []
      var square = 0.0
      for (row, error) in errors.enumerated() {
        let values = UnsafePointer(matrix.pointer + row * count)
        let norm = Kernels.dot(values, values, count: count).squareRoot()
        rowErrors.append(alignment * error * norm)
        let own = rowErrors[row] * abs(target.values[row]) + norm * target.errors[row]
        square += own * own
      }
      let gradientError = square.squareRoot() * (unit / gradientUnit)
      form = .entries(
        try SampledSpectrum(
          columns: count, matrix, gradient: gradient, precision: Double(S.ulpOfOne),
          rowErrors: rowErrors, gradientError: gradientError,
          noise: 4 * gradientError / alignment),
        unit: unit, gradientExponent: gradientUnit.exponent + target.exponent)
    }
  }

  func write(
    target: TargetValues, lambda: Double, batchUnit: Double, to parts: DirectionParts<S>
  ) {
    switch form {
    case .rows(let block):
      block.write(target: target, lambda: lambda, batchUnit: batchUnit, to: parts)
    case .entries(let spectrum, let unit, let gradientExponent):
      let (part, error) = spectrum.solve(
        .solution, lambda: rescaled(lambda: lambda, from: batchUnit, to: unit))
      let exponent = gradientExponent - 2 * unit.exponent
      parts.set(group, part, exponent: exponent)
      parts.setError(group[0], relative: error, of: part, count: part.count, exponent: exponent)
    }
  }
}

extension MethodSizes {
  /// Columns of the root of H, at the most: cross-entropy has one fewer at each position.
  package var rootColumns: Int { batch.logitCount }

  /// Systems of blocks, as many as there are workers, while they are decomposed.
  func exactBlocks(_ groups: [[ParameterID]]) -> ByteCount {
    let rows = (ByteCount(rootColumns) * ByteCount(batch.samples)).value
    let program = batch.program
    let largest = groups.map { group in
      let count = program.count(of: group)
      return rows < count
        ? batch.doubles(4, rows, rows) : LAPACK.singularValuesMemory(rows: rows, columns: count)
    }.sorted(by: >).prefix(workers).total { $0 }
    let gram = batch.gramOfTensors(groups.flatMap { $0 }, draws: rootColumns)
    return largest + gram.workspace + gram.kernels + batch.weightedSum(inDouble: true)
  }

  /// The vectors of the solve of the largest block, its residuals, and passes of one direction.
  func iteratedBlocks(_ groups: [[ParameterID]]) -> ByteCount {
    let count = groups.reduce(0) { max($0, batch.program.count(of: $1)) }
    let kept = blockLimits.keptBytes(of: count, S.self, after: blockLimits.maxIterations)
    return kept + batch.scalars(6, count) + batch.doubles(2, count)
      + batch.arenas(tangents: 1, cotangents: 1) + batch.accumulators
      + batch.weightedSum(inDouble: true)
  }
}
