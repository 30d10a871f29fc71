import TestSupport

/// A method by its definition, in plain dense loops, and how near the engine comes to it.
struct DenseFormula {
  typealias Tolerance = @Sendable (_ relativeDamping: Double) -> Double

  var dampings = ["0.1", "1e-3", "rel:1e-2", "rel:1e-4"]
  /// Of methods that draw.
  var draws = [2]
  var isUpToScale = false
  /// Whether the direction's own estimate of its error is below the tolerance.
  var knowsItsError = false
  /// Whether the definition lifts rounding of the gradients by more than a number that is known
  /// beforehand: the tolerance then goes by how the definition itself answers to it.
  var liftsRounding = false
  /// Condition numbers of some N over the least relative damping, 1e6, times 1e-16.
  var inDouble: Tolerance = { _ in 1e-9 }
  /// Rows with errors of 1e-6, multiplied by the condition number.
  var inSingle: Tolerance = { min(1, 1e-5 * max(1, 1 / $0)) }
  var direction:
    @Sendable (_ oracle: DenseOracle, _ draws: [OracleLabels], _ lambda: Double) -> [Double]
}

/// One for each method of the list.
let denseFormulas = vectorFormulas.merging(matrixFormulas) { first, _ in first }

/// Those of methods that look at gradients as vectors.
private let vectorFormulas: [String: DenseFormula] = [
  "sgd": DenseFormula(inSingle: { _ in 3e-6 }, direction: { oracle, _, _ in oracle.gradient }),
  "ef": gram { oracle, _, lambda in oracle.weightedGradients(oracle.ones, lambda: lambda) },
  "ief": gram { oracle, _, lambda in oracle.weightedGradients(oracle.squares, lambda: lambda) },
  // For tiny lambda g - Ghat^T c keeps lambda / |Ghat|^2 of g, here 1e-5: five digits of fifteen.
  "sf": gram(isUpToScale: true) { oracle, draws, lambda in
    oracle.sampledFisher(draws, lambda: lambda)
  },
  "ng": solve { $0.curvatureSolve(lambda: $1) },
  "gn": solve { $0.curvatureSolve(identity: true, lambda: $1) },
  "ng@2": solve { $0.conjugateGradient(iterations: 2, lambda: $1) },
  "kfac": kronecker(.sampled),
  "kfac@reduce": kronecker(.sampled, reducesPositions: true),
  "kfac@exact": kronecker(.expected),
  "kfac@exact@reduce": kronecker(.expected, reducesPositions: true),
  "ekfac": kronecker(.given { $0.ones }),
  "ekfac@reduce": kronecker(.given { $0.ones }, reducesPositions: true),
  "iekfac": kronecker(.given { $0.squares }),
  "iekfac@reduce": kronecker(.given { $0.squares }, reducesPositions: true),
  "foof": DenseFormula(dampings: ["0.1", "1e-3"]) { oracle, _, lambda in
    oracle.inputPreconditioned(lambda: lambda)
  },
  "block-ef": blocks { $0.empiricalBlock($1, target: $0.ones, lambda: $3) },
  "block-ief": blocks { $0.empiricalBlock($1, target: $0.squares, lambda: $3) },
  "block-sf": blocks { oracle, range, draws, lambda in
    oracle.sampledBlock(range, draws, lambda: lambda).map { $0 * lambda }
  },
  "block-ng": entries {
    $0.tensorRanges.map { Array($0.range) }
  } block: {
    DenseOracle.blockSolve($0.root, $1, lambda: $3, $0.gradient)
  },
  "layer-ng": entries {
    $0.moduleEntries
  } block: {
    DenseOracle.blockSolve($0.root, $1, lambda: $3, $0.gradient)
  },
  "layer-ef": entries {
    $0.moduleEntries
  } block: {
    DenseOracle.blockSolve($0.perSampleGradients, $1, lambda: $3, $0.gradient)
  },
  "layer-ief": entries {
    $0.moduleEntries
  } block: { oracle, entries, _, lambda in
    // G^T (K + lambda)^-1 s is (G^T G + lambda)^-1 G^T s.
    DenseOracle.blockSolve(
      oracle.perSampleGradients, entries, lambda: lambda,
      oracle.combine(oracle.perSampleGradients, oracle.squares))
  },
  "layer-sf": entries {
    $0.moduleEntries
  } block: { oracle, entries, draws, lambda in
    let root = Double(draws.count).squareRoot()
    let rows = oracle.sampledGradients(draws).map { $0.map { $0 / root } }
    return DenseOracle.blockSolve(rows, entries, lambda: lambda, oracle.gradient).map {
      $0 * lambda
    }
  },
  "diag-ef": diagonal { g, square, _, lambda in g / (square + lambda) },
  "diag-ief": diagonal { g, _, unit, lambda in g / (unit + lambda) },
  "diag-ng": diagonal { oracle, p, lambda in
    oracle.gradient[p] / (oracle.root.reduce(0) { $0 + $1[p] * $1[p] } + lambda)
  },
  "adam": diagonal { g, square, _, lambda in g / (square.squareRoot() + lambda) },
  "sign": DenseFormula { oracle, _, _ in
    // Entries of some norms cancel to rounding.
    let level = 1e-14 * oracle.gradient.reduce(0) { max($0, abs($1)) }
    return oracle.gradient.map { abs($0) <= level ? 0 : $0 > 0 ? 1 : -1 }
  },
]

