// Block-diagonal, Kronecker-factored and diagonal methods by their definitions: dense blocks of the
// matrices in plain loops, rows of layers by running the model with one output of the layer shifted.

extension DenseOracle {
  /// Where each trainable tensor lies in a direction.
  package var tensorRanges: [(name: String, range: Range<Int>)] {
    var end = 0
    return problem.trained.map { parameter in
      defer { end += parameter.count }
      return (parameter.name, end..<end + parameter.count)
    }
  }

  /// `(sum_r w_r x_r x_r^T + lambda I)^-1 b` over the entries of a range.
  package static func blockSolve(
    _ rows: [[Double]], weights: [Double], _ range: Range<Int>, lambda: Double, _ target: [Double]
  ) -> [Double] {
    var matrix = [[Double]](
      repeating: [Double](repeating: 0, count: range.count), count: range.count)
    for (row, weight) in zip(rows, weights) {
      for i in range {
        for j in range {
          matrix[i - range.lowerBound][j - range.lowerBound] += weight * row[i] * row[j]
        }
      }
    }
    for i in matrix.indices { matrix[i][i] += lambda }
    return solve(matrix, Array(target[range]))
  }

  /// EF or iEF of one tensor: `G_t^T (K_t + lambda I)^-1 b`.
  package func empiricalBlock(
    _ range: Range<Int>, target: [Double], lambda: Double
  ) -> [Double] {
    let rows = perSampleGradients.map { Array($0[range]) }
    var k = rows.map { a in rows.map { dot(a, $0) } }
    for n in k.indices { k[n][n] += lambda }
    let weights = DenseOracle.solve(k, target)
    var sum = [Double](repeating: 0, count: range.count)
    for (row, weight) in zip(rows, weights) {
      for i in sum.indices { sum[i] += weight * row[i] }
    }
    return sum
  }

  /// `(Ghat_t^T Ghat_t + lambda I)^-1 g_t` of one tensor, from the matrix itself.
  package func sampledBlock(
    _ range: Range<Int>, _ draws: [OracleLabels], lambda: Double
  ) -> [Double] {
    let rows = sampledGradients(draws)
    return DenseOracle.blockSolve(
      rows, weights: rows.map { _ in 1 / Double(draws.count) }, range, lambda: lambda, gradient)
  }

  /// `(sum_r x_r x_r^T + lambda I)^-1 b` over some entries.
  package static func blockSolve(
    _ rows: [[Double]], _ entries: [Int], lambda: Double, _ target: [Double]
  ) -> [Double] {
    let own = rows.map { row in entries.map { row[$0] } }
    return blockSolve(
      own, weights: own.map { _ in 1 }, 0..<entries.count, lambda: lambda,
      entries.map { target[$0] })
  }

  /// The entries of each module: of the tensors whose names differ in what follows the last dot.
  package var moduleEntries: [[Int]] {
    var names: [String] = []
    var entries: [String: [Int]] = [:]
    for (name, range) in tensorRanges {
      let module = name.split(separator: ".").dropLast().joined(separator: ".")
      if entries[module] == nil { names.append(module) }
      entries[module, default: []] += range
    }
    return names.map { entries[$0]! }
  }

  /// Columns of A with `H_n = A A^T`, at every output of every sample, `[O C][N][O C]`: as gradients of
  /// so many labels.
  package var hessianRoots: [[[Double]]] {
    let (size, classes) = (problem.logitCount, problem.classes)
    return (0..<size).map { k in
      (0..<samples).map { n in
        var column = [Double](repeating: 0, count: size)
        guard problem.loss == "cross_entropy" else {
          column[k] = hessian(n)[k][k].squareRoot()
          return column
        }
        let (first, c) = (k / classes * classes, k % classes)
        let p = DenseOracle.softmax(Array(logits[n][first..<first + classes]))
        let size = (problem.mass(n, position: k / classes) * p[c]).squareRoot()
        for a in 0..<classes { column[first + a] = size * ((a == c ? 1 : 0) - p[a]) }
        return column
      }
    }
  }

  /// `sum_n w_n g_n^2`, element by element.
  package func summedSquares(_ weights: [Double]) -> [Double] {
    var sum = [Double](repeating: 0, count: parameterCount)
    for (row, weight) in zip(perSampleGradients, weights) {
      for p in sum.indices { sum[p] += weight * row[p] * row[p] }
    }
    return sum
  }

