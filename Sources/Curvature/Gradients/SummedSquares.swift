import GraphModule
import TensorModule

extension PerSampleGradients {
  /// `sum_rows (g_row / unit)^2` element by element, `[P]`, in double.
  package func summedSquares(unit: Double) -> Vector<Double> {
    summedSquares(scales.map { ($0 / unit) * ($0 / unit) })
  }

  /// `sum_rows weights[row] (g_row / scales[row])^2` element by element, `[P]`, in double.
  ///
  /// A layer that is applied to one row per sample has them as `(B * B)^T (A * A)`. With several
  /// rows the squares of a few rows of the weight are formed for one sample at a time, so that no
  /// matrix of `N P` elements exists.
  ///
  /// - Parameter weights: `[R N]`, not negative; scales are not multiplied in.
  package func summedSquares(_ weights: [Double]) -> Vector<Double> {
    precondition(weights.count == count, "summedSquares: \(weights.count) weights, \(count) rows")
    let result = Vector<Double>(count: linearization.parameterCount)
    accumulateSquares(weights, to: result, offsets: linearization.program.offsets)
    return result
  }

  /// - Parameter offsets: Where each tensor goes.
  func accumulateSquares(_ weights: [Double], to result: Vector<Double>, offsets: [Int?]) {
    var tasks: [() -> Void] = []
    for entry in entries {
      switch entry {
      case .explicit(let parameter, let rows):
        tasks += squaresOfRows(
          UnsafePointer(rows.pointer), weights: weights,
          columns: linearization.program.graph.parameters[parameter.index].count,
          to: result.pointer + offsets[parameter.index]!)
      case .factored(let node, let factors, let weight, let bias, let rows, let table):
        let target = result.pointer + offsets[weight.index]!
        switch linearization.inputRows(node: node, factors) {
        case .dense(let inputs) where factors.positions == 1 && table == nil:
          tasks += squaresOfOuterProducts(factors, inputs, rows, weights: weights, to: target)
        case .dense(let inputs):
          tasks += squaresOfSums(factors, inputs, rows, table, weights: weights, to: target)
        case .oneHot(let indices):
          tasks.append { [self] in
            squaresOfTable(factors, indices, rows, weights: weights, to: target)
          }
        }
        if let bias {
          let sums = factors.positions == 1 ? rows : positionSums(factors, rows: rows)
          tasks += squaresOfRows(
            UnsafePointer(sums.pointer), weights: weights, columns: factors.outputs,
            to: result.pointer + offsets[bias.index]!
          ).map { task in { withExtendedLifetime(sums) { task() } } }
        }
      }
    }
    linearization.pool.run(tasks.count) { task, _ in tasks[task]() }
  }

  private func squaresOfRows(
    _ rows: UnsafePointer<S>, weights: [Double], columns: Int, to out: UnsafeMutablePointer<Double>
  ) -> [() -> Void] {
    let block = 4096
    return stride(from: 0, to: columns, by: block).map { begin in
      { [count] in
        let length = min(block, columns - begin)
        let row = Vector<Double>(count: length)
        for i in 0..<count where weights[i] != 0 {
          Kernels.toDouble(rows + i * columns + begin, row.pointer, count: length)
          addSquares(row.pointer, weight: weights[i], count: length, to: out + begin)
        }
      }
    }
  }

  /// `sum_n w_n (b_n * b_n) (a_n * a_n)^T`, all draws of a sample summed first.
  private func squaresOfOuterProducts(
    _ factors: Factorization, _ inputs: UnsafePointer<S>, _ rows: Vector<S>, weights: [Double],
    to out: UnsafeMutablePointer<Double>
  ) -> [() -> Void] {
    let (inCount, outCount) = (factors.inputs, factors.outputs)
    let a = Vector<Double>(count: samples * inCount)
    Kernels.toDouble(inputs, a.pointer, count: a.count)
    Kernels.multiply(a.pointer, a.pointer, a.pointer, count: a.count)
    let b = Vector<Double>(count: samples * outCount)
    let row = Vector<Double>(count: outCount)
    for i in 0..<count where weights[i] != 0 {
      Kernels.toDouble(rows.pointer + i * outCount, row.pointer, count: outCount)
      addSquares(
        row.pointer, weight: weights[i], count: outCount,
        to: b.pointer + (i % samples) * outCount)
    }
    let block = 256
    return stride(from: 0, to: outCount, by: block).map { begin in
      { [samples] in
        BLAS.gemm(
          transposeA: true, m: min(block, outCount - begin), n: inCount, k: samples,
          b.pointer + begin, lda: outCount, a.pointer, ldb: inCount, out + begin * inCount,
          ldc: inCount)
      }
    }
  }

  /// Some rows of the weight for one sample after another.
  private func squaresOfSums(
    _ factors: Factorization, _ inputs: UnsafePointer<S>, _ rows: Vector<S>, _ table: Table?,
    weights: [Double], to out: UnsafeMutablePointer<Double>
  ) -> [() -> Void] {
    let (inCount, outCount, positions) = (factors.inputs, factors.outputs, factors.positions)
    let block = max(1, min(outCount, (1 << 16) / max(inCount, 1)))
    return stride(from: 0, to: outCount, by: block).map { begin in
      { [self] in
        let length = min(block, outCount - begin)
        let tile = Vector<S>(count: length * inCount)
        let exact = Vector<Double>(count: tile.count)
        for i in 0..<count where weights[i] != 0 {
          BLAS.gemm(
            transposeA: true, m: length, n: inCount, k: positions,
            rows.pointer + i * positions * outCount + begin, lda: outCount,
            inputs + (i % samples) * positions * inCount, ldb: inCount, tile.pointer,
            ldc: inCount)
          if let table {
            tableRows(table, row: i).add(
              begin..<begin + length, columns: inCount, to: tile.pointer)
          }
          Kernels.toDouble(tile.pointer, exact.pointer, count: tile.count)
          addSquares(
            exact.pointer, weight: weights[i], count: tile.count, to: out + begin * inCount)
        }
      }
    }
  }

  /// Rows of a table that one sample reads more than once are summed before they are squared.
  private func squaresOfTable(
    _ factors: Factorization, _ indices: UnsafePointer<Int32>, _ rows: Vector<S>,
    weights: [Double], to out: UnsafeMutablePointer<Double>
  ) {
    let (columns, positions) = (factors.outputs, factors.positions)
    let sum = Vector<S>(count: columns)
    let exact = Vector<Double>(count: columns)
    for i in 0..<count where weights[i] != 0 {
      let own = indices + (i % samples) * positions
      var places: [Int32: [Int]] = [:]
      for t in 0..<positions { places[own[t], default: []].append(t) }
      for (index, list) in places {
        Kernels.zero(sum.pointer, count: columns)
        for t in list {
          Kernels.add(
            rows.pointer + (i * positions + t) * columns, sum.pointer, sum.pointer,
            count: columns)
        }
        Kernels.toDouble(sum.pointer, exact.pointer, count: columns)
        addSquares(
          exact.pointer, weight: weights[i], count: columns, to: out + Int(index) * columns)
      }
    }
  }
}

/// `out += weight x * x`; x is overwritten.
private func addSquares(
  _ x: UnsafeMutablePointer<Double>, weight: Double, count: Int,
  to out: UnsafeMutablePointer<Double>
) {
  Kernels.multiply(x, x, x, count: count)
  Kernels.axpby(weight, x, 1, out, count: count)
}
