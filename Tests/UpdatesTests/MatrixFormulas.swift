import Foundation
import TensorModule
import TestSupport

// Methods that look at weights as matrices, by their definitions on full matrices.

/// One for each of them.
let matrixFormulas: [String: DenseFormula] = [
  "shampoo": matrices { oracle, _ in oracle.shampoo(-0.25) },
  "shampoo@2": matrices { oracle, _ in oracle.shampoo(-0.5) },
  "soap": matrices(dampings: ["0.1", "1e-3", "rel:1e-2", "0"]) { $0.soap(lambda: $1) },
  "kl-shampoo": matrices { oracle, _ in oracle.klShampoo() },
  "muon": matrices { oracle, _ in oracle.muon(isPolar: false) },
  "muon@polar": matrices { oracle, _ in oracle.muon(isPolar: true) },
  "evkfac": matrices(dampings: ["0.1", "1e-3", "rel:1e-2"]) {
    $0.eigenvalueCorrected(lambda: $1)
  },
  "sophia": DenseFormula(
    draws: [1, 3], inSingle: { _ in 1e-3 }, direction: { oracle, draws, _ in oracle.sophia(draws) }),
]

private func matrices(
  dampings: [String] = [],
  _ direction: @escaping @Sendable (_ oracle: DenseOracle, _ lambda: Double) -> [Double]
) -> DenseFormula {
  // Eigenvectors that are near to each other and small singular values carry the rounding of the
  // gradients, which is lifted with them.
  DenseFormula(
    dampings: dampings, liftsRounding: true, inSingle: { _ in 1e-3 },
    direction: { oracle, _, lambda in direction(oracle, lambda) })
}

// MARK: - Tensors

private struct Weight {
  enum Role {
    case matrix
    case head
    case vector
    case embedding
  }
  let range: Range<Int>
  let role: Role
  let rows: Int
  let columns: Int
}

extension DenseOracle {
  fileprivate var weights: [Weight] {
    let layers = Set(problem.model.matrixLayers.map { $0 + ".weight" })
    let last = problem.model.layers.last!
    let head = last["type"] as? String == "linear" ? last["name"] as? String : nil
    let tables = Set(
      problem.model.layers.filter { $0["type"] as? String == "embedding" }.compactMap {
        ($0["name"] as? String).map { $0 + ".weight" }
      })
    return zip(tensorRanges, problem.trained).map { tensor, parameter in
      let (rows, columns) = (parameter.shape[0], parameter.shape.dropFirst().reduce(1, *))
      let isVector = parameter.shape.count == 1
      let role: Weight.Role =
        isVector
        ? .vector
        : tables.contains(tensor.name) || !layers.contains(tensor.name)
          ? .embedding : tensor.name == head.map { $0 + ".weight" } ? .head : .matrix
      return Weight(range: tensor.range, role: role, rows: rows, columns: columns)
    }
  }

  /// A direction tensor by tensor; those in which gradients cancel to rounding have no part.
  private func byTensor(_ step: (Weight) -> [Double]) -> [Double] {
    var result = [Double](repeating: 0, count: parameterCount)
    for weight in weights where !isRounding(weight.range) {
      for (p, value) in zip(weight.range, step(weight)) { result[p] = value }
    }
    return result
  }

  /// G_n of one tensor.
  private func samples(_ weight: Weight) -> [Matrix] {
    perSampleGradients.map {
      Matrix(weight.rows, weight.columns, Array($0[weight.range]))
    }
  }

  private func isRounding(_ entries: Range<Int>) -> Bool {
    func size(_ entries: Range<Int>) -> Double {
      perSampleGradients.reduce(0) { sum, row in
        sum + entries.reduce(0) { $0 + row[$1] * row[$1] }
      }
    }
    return size(entries) <= 1e-28 * size(0..<parameterCount)
  }

  /// `g / (sum g_n^2)^power`, zero where no sample has a gradient.
  private func diagonal(
    _ weight: Weight, _ power: Double, lambda: Double = 0, mean: Bool = false
  ) -> [Double] {
    weight.range.map { p in
      let square = perSampleGradients.reduce(0) { $0 + $1[p] * $1[p] }
      if lambda == 0 && isRounding(p..<p + 1) { return 0 }
      return gradient[p] / (pow(mean ? square / Double(samples) : square, power) + lambda)
    }
  }

  // MARK: - Methods