private func gram(
  isUpToScale: Bool = false,
  _ direction: @escaping @Sendable (DenseOracle, [OracleLabels], Double) -> [Double]
) -> DenseFormula {
  DenseFormula(
    dampings: ["0.1", "1e-3", "rel:1e-2", "rel:1e-5"],
    // With few draws and with more than there are parameters in small cases.
    draws: [1, 3], isUpToScale: isUpToScale, knowsItsError: !isUpToScale,
    inSingle: { min(1, 3e-6 * max(1, 1 / $0)) }, direction: direction)
}

private func solve(
  _ direction: @escaping @Sendable (DenseOracle, _ lambda: Double) -> [Double]
) -> DenseFormula {
  // In single precision the solver stops at the rounding of its products.
  DenseFormula(
    dampings: ["0.1", "rel:1e-2"], inSingle: { _ in 1e-3 },
    direction: { oracle, _, lambda in direction(oracle, lambda) })
}

private func blocks(
  _ block: @escaping @Sendable (DenseOracle, Range<Int>, [OracleLabels], Double) -> [Double]
) -> DenseFormula {
  DenseFormula { oracle, draws, lambda in
    oracle.tensorRanges.flatMap { block(oracle, $0.range, draws, lambda) }
  }
}

/// Blocks of any entries.
private func entries(
  _ blocks: @escaping @Sendable (DenseOracle) -> [[Int]],
  block: @escaping @Sendable (DenseOracle, [Int], [OracleLabels], Double) -> [Double]
) -> DenseFormula {
  DenseFormula { oracle, draws, lambda in
    var result = [Double](repeating: 0, count: oracle.parameterCount)
    for entries in blocks(oracle) {
      for (p, value) in zip(entries, block(oracle, entries, draws, lambda)) { result[p] = value }
    }
    return result
  }
}

/// Which labels make the factor of a layer's outputs, and the exact blocks.
enum KroneckerLabels: Sendable {
  case sampled
  case expected
  /// With the target of the exact blocks, whose reciprocals weight the rows.
  case given(@Sendable (DenseOracle) -> [Double])
}

private func kronecker(
  _ labels: KroneckerLabels, reducesPositions: Bool = false
) -> DenseFormula {
  DenseFormula { oracle, draws, lambda in
    oracle.kroneckerFactored(labels, draws, lambda: lambda, reducesPositions: reducesPositions)
  }
}

/// Entry by entry, from the gradient, and the summed squares of g_n and of `g_n / |u_n|`.
private func diagonal(
  _ entry:
    @escaping @Sendable (
      _ g: Double, _ square: Double, _ unitSquare: Double, _ lambda: Double
    ) -> Double
) -> DenseFormula {
  DenseFormula(
    dampings: ["0.1", "rel:1e-2", "rel:1e-5"],
    // An entry whose gradients cancel to rounding is divided by lambda alone.
    inDouble: { 1e-14 * max(1, 1 / $0) },
    // Entries of gradients are sums of terms that cancel to a hundredth.
    inSingle: { _ in 1e-3 },
    direction: { oracle, _, lambda in
      let squares = oracle.summedSquares(oracle.ones)
      let units = oracle.summedSquares(oracle.squares.map { $0 > 0 ? 1 / $0 : 0 })
      return oracle.gradient.indices.map {
        entry(oracle.gradient[$0], squares[$0], units[$0], lambda)
      }
    })
}

private func diagonal(
  _ entry: @escaping @Sendable (_ oracle: DenseOracle, _ p: Int, _ lambda: Double) -> Double
) -> DenseFormula {
  var formula = diagonal { g, _, _, _ in g }
  formula.direction = { oracle, _, lambda in
    oracle.gradient.indices.map { entry(oracle, $0, lambda) }
  }
  return formula
}

// MARK: - By definition

extension DenseOracle {
  /// `(C + lambda I) v`
  private func damped(_ v: [Double], identity: Bool, _ lambda: Double) -> [Double] {
    zip(fisherProduct(v, identity: identity), v).map { $0 + lambda * $1 }
  }

  func curvatureSolve(identity: Bool = false, lambda: Double) -> [Double] {
    let rows = (0..<parameterCount).map { p in
      damped((0..<parameterCount).map { $0 == p ? 1 : 0 }, identity: identity, lambda)
    }
    return DenseOracle.solve(rows, gradient)
  }