  // MARK: - Kronecker products

  /// What K-FAC knows of one linear layer or convolution: inputs and Jacobian of the logits w.r.t.
  /// its outputs, for every sample and position.
  package struct LayerRows {
    /// `[N][T][in]`, with a last 1 where a bias trains.
    package var inputs: [[[Double]]]
    /// `[N][T][out][O C]`
    package var jacobian: [[[[Double]]]]
  }

  /// The rows of the layer `name`, found from its part of the Jacobian: `dz/dW = sum_t J_t a_t^T`
  /// does not tell them apart, so the model is run with outputs of the layer shifted.
  package func layerRows(_ name: String) -> LayerRows {
    let hasBias = problem.trainable.contains(name + ".bias")
    var rows = LayerRows(inputs: [], jacobian: [])
    for n in 0..<samples {
      let probe = problem.model.probe(name, problem.inputs[n], problem.parameters)
      rows.inputs.append(probe.inputs.map { $0 + (hasBias ? [1] : []) })
      rows.jacobian.append(probe.jacobian)
    }
    return rows
  }

  /// `(A x B + lambda I)^-1 g` for one layer, the Kronecker product written out: entry
  /// `(o, i), (p, j)` is `A_ij B_op`, `A = 1/(N T) sum a a^T`, `B = sum b b^T` over the rows of all
  /// draws, each with its weight.
  ///
  /// - Parameters:
  ///   - factorGradients: Per draw and sample, the logit gradient that makes b, `[k][N][O C]`.
  ///   - weights: Per draw and sample, what `b b^T` is multiplied by.
  ///   - reducesPositions: Whether A is of the means of a over positions, and B of the sums of b.
  /// - Returns: `[out][in + 1]`
  package func kroneckerSolve(
    _ rows: LayerRows, factorGradients: [[[Double]]], weights: [[Double]], lambda: Double,
    reducesPositions: Bool = false
  ) -> [[Double]] {
    let inputs = rows.inputs[0][0].count
    let outputs = rows.jacobian[0][0].count
    let positions = Double(rows.inputs[0].count)
    let count = Double(samples) * (reducesPositions ? 1 : positions)
    var a = [[Double]](repeating: [Double](repeating: 0, count: inputs), count: inputs)
    var b = [[Double]](repeating: [Double](repeating: 0, count: outputs), count: outputs)
    var g = [[Double]](repeating: [Double](repeating: 0, count: inputs), count: outputs)
    for n in 0..<samples {
      for (x, jacobian) in zip(rows.inputs[n], rows.jacobian[n]) {
        let own = jacobian.map { dot($0, logitGradients[n]) }
        for i in 0..<inputs { for o in 0..<outputs { g[o][i] += own[o] * x[i] } }
      }
      var factors = Array(zip(rows.inputs[n], rows.jacobian[n]))
      if reducesPositions {
        let mean = (0..<inputs).map { i in rows.inputs[n].reduce(0) { $0 + $1[i] } / positions }
        let sum = (0..<outputs).map { o in
          (0..<problem.logitCount).map { k in rows.jacobian[n].reduce(0) { $0 + $1[o][k] } }
        }
        factors = [(mean, sum)]
      }
      for (x, jacobian) in factors {
        for i in 0..<inputs { for j in 0..<inputs { a[i][j] += x[i] * x[j] / count } }
        for (draw, weight) in zip(factorGradients, weights) {
          let y = jacobian.map { dot($0, draw[n]) }
          for o in 0..<outputs {
            for p in 0..<outputs { b[o][p] += weight[n] * y[o] * y[p] }
          }
        }
      }
    }
    var matrix: [[Double]] = []
    for o in 0..<outputs {
      for i in 0..<inputs {
        var row: [Double] = []
        for p in 0..<outputs { for j in 0..<inputs { row.append(a[i][j] * b[o][p]) } }
        row[o * inputs + i] += lambda
        matrix.append(row)
      }
    }
    let solution = DenseOracle.solve(matrix, g.flatMap { $0 })
    return (0..<outputs).map { Array(solution[$0 * inputs..<($0 + 1) * inputs]) }
  }
}