  fileprivate func shampoo(_ power: Double) -> [Double] {
    byTensor { weight in
      let all = samples(weight)
      if weight.role == .embedding { return diagonal(weight, -2 * power) }
      let left = Matrix.sum(all.map { $0 * $0.transposed })
      if weight.role == .vector { return (left.power(2 * power) * Matrix.sum(all)).values }
      let right = Matrix.sum(all.map { $0.transposed * $0 })
      return (left.power(power) * Matrix.sum(all) * right.power(power)).values
    }
  }

  fileprivate func soap(lambda: Double) -> [Double] {
    byTensor { weight in
      if weight.role == .vector || weight.role == .embedding {
        return diagonal(weight, 0.5, lambda: lambda)
      }
      let all = samples(weight)
      let left = Matrix.sum(all.map { $0 * $0.transposed }).eigenvectors
      let right = Matrix.sum(all.map { $0.transposed * $0 }).eigenvectors
      let rotated = all.map { left * $0 * right.transposed }
      var sum = Matrix.sum(rotated)
      let squares = Matrix.sum(rotated.map { $0.squared })
      let level = 3e-14 * squares.values.reduce(0, +).squareRoot()
      for i in sum.values.indices {
        let root = squares.values[i].squareRoot()
        sum.values[i] = root > level ? sum.values[i] / (root + lambda) : 0
      }
      return (left.transposed * sum * right).values
    }
  }

  fileprivate func klShampoo() -> [Double] {
    byTensor { weight in
      if weight.role == .vector || weight.role == .embedding {
        return diagonal(weight, 0.5, mean: true)
      }
      let all = samples(weight)
      let count = Double(samples)
      var right = Matrix.identity(weight.columns)
      var left = Matrix.identity(weight.rows)
      for _ in 0..<50 {
        // By roots: with the inverse itself rounding would hide which eigenvalues are zero.
        let byColumns = all.map { $0 * right.power(-0.5) }
        left = Matrix.sum(byColumns.map { $0 * $0.transposed })
          .scaled(1 / count / Double(right.rank))
        let byRows = all.map { left.power(-0.5) * $0 }
        right = Matrix.sum(byRows.map { $0.transposed * $0 })
          .scaled(1 / count / Double(left.rank))
      }
      return (left.power(-0.5) * Matrix.sum(all) * right.power(-0.5)).values
    }
  }

  fileprivate func muon(isPolar: Bool) -> [Double] {
    byTensor { weight in
      if weight.role != .matrix {
        return diagonal(weight, 0.5, mean: true).map { $0 / Double(samples) }
      }
      let g = Matrix.sum(samples(weight))
      let factor = max(1, Double(weight.rows) / Double(weight.columns)).squareRoot()
      if isPolar { return g.polarFactor.scaled(factor).values }
      let norm = dot(g.values, g.values).squareRoot()
      var x = norm > 0 ? g.scaled(1 / norm) : g
      for _ in 0..<5 {
        let a = x * x.transposed
        let polynomial = Matrix.sum([a.scaled(-4.7750), (a * a).scaled(2.0315)])
        x = Matrix.sum([x.scaled(3.4445), polynomial * x])
      }
      return x.scaled(factor).values
    }
  }

  fileprivate func sophia(_ draws: [OracleLabels]) -> [Double] {
    let rows = sampledGradients(draws)
    let level = 1e-14 * gradient.reduce(0) { max($0, abs($1)) }
    let ratios = gradient.indices.map { p -> Double in
      let h = rows.reduce(0) { $0 + $1[p] * $1[p] } / Double(draws.count)
      return abs(gradient[p]) <= level ? 0 : abs(gradient[p]) / h
    }
    let present = ratios.filter { $0 > 0 }.sorted()
    if present.isEmpty { return ratios }
    let rho = present[present.count / 2]
    return zip(gradient, ratios).map { g, ratio in
      ratio == 0 ? 0 : (g < 0 ? -1 : 1) * min(ratio / rho, 1)
    }
  }

