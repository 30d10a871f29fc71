import Foundation
import TensorModule

/// Every quantity of method.md by its definition, in plain loops and double precision: J column by
/// column, H, F and G as matrices. Shares no code with the engine but LAPACK.
///
/// Directions run through the trainable parameters in the order of `Problem.trained`, in the
/// layout of the file.
package final class DenseOracle {
  package let problem: Problem
  /// z, `[N][O C]`
  package let logits: [[Double]]
  /// J, `[N][O C][P]`
  package let jacobian: [[[Double]]]
  /// l_n
  package let losses: [Double]
  /// u, `[N][O C]`
  package let logitGradients: [[Double]]

  package init(_ problem: Problem) {
    self.problem = problem
    let (samples, count) = (problem.samples, problem.parameterCount)
    let size = problem.logitCount
    let logits = (0..<samples).map { problem.logits($0).map(\.value) }
    self.logits = logits
    var jacobian = [[[Double]]](
      repeating: [[Double]](repeating: [Double](repeating: 0, count: count), count: size),
      count: samples)
    var unit = [Double](repeating: 0, count: count)
    for p in 0..<count {
      unit[p] = 1
      for n in 0..<samples {
        let column = problem.logits(n, along: unit)
        for i in 0..<size { jacobian[n][i][p] = column[i].derivative }
      }
      unit[p] = 0
    }
    self.jacobian = jacobian
    let gradients = (0..<samples).map {
      DenseOracle.logitGradient(problem, logits[$0], sample: $0)
    }
    losses = gradients.map(\.loss)
    logitGradients = gradients.map(\.gradient)
  }

  package var samples: Int { problem.samples }
  package var parameterCount: Int { problem.parameterCount }

  /// l and u of one sample.
  package static func logitGradient(
    _ problem: Problem, _ z: [Double], sample: Int
  ) -> (loss: Double, gradient: [Double]) {
    let (classes, masses) = (problem.classes, problem.masses(sample))
    var loss = 0.0
    var u = [Double](repeating: 0, count: z.count)
    if problem.loss == "cross_entropy" {
      for o in 0..<problem.positions {
        let row = o * classes..<(o + 1) * classes
        let p = softmax(Array(z[row]))
        for c in 0..<classes where masses[o * classes + c] > 0 {
          loss -= masses[o * classes + c] * log(p[c])
        }
        let mass = problem.mass(sample, position: o)
        for c in 0..<classes { u[o * classes + c] = mass * p[c] - masses[o * classes + c] }
      }
      return (loss, u)
    }
    guard case .real(let all) = problem.labels else { preconditionFailure("\(problem.loss)") }
    for i in z.indices {
      let y = all[sample * z.count + i]
      if problem.loss == "mse" {
        loss += masses[i] * (z[i] - y) * (z[i] - y) / 2
        u[i] = masses[i] * (z[i] - y)
      } else {
        let p = 1 / (1 + exp(-z[i]))
        let ones = masses[i] * (problem.weighting.positives?[i % classes] ?? 1) * y
        let zeros = masses[i] * (1 - y)
        loss -= ones * log(p) + zeros * log(1 - p)
        u[i] = zeros * p - ones * (1 - p)
      }
    }
    return (loss, u)
  }

  /// u of one sample for labels drawn from the model, times the root of what H is multiplied by.
  package static func sampledLogitGradient(
    _ problem: Problem, _ z: [Double], _ labels: OracleLabels, sample: Int
  ) -> [Double] {
    let classes = problem.classes
    return z.indices.map { i in
      switch labels {
      case .classes(let all):
        let o = i / classes
        let label = all[sample * problem.positions + o]
        guard label >= 0 else { return 0 }
        let p = softmax(Array(z[o * classes..<(o + 1) * classes]))[i % classes]
        return problem.mass(sample, position: o).squareRoot() * (p - (label == i % classes ? 1 : 0))
      case .real(let all):
        let mean = problem.loss == "mse" ? z[i] : 1 / (1 + exp(-z[i]))
        return problem.curvatureMass(sample, i).squareRoot() * (mean - all[sample * z.count + i])
      }
    }
  }

  package static func softmax(_ z: [Double]) -> [Double] {
    let largest = z.max()!
    let e = z.map { exp($0 - largest) }
    let sum = e.reduce(0, +)
    return e.map { $0 / sum }
  }

  /// H_n, `[O C][O C]`; the identity, weighted as the loss is, for Gauss-Newton.
  package func hessian(_ n: Int, identity: Bool = false) -> [[Double]] {
    let (size, classes) = (problem.logitCount, problem.classes)
    var h = [[Double]](repeating: [Double](repeating: 0, count: size), count: size)
    for o in 0..<problem.positions {
      let mass = problem.mass(n, position: o)
      let z = Array(logits[n][o * classes..<(o + 1) * classes])
      let p = DenseOracle.softmax(z)
      for a in 0..<classes {
        let row = o * classes + a
        if problem.loss == "cross_entropy" {
          for b in 0..<classes {
            h[row][o * classes + b] =
              mass * (identity ? (a == b ? 1 : 0) : (a == b ? p[a] : 0) - p[a] * p[b])
          }
        } else {
          let s = 1 / (1 + exp(-z[a]))
          h[row][row] =
            problem.curvatureMass(n, row) * (identity || problem.loss == "mse" ? 1 : s * (1 - s))
        }
      }
    }
    return h
  }

  // MARK: - Products

  /// `J v`, `[N][O C]`
  package func jvp(_ v: [Double]) -> [[Double]] { jacobian.map { $0.map { dot($0, v) } } }

  /// `J_n^T w_n`, `[P]`
  package func vjp(_ n: Int, _ w: [Double]) -> [Double] {
    var sum = [Double](repeating: 0, count: parameterCount)
    for (row, weight) in zip(jacobian[n], w) where weight != 0 {
      for p in sum.indices { sum[p] += weight * row[p] }
    }
    return sum
  }

  /// `sum_n J_n^T w_n`
  package func vjp(_ w: [[Double]]) -> [Double] {
    combine((0..<samples).map { vjp($0, w[$0]) }, [Double](repeating: 1, count: samples))
  }

  package func combine(_ rows: [[Double]], _ weights: [Double]) -> [Double] {
    var sum = [Double](repeating: 0, count: parameterCount)
    for (row, weight) in zip(rows, weights) { for p in sum.indices { sum[p] += weight * row[p] } }
    return sum
  }

  /// `sum_n J_n^T H_n J_n v` (Eqn 2), or with the identity for H (Eqn 9).
  package func fisherProduct(_ v: [Double], identity: Bool = false) -> [Double] {
    let q = jvp(v)
    return vjp(
      (0..<samples).map { n in hessian(n, identity: identity).map { dot($0, q[n]) } })
  }

  /// `d^T F d`
  package func fisherQuadratic(_ d: [Double]) -> Double {
    let q = jvp(d)
    return (0..<samples).reduce(0) { sum, n in
      sum + dot(q[n], hessian(n).map { dot($0, q[n]) })
    }
  }

  /// g_n, `[N][P]`
  package lazy var perSampleGradients = (0..<samples).map { vjp($0, logitGradients[$0]) }
  /// g
  package lazy var gradient = combine(
    perSampleGradients, [Double](repeating: 1, count: samples))

  /// `G G^T`
  package func gram(_ rows: [[Double]]) -> [[Double]] { rows.map { a in rows.map { dot(a, $0) } } }

  /// gamma (Eqn 15)
  package func gamma(_ d: [Double]) -> Double {
    fisherQuadratic(d).squareRoot() / abs(dot(d, gradient))
  }

  // MARK: - Updates

  /// `G^T (K + lambda I)^-1 b` by Gaussian elimination.
  package func weightedGradients(_ target: [Double], lambda: Double) -> [Double] {
    var k = gram(perSampleGradients)
    for n in 0..<samples { k[n][n] += lambda }
    return combine(perSampleGradients, DenseOracle.solve(k, target))
  }

  package var ones: [Double] { [Double](repeating: 1, count: samples) }
  /// `s_n = |u_n|^2`
  package var squares: [Double] { logitGradients.map { dot($0, $0) } }

  /// Gradients of sampled labels, `[k N][P]`, draws outermost.
  package func sampledGradients(_ draws: [OracleLabels]) -> [[Double]] {
    draws.flatMap { labels in
      (0..<samples).map {
        vjp($0, DenseOracle.sampledLogitGradient(problem, logits[$0], labels, sample: $0))
      }
    }
  }

  /// SF through the P x P matrix `Ghat^T Ghat + lambda I` itself, times lambda: no Woodbury
  /// identity and no cancellation.
  package func sampledFisher(_ draws: [OracleLabels], lambda: Double) -> [Double] {
    let rows = sampledGradients(draws)
    var matrix = [[Double]](
      repeating: [Double](repeating: 0, count: parameterCount), count: parameterCount)
    for row in rows {
      for i in 0..<parameterCount where row[i] != 0 {
        for j in 0..<parameterCount { matrix[i][j] += row[i] * row[j] / Double(draws.count) }
      }
    }
    for i in 0..<parameterCount { matrix[i][i] += lambda }
    return DenseOracle.solve(matrix, gradient).map { $0 * lambda }
  }

  /// `F^+ g` by the singular value decomposition of `B = A^T J`, with `F = B^T B`.
  package lazy var naturalGradient: [Double] = {
    let (rows, target) = (root, rootWeights)
    let factors = try! LAPACK.singularValues(
      rows: rows.count, columns: parameterCount, Vector(rows.flatMap { $0 }))
    let k = factors.values.count
    var x = [Double](repeating: 0, count: parameterCount)
    for i in 0..<k where factors.values[i] > 1e-12 * factors.values[0] {
      var c = 0.0
      for r in rows.indices { c += factors.left[r * k + i] * target[r] }
      for p in x.indices {
        x[p] += c / factors.values[i] * factors.rightTransposed[i * parameterCount + p]
      }
    }
    return x
  }()

  /// `B = A^T J`, `[N O C][P]`: `H = A A^T` position by position.
  package lazy var root: [[Double]] = (0..<samples).flatMap { n in
    (0..<problem.logitCount).map { k in
      let (o, c) = (k / problem.classes, k % problem.classes)
      guard problem.loss == "cross_entropy" else {
        let scale = hessian(n)[k][k].squareRoot()
        return jacobian[n][k].map { $0 * scale }
      }
      let first = o * problem.classes
      let p = DenseOracle.softmax(Array(logits[n][first..<first + problem.classes]))
      let size = (problem.mass(n, position: o) * p[c]).squareRoot()
      var row = [Double](repeating: 0, count: parameterCount)
      for a in p.indices {
        let entry = ((a == c ? 1 : 0) - p[a]) * size
        for i in row.indices { row[i] += entry * jacobian[n][first + a][i] }
      }
      return row
    }
  }

  /// w with `u = A w`, `[N O C]`: `(M p - m) / sqrt(M p)` for cross-entropy, `u / sqrt(h)` otherwise.
  package lazy var rootWeights: [Double] = (0..<samples).flatMap { n in
    (0..<problem.logitCount).map { k in
      guard problem.loss == "cross_entropy" else {
        let h = hessian(n)[k][k]
        return h == 0 ? 0 : logitGradients[n][k] / h.squareRoot()
      }
      let (o, c) = (k / problem.classes, k % problem.classes)
      let first = o * problem.classes
      let mass = problem.mass(n, position: o)
      if mass == 0 { return 0 }
      let p = DenseOracle.softmax(Array(logits[n][first..<first + problem.classes]))
      return logitGradients[n][k] / (mass * p[c]).squareRoot()
    }
  }

  /// `1 / |w|`
  package var gammaBound: Double { 1 / dot(rootWeights, rootWeights).squareRoot() }

  // MARK: - Elimination

  /// Gaussian elimination with partial pivoting.
  package static func solve(_ matrix: [[Double]], _ target: [Double]) -> [Double] {
    var (a, b) = (matrix, target)
    let n = b.count
    for i in 0..<n {
      let pivot = (i..<n).max { abs(a[$0][i]) < abs(a[$1][i]) }!
      a.swapAt(i, pivot)
      b.swapAt(i, pivot)
      let top = a[i]
      for r in i + 1..<max(n, i + 1) where a[r][i] != 0 {
        let factor = a[r][i] / top[i]
        for c in i..<n { a[r][c] -= factor * top[c] }
        b[r] -= factor * b[i]
      }
    }
    var x = b
    for i in (0..<n).reversed() {
      for c in i + 1..<max(n, i + 1) { x[i] -= a[i][c] * x[c] }
      x[i] /= a[i][i]
    }
    return x
  }
}
