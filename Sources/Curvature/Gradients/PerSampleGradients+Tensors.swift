import GraphModule
import TensorModule

// Views of per-sample gradients that share their rows: the first draws, or one parameter tensor.

extension PerSampleGradients {
  /// The rows of the first R draws.
  package func prefix(draws: Int) -> PerSampleGradients {
    PerSampleGradients(self, draws: draws, entries: entries)
  }

  /// The gradients w.r.t. one trainable tensor.
  package func restricted(to parameter: ParameterID) -> PerSampleGradients {
    for entry in entries {
      switch entry {
      case .explicit(parameter, _):
        return PerSampleGradients(self, draws: draws, entries: [entry])
      case .factored(let node, let factors, parameter, _, let rows):
        return PerSampleGradients(
          self, draws: draws,
          entries: [
            .factored(node: node, factors: factors, weight: parameter, bias: nil, rows: rows)
          ])
      case .factored(_, let factors, _, parameter, let rows):
        let sums = factors.positions == 1 ? rows : positionSums(factors, rows: rows)
        return PerSampleGradients(
          self, draws: draws, entries: [.explicit(parameter: parameter, rows: sums)])
      case .explicit, .factored: continue
      }
    }
    preconditionFailure("restricted: parameter \(parameter.index) is not trainable")
  }

  /// `sum_rows coefficient[row] g_row` of one tensor, multiplied and added in double, whatever
  /// precision the rows have.
  ///
  /// - Precondition: These are the gradients of this tensor alone (`restricted`).
  /// - Returns: The sum divided by a power of two, and the power.
  package func weightedSum(
    _ coefficients: [Double], of parameter: ParameterID
  ) -> (values: Vector<Double>, unit: Double) {
    precondition(
      coefficients.count == count, "weightedSum: \(coefficients.count) coefficients, \(count) rows")
    let scaled = zip(coefficients, scales).map(*)
    let unit = powerOfTwo(near: scaled.reduce(0) { max($0, abs($1)) })
    let parameters = linearization.program.graph.parameters
    let values = Vector<Double>(count: parameters[parameter.index].count)
    var offsets = [Int?](repeating: nil, count: parameters.count)
    offsets[parameter.index] = 0
    accumulate(scaled.map { $0 / unit }, into: values, offsets: offsets)
    return (values, unit)
  }
}

extension PerSampleGradients {
  /// The rows of one tensor written out, `[range, count]` in double, divided by `unit`.
  ///
  /// - Precondition: These are the gradients of this tensor alone (`restricted`).
  package func matrix(_ range: Range<Int>, dividedBy unit: Double) -> Vector<Double> {
    precondition(entries.count == 1, "matrix: \(entries.count) tensors")
    let size: Int
    let write: (_ row: Int, UnsafeMutablePointer<Double>) -> Void
    switch entries[0] {
    case .explicit(let parameter, let rows):
      size = linearization.program.graph.parameters[parameter.index].count
      write = { Kernels.toDouble(rows.pointer + $0 * size, $1, count: size) }
    case .factored(let node, let factors, let weight, _, let rows):
      size = linearization.program.graph.parameters[weight.index].count
      // Before the workers: rows that are unfolded are kept by whoever asks first.
      let inputs = linearization.inputRows(node: node, factors)
      write = { [self] in writeOuterProducts($0, factors, inputs, rows, to: $1) }
    }
    let result = Vector<Double>(count: range.count * size)
    linearization.pool.run(range.count) { place, _ in
      let target = result.pointer + place * size
      let row = range.lowerBound + place
      write(row, target)
      Kernels.axpby(0, target, scales[row] / unit, target, count: size)
    }
    return result
  }

  private func writeOuterProducts(
    _ row: Int, _ factors: Factorization, _ inputs: InputRows<S>, _ rows: Vector<S>,
    to out: UnsafeMutablePointer<Double>
  ) {
    let (positions, sample) = (factors.positions, row % samples)
    let cotangents = Vector<Double>(count: positions * factors.outputs)
    Kernels.toDouble(
      rows.pointer + row * cotangents.count, cotangents.pointer, count: cotangents.count)
    var copy: Vector<Double>?
    let own: InputRows<Double>
    switch inputs {
    case .dense(let a):
      let values = Vector<Double>(count: positions * factors.inputs)
      Kernels.toDouble(a + sample * values.count, values.pointer, count: values.count)
      copy = values
      own = .dense(UnsafePointer(values.pointer))
    case .oneHot(let indices): own = .oneHot(indices + sample * positions)
    }
    let single = FactoredRows<Double>(
      factors: factors, count: positions, inputs: own,
      cotangents: UnsafePointer(cotangents.pointer))
    withExtendedLifetime((copy, cotangents)) {
      for task in single.gradientTasks(weight: out, bias: nil) { task() }
    }
  }
}
