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
  /// Condition numbers of some N over the least relative damping, 1e6, times 1e-16.
  var inDouble: Tolerance = { _ in 1e-9 }
  /// Rows with errors of 1e-6, multiplied by the condition number.
  var inSingle: Tolerance = { min(1, 1e-5 * max(1, 1 / $0)) }
  let direction:
    @Sendable (_ oracle: DenseOracle, _ draws: [OracleLabels], _ lambda: Double) -> [Double]
}

/// One for each method of the list.
let denseFormulas: [String: DenseFormula] = [
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
  "kfac": kronecker(target: nil),
  "ekfac": kronecker { $0.ones },
  "iekfac": kronecker { $0.squares },
  "block-ef": blocks { $0.empiricalBlock($1, target: $0.ones, lambda: $3) },
  "block-ief": blocks { $0.empiricalBlock($1, target: $0.squares, lambda: $3) },
  "block-sf": blocks { oracle, range, draws, lambda in
    oracle.sampledBlock(range, draws, lambda: lambda).map { $0 * lambda }
  },
  "diag-ef": diagonal { g, square, _, lambda in g / (square + lambda) },
  "diag-ief": diagonal { g, _, unit, lambda in g / (unit + lambda) },
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

private func kronecker(target: (@Sendable (DenseOracle) -> [Double])?) -> DenseFormula {
  DenseFormula { oracle, draws, lambda in
    oracle.kroneckerFactored(target?(oracle), draws, lambda: lambda)
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
  ///
  /// - Parameter target: Of the exact blocks; its reciprocals weight the rows of B. `nil`: from draws.
  func kroneckerFactored(
    _ target: [Double]?, _ draws: [OracleLabels], lambda: Double
  ) -> [Double] {
    var result = [Double](repeating: 0, count: parameterCount)
    let ranges = Dictionary(uniqueKeysWithValues: tensorRanges.map { ($0.name, $0.range) })
    var done: Set<String> = []
    let factorGradients: [[[Double]]]
    let weights: [[Double]]
    if let target {
      factorGradients = [logitGradients]
      weights = [target.map { $0 > 0 ? 1 / $0 : 0 }]
    } else {
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
        layerRows(name), factorGradients: factorGradients, weights: weights, lambda: lambda)
      let inputs = weight.count / solution.count
      for (o, row) in solution.enumerated() {
        for i in 0..<inputs { result[weight.lowerBound + o * inputs + i] = row[i] }
        if let bias = ranges[name + ".bias"] { result[bias.lowerBound + o] = row[inputs] }
      }
      done.formUnion([name + ".weight", name + ".bias"])
    }
    for (name, range) in tensorRanges where !done.contains(name) {
      let block =
        target.map { empiricalBlock(range, target: $0, lambda: lambda) }
        ?? sampledBlock(range, draws, lambda: lambda)
      for (i, value) in zip(range, block) { result[i] = value }
    }
    return result
  }

  /// `max_n K_nn`
  var largest: Double { perSampleGradients.map { dot($0, $0) }.max()! }

  func largestSampled(_ draws: [OracleLabels]) -> Double {
    sampledGradients(draws).map { dot($0, $0) }.max()! / Double(draws.count)
  }
}
