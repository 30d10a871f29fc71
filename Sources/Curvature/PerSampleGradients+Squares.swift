import GraphModule
import TensorModule

extension PerSampleGradients {
  /// `sum_row (g_row / unit)^2`, element by element, `[P]`: no matrix of `R N x P` is formed.
  ///
  /// A layer with one position per sample needs one product of squares, as
  /// `(b_o a_i)^2 = b_o^2 a_i^2`; with more positions the gradient of every row is formed in blocks of
  /// the weight and squared there.
  package func sumOfSquares(unit: Double = 1) -> Vector<S> {
    let result = Vector<S>(count: linearization.parameterCount)
    let weights = scales.map { ($0 / unit) * ($0 / unit) }
    let offsets = linearization.program.offsets
    var tasks: [() -> Void] = []
    for entry in entries {
      switch entry {
      case .explicit(let parameter, let rows):
        let columns = linearization.program.graph.parameters[parameter.index].count
        tasks += squareColumns(
          rows, columns: columns, weights, into: result.pointer + offsets[parameter.index]!)
      case .factored(let node, let factors, let weight, let bias, let rows):
        let inputs = linearization.inputRows(node: node, factors)
        let target = result.pointer + offsets[weight.index]!
        switch inputs {
        case .dense(let a):
          tasks += squareProducts(factors, inputs: a, rows: rows, weights, into: target)
        case .oneHot(let indices):
          tasks.append { [self] in
            squareTable(factors, indices: indices, rows: rows, weights, into: target)
          }
        }
        if let bias {
          let sums = positionSums(factors, rows: rows)
          tasks += squareColumns(
            sums, columns: factors.outputs, weights, into: result.pointer + offsets[bias.index]!)
        }
      }
    }
    linearization.pool.run(tasks.count) { task, _ in tasks[task]() }
    return result
  }

  /// Blocks are independent: each entry of the result is summed over rows in order.
  private func squareColumns(
    _ rows: Vector<S>, columns: Int, _ weights: [Double], into target: UnsafeMutablePointer<S>
  ) -> [() -> Void] {
    let block = 4096
    return stride(from: 0, to: columns, by: block).map { begin in
      let length = min(block, columns - begin)
      return { [self] in
        let squares = Vector<S>(count: length)
        for row in 0..<count where weights[row] != 0 {
          let source = UnsafePointer(rows.pointer + row * columns + begin)
          Kernels.multiply(source, source, squares.pointer, count: length)
          Kernels.axpby(weights[row], squares.pointer, 1, target + begin, count: length)
        }
      }
    }
  }

  private func squareProducts(
    _ factors: Factorization, inputs a: UnsafePointer<S>, rows: Vector<S>, _ weights: [Double],
    into target: UnsafeMutablePointer<S>
  ) -> [() -> Void] {
    let (inCount, outCount, positions) = (factors.inputs, factors.outputs, factors.positions)
    if positions == 1 {
      // The draws share their inputs: weigh and add their squares first.
      let b = Vector<S>(count: samples * outCount)
      let squares = Vector<S>(count: max(outCount, samples * inCount))
      for row in 0..<count {
        let source = UnsafePointer(rows.pointer + row * outCount)
        Kernels.multiply(source, source, squares.pointer, count: outCount)
        let sum = b.pointer + row % samples * outCount
        Kernels.axpby(weights[row], squares.pointer, 1, sum, count: outCount)
      }
      Kernels.multiply(a, a, squares.pointer, count: samples * inCount)
      return FactoredRows(
        factors: factors, count: samples, inputs: .dense(UnsafePointer(squares.pointer)),
        cotangents: UnsafePointer(b.pointer)
      ).gradientTasks(weight: target, bias: nil).map { task in
        { withExtendedLifetime((b, squares)) { task() } }
      }
    }
    let block = max(1, min(outCount, (1 << 16) / max(inCount, 1)))
    return stride(from: 0, to: outCount, by: block).map { begin in
      let length = min(block, outCount - begin)
      return { [self] in
        let gradient = Vector<S>(count: length * inCount)
        for row in 0..<count where weights[row] != 0 {
          BLAS.gemm(
            transposeA: true, m: length, n: inCount, k: positions,
            rows.pointer + row * positions * outCount + begin, lda: outCount,
            a + row % samples * positions * inCount, ldb: inCount, gradient.pointer, ldc: inCount)
          Kernels.multiply(
            gradient.pointer, gradient.pointer, gradient.pointer, count: gradient.count)
          Kernels.axpby(
            weights[row], gradient.pointer, 1, target + begin * inCount, count: gradient.count)
        }
      }
    }
  }

  /// An embedding: positions that read the same row of the table add up before they are squared.
  private func squareTable(
    _ factors: Factorization, indices: UnsafePointer<Int32>, rows: Vector<S>, _ weights: [Double],
    into target: UnsafeMutablePointer<S>
  ) {
    let (columns, positions) = (factors.outputs, factors.positions)
    let sum = Vector<S>(count: columns)
    for row in 0..<count where weights[row] != 0 {
      let first = row % samples * positions
      var places: [Int32: [Int]] = [:]
      for t in 0..<positions { places[indices[first + t], default: []].append(t) }
      for (index, list) in places {
        Kernels.zero(sum.pointer, count: columns)
        for t in list {
          let source = rows.pointer + (row * positions + t) * columns
          Kernels.add(source, sum.pointer, sum.pointer, count: columns)
        }
        Kernels.multiply(sum.pointer, sum.pointer, sum.pointer, count: columns)
        Kernels.axpby(
          weights[row], sum.pointer, 1, target + Int(index) * columns, count: columns)
      }
    }
  }
}