  /// Algorithm 5 as it stands.
  func conjugateGradient(iterations: Int, lambda: Double) -> [Double] {
    var x = [Double](repeating: 0, count: parameterCount)
    var (r, v) = (gradient, gradient)
    for _ in 0..<iterations where dot(r, r) > 0 {
      let product = damped(v, identity: false, lambda)
      let square = dot(r, r)
      let alpha = square / dot(v, product)
      x = zip(x, v).map { $0 + alpha * $1 }
      r = zip(r, product).map { $0 - alpha * $1 }
      let beta = dot(r, r) / square
      v = zip(r, v).map { $0 + beta * $1 }
    }
    return x
  }

  /// The K-FAC family.
  func kroneckerFactored(
    _ labels: KroneckerLabels, _ draws: [OracleLabels], lambda: Double, reducesPositions: Bool
  ) -> [Double] {
    var result = [Double](repeating: 0, count: parameterCount)
    let ranges = Dictionary(uniqueKeysWithValues: tensorRanges.map { ($0.name, $0.range) })
    var done: Set<String> = []
    let factorGradients: [[[Double]]]
    let weights: [[Double]]
    switch labels {
    case .given(let target):
      factorGradients = [logitGradients]
      weights = [target(self).map { $0 > 0 ? 1 / $0 : 0 }]
    case .expected:
      factorGradients = hessianRoots
      weights = factorGradients.map { _ in ones }
    case .sampled:
      factorGradients = draws.map { labels in
        (0..<samples).map {
          DenseOracle.sampledLogitGradient(problem, logits[$0], labels, sample: $0)
        }
      }
      weights = draws.map { _ in
        [Double](repeating: 1 / Double(draws.count), count: samples)
      }
    }
    for name in problem.model.linearLayers {
      guard let weight = ranges[name + ".weight"] else { continue }
      let solution = kroneckerSolve(
        layerRows(name), factorGradients: factorGradients, weights: weights, lambda: lambda,
        reducesPositions: reducesPositions)
      write(solution, layer: name, weight, to: &result)
      done.formUnion([name + ".weight", name + ".bias"])
    }
    for (name, range) in tensorRanges where !done.contains(name) {
      let block: [Double]
      switch labels {
      case .given(let target): block = empiricalBlock(range, target: target(self), lambda: lambda)
      case .expected: block = DenseOracle.blockSolve(root, Array(range), lambda: lambda, gradient)
      case .sampled: block = sampledBlock(range, draws, lambda: lambda)
      }
      for (i, value) in zip(range, block) { result[i] = value }
    }
    return result
  }

  /// `[out][in + 1]` of a layer to its weight and bias.
  func write(
    _ solution: [[Double]], layer name: String, _ weight: Range<Int>, to result: inout [Double]
  ) {
    let bias = tensorRanges.first { $0.name == name + ".bias" }?.range
    let inputs = weight.count / solution.count
    for (o, row) in solution.enumerated() {
      for i in 0..<inputs { result[weight.lowerBound + o * inputs + i] = row[i] }
      if let bias { result[bias.lowerBound + o] = row[inputs] }
    }
  }

  /// FOOF: `G (A + lambda I)^-1` of linear layers, g elsewhere.
  func inputPreconditioned(lambda: Double) -> [Double] {
    var result = gradient
    for name in problem.model.linearLayers {
      guard let weight = tensorRanges.first(where: { $0.name == name + ".weight" })?.range else {
        continue
      }
      let rows = layerRows(name)
      let a = rows.inputs.flatMap { $0 }
      let width = a[0].count
      var matrix = [[Double]](repeating: [Double](repeating: 0, count: width), count: width)
      for row in a {
        for i in 0..<width { for j in 0..<width { matrix[i][j] += row[i] * row[j] } }
      }
      for i in 0..<width {
        for j in 0..<width { matrix[i][j] /= Double(a.count) }
        matrix[i][i] += lambda
      }
      let solution = (0..<rows.jacobian[0][0].count).map { o -> [Double] in
        var g = [Double](repeating: 0, count: width)
        for n in 0..<samples {
          for (x, jacobian) in zip(rows.inputs[n], rows.jacobian[n]) {
            let b = dot(jacobian[o], logitGradients[n])
            for i in 0..<width { g[i] += b * x[i] }
          }
        }
        return DenseOracle.solve(matrix, g)
      }
      write(solution, layer: name, weight, to: &result)
    }
    return result
  }

  /// `max_n K_nn`
  var largest: Double { perSampleGradients.map { dot($0, $0) }.max()! }

  func largestSampled(_ draws: [OracleLabels]) -> Double {
    sampledGradients(draws).map { dot($0, $0) }.max()! / Double(draws.count)
  }
}
