import GraphModule
import TensorModule

// Views of per-sample gradients that share their rows: the first draws, or some parameter tensors.

extension PerSampleGradients {
  /// The rows of the first R draws.
  package func prefix(draws: Int) -> PerSampleGradients {
    PerSampleGradients(self, draws: draws, entries: entries, of: linearization)
  }

  /// The gradients w.r.t. one trainable tensor.
  package func restricted(to parameter: ParameterID) -> PerSampleGradients {
    restricted(to: [parameter])
  }

  /// The gradients w.r.t. some trainable tensors.
  ///
  /// - Parameter restricted: A linearization in these tensors alone, for products with J.
  package func restricted(
    to group: [ParameterID], of restricted: Linearization<S>? = nil
  ) -> PerSampleGradients {
    let wanted = Set(group)
    var found = 0
    let own = entries.compactMap { entry -> Entry? in
      switch entry {
      case .explicit(let parameter, _):
        guard wanted.contains(parameter) else { return nil }
        found += 1
        return entry
      case .factored(let node, let factors, let weight, let bias, let rows, let table):
        let bias = bias.flatMap { wanted.contains($0) ? $0 : nil }
        if bias != nil { found += 1 }
        if wanted.contains(weight) {
          found += 1
          return .factored(
            node: node, factors: factors, weight: weight, bias: bias, rows: rows, table: table)
        }
        guard let bias else { return nil }
        let sums = factors.positions == 1 ? rows : positionSums(factors, rows: rows)
        return .explicit(parameter: bias, rows: sums)
      }
    }
    precondition(
      found == wanted.count, "restricted: of \(wanted.count) parameters \(found) are trainable")
    return PerSampleGradients(
      self, draws: draws, entries: own, of: restricted ?? linearization)
  }

  /// `sum_rows coefficient[row] g_row` of some tensors, one after the other, multiplied and added in
  /// double, whatever precision the rows have.
  ///
  /// - Precondition: These are the gradients of these tensors alone (`restricted`).
  /// - Returns: The sum divided by a power of two, and the power.
  package func weightedSum(
    _ coefficients: [Double], of group: [ParameterID]
  ) -> (values: Vector<Double>, unit: Double) {
    precondition(
      coefficients.count == count, "weightedSum: \(coefficients.count) coefficients, \(count) rows")
    let scaled = zip(coefficients, scales).map(*)
    let unit = powerOfTwo(near: scaled.reduce(0) { max($0, abs($1)) })
    let (offsets, end) = places(of: group)
    let values = Vector<Double>(count: end)
    accumulate(scaled.map { $0 / unit }, into: values, offsets: offsets)
    return (values, unit)
  }

  /// Where each tensor of a group begins, and where the last one ends.
  private func places(of group: [ParameterID]) -> (offsets: [Int?], end: Int) {
    let parameters = linearization.program.graph.parameters
    var offsets = [Int?](repeating: nil, count: parameters.count)
    var end = 0
    for parameter in group {
      offsets[parameter.index] = end
      end += parameters[parameter.index].count
    }
    return (offsets, end)
  }
}

extension PerSampleGradients {
  /// The rows of some tensors written out, one tensor after the other, `[range, count]` in double,
  /// divided by `unit`.
  ///
  /// - Precondition: These are the gradients of these tensors alone (`restricted`).
  package func matrix(
    _ range: Range<Int>, dividedBy unit: Double, of group: [ParameterID]
  ) -> Vector<Double> {
    let (offsets, size) = places(of: group)
    let parameters = linearization.program.graph.parameters
    var writes: [(_ row: Int, UnsafeMutablePointer<Double>) -> Void] = []
    for entry in entries {
      switch entry {
      case .explicit(let parameter, let rows):
        let (place, count) = (offsets[parameter.index]!, parameters[parameter.index].count)
        writes.append { Kernels.toDouble(rows.pointer + $0 * count, $1 + place, count: count) }
      case .factored(let node, let factors, let weight, let bias, let rows, let table):
        // Before the workers: rows that are unfolded are kept by whoever asks first.
        let inputs = batch.inputRows(node: node, factors)
        let (place, biasPlace) = (offsets[weight.index]!, bias.flatMap { offsets[$0.index] })
        writes.append { [self] row, out in
          writeOuterProducts(
            row, factors, inputs, rows, table, to: out + place, bias: biasPlace.map { out + $0 })
        }
      }
    }
    let result = Vector<Double>(count: range.count * size)
    linearization.pool.run(range.count) { place, _ in
      let target = result.pointer + place * size
      let row = range.lowerBound + place
      for write in writes { write(row, target) }
      Kernels.axpby(0, target, scales[row] / unit, target, count: size)
    }
    return result
  }