  /// In the eigenbases of A and B of the true labels; other tensors: the block of EF, of means.
  fileprivate func eigenvalueCorrected(lambda: Double) -> [Double] {
    var result = [Double](repeating: 0, count: parameterCount)
    var done: Set<String> = []
    for name in problem.model.linearLayers {
      guard let weight = tensorRanges.first(where: { $0.name == name + ".weight" })?.range else {
        continue
      }
      let rows = layerRows(name)
      let (width, outputs) = (rows.inputs[0][0].count, rows.jacobian[0][0].count)
      let inputs = rows.inputs.map { Matrix($0.count, width, $0.flatMap { $0 }) }
      let cotangents = rows.jacobian.enumerated().map { n, all in
        Matrix(all.count, outputs, all.flatMap { $0.map { dot($0, logitGradients[n]) } })
      }
      let right = Matrix.sum(inputs.map { $0.transposed * $0 }).eigenvectors
      let left = Matrix.sum(cotangents.map { $0.transposed * $0 }).eigenvectors
      let rotated = zip(cotangents, inputs).map {
        left * $0.0.transposed * $0.1 * right.transposed
      }
      var sum = Matrix.sum(rotated)
      let squares = Matrix.sum(rotated.map { $0.squared })
      for i in sum.values.indices {
        sum.values[i] /= squares.values[i] / Double(samples) + lambda
      }
      // The engine leaves the factor 1 / N of the mean out.
      let solution = (left.transposed * sum * right).scaled(1 / Double(samples))
      write(solution.rowsOfValues, layer: name, weight, to: &result)
      done.formUnion([name + ".weight", name + ".bias"])
    }
    for (name, range) in tensorRanges where !done.contains(name) {
      let block = empiricalBlock(range, target: ones, lambda: lambda * Double(samples))
      for (p, value) in zip(range, block) { result[p] = value }
    }
    return result
  }
}

// MARK: - Matrices

/// A small dense matrix, row by row.
private struct Matrix {
  let rows: Int
  let columns: Int
  var values: [Double]

  init(_ rows: Int, _ columns: Int, _ values: [Double]) {
    (self.rows, self.columns, self.values) = (rows, columns, values)
  }

  static func identity(_ n: Int) -> Matrix {
    Matrix(n, n, (0..<n * n).map { $0 % (n + 1) == 0 ? 1 : 0 })
  }

  static func sum(_ all: [Matrix]) -> Matrix {
    var result = all[0]
    for other in all.dropFirst() {
      for i in result.values.indices { result.values[i] += other.values[i] }
    }
    return result
  }

  static func * (a: Matrix, b: Matrix) -> Matrix {
    var result = Matrix(a.rows, b.columns, [Double](repeating: 0, count: a.rows * b.columns))
    for i in 0..<a.rows {
      for k in 0..<a.columns {
        let factor = a.values[i * a.columns + k]
        for j in 0..<b.columns {
          result.values[i * b.columns + j] += factor * b.values[k * b.columns + j]
        }
      }
    }
    return result
  }

  var transposed: Matrix {
    var result = Matrix(columns, rows, values)
    for i in 0..<rows {
      for j in 0..<columns { result.values[j * rows + i] = values[i * columns + j] }
    }
    return result
  }

  var squared: Matrix { Matrix(rows, columns, values.map { $0 * $0 }) }

  func scaled(_ factor: Double) -> Matrix { Matrix(rows, columns, values.map { factor * $0 }) }

  var rowsOfValues: [[Double]] {
    (0..<rows).map { Array(values[$0 * columns..<($0 + 1) * columns]) }
  }

  /// Eigenvalues above rounding, with their vectors as rows.
  private var spectrum: (values: [Double], vectors: Matrix) {
    let eigen = try! LAPACK.symmetricEigen(n: rows, Vector(values))
    // Sums of products, decomposed: a few hundred roundings.
    let level = 3e-14 * max(eigen.values.last ?? 0, 0)
    let kept = eigen.values.indices.filter { eigen.values[$0] > level }
    let vectors = kept.flatMap { i in (0..<rows).map { eigen.vectors[i * rows + $0] } }
    return (kept.map { eigen.values[$0] }, Matrix(kept.count, rows, vectors))
  }

  var eigenvectors: Matrix { spectrum.vectors }
  var rank: Int { spectrum.values.count }

  /// On what it spans.
  func power(_ power: Double) -> Matrix {
    let (eigenvalues, vectors) = spectrum
    var scaled = vectors
    for (i, value) in eigenvalues.enumerated() {
      for j in 0..<rows { scaled.values[i * rows + j] *= pow(value, power) }
    }
    if eigenvalues.isEmpty { return self.scaled(0) }
    return vectors.transposed * scaled
  }

  /// `U V^T`
  var polarFactor: Matrix {
    let factors = try! LAPACK.singularValues(rows: rows, columns: columns, Vector(values))
    let k = factors.values.count
    var result = scaled(0)
    for s in 0..<k where factors.values[s] > 1e-12 * factors.values[0] {
      for i in 0..<rows {
        for j in 0..<columns {
          result.values[i * columns + j] +=
            factors.left[i * k + s] * factors.rightTransposed[s * columns + j]
        }
      }
    }
    return result
  }
}