  private func writeOuterProducts(
    _ row: Int, _ factors: Factorization, _ inputs: InputRows<S>, _ rows: Vector<S>,
    _ table: Table?, to out: UnsafeMutablePointer<Double>, bias: UnsafeMutablePointer<Double>?
  ) {
    let (positions, sample) = (factors.positions, sample(of: row))
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
    let tableCotangents = Vector<Double>(count: table?.size ?? 0)
    let read = table.map { tableRows($0, row: row) }
    if let read {
      Kernels.toDouble(read.cotangents, tableCotangents.pointer, count: tableCotangents.count)
    }
    let single = FactoredRows<Double>(
      factors: factors, count: positions, inputs: own,
      cotangents: UnsafePointer(cotangents.pointer),
      table: read.map {
        TableRows(
          indices: $0.indices, cotangents: UnsafePointer(tableCotangents.pointer), count: $0.count)
      })
    withExtendedLifetime((copy, cotangents, tableCotangents)) {
      for task in single.gradientTasks(weight: out, bias: bias) { task() }
    }
  }
}

/// The gradients of one weight, sample by sample, in double.
package enum WeightRows {
  /// `G_n = sum_t b_nt a_nt^T`, b `[N T, out]` and a `[N T, in]`.
  case products(
    positions: Int, outputs: Int, inputs: Int, cotangents: Vector<Double>, inputRows: Vector<Double>
  )
  /// `[N, count]`
  case explicit(Vector<Double>)
}

extension PerSampleGradients {
  /// The rows of the first draw of one tensor in the form that they have, divided by `unit`.
  package func weightRows(of parameter: ParameterID, dividedBy unit: Double) -> WeightRows {
    let own = restricted(to: parameter)
    if case .factored(let node, let factors, parameter, _, let rows, nil) = own.entries[0],
      case .dense(let a) = linearization.inputRows(node: node, factors)
    {
      let (count, outputs) = (samples * factors.positions, factors.outputs)
      let (b, inputs) = (
        Vector<Double>(count: count * outputs), Vector<Double>(count: count * factors.inputs)
      )
      Kernels.toDouble(a, inputs.pointer, count: inputs.count)
      linearization.pool.run(samples) { n, _ in
        let size = factors.positions * outputs
        let target = b.pointer + n * size
        Kernels.toDouble(rows.pointer + n * size, target, count: size)
        Kernels.axpby(0, target, scales[n] / unit, target, count: size)
      }
      return .products(
        positions: factors.positions, outputs: outputs, inputs: factors.inputs, cotangents: b,
        inputRows: inputs)
    }
    return .explicit(own.matrix(0..<samples, dividedBy: unit, of: [parameter]))
  }

  /// `sum_rows (g_row / unit)^2` of some tensors, one after the other, in double.
  package func summedSquares(unit: Double, of group: [ParameterID]) -> Vector<Double> {
    let (offsets, end) = places(of: group)
    let result = Vector<Double>(count: end)
    restricted(to: group).accumulateSquares(
      scales.map { ($0 / unit) * ($0 / unit) }, to: result, offsets: offsets)
    return result
  }
}
