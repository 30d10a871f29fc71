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
      DenseOracle.logitGradient(problem, logits[$0], problem.labels, sample: $0)
    }
    losses = gradients.map(\.loss)
    logitGradients = gradients.map(\.gradient)
  }

  package var samples: Int { problem.samples }
  package var parameterCount: Int { problem.parameterCount }

  /// l and u of one sample for any labels.
  package static func logitGradient(
    _ problem: Problem, _ z: [Double], _ labels: OracleLabels, sample: Int
  ) -> (loss: Double, gradient: [Double]) {
    let classes = problem.classes
    var loss = 0.0
    var u = [Double](repeating: 0, count: z.count)
    switch labels {
    case .classes(let all):
      for o in 0..<problem.positions {
        let label = all[sample * problem.positions + o]
        guard label >= 0 else { continue }
        let p = softmax(Array(z[o * classes..<(o + 1) * classes]))
        loss -= log(p[label])
        for c in 0..<classes { u[o * classes + c] = p[c] - (c == label ? 1 : 0) }
      }
    case .real(let all):
      for i in z.indices {
        let y = all[sample * z.count + i]
        if problem.loss == "mse" {
          loss += (z[i] - y) * (z[i] - y) / 2
          u[i] = z[i] - y
        } else {
          let p = 1 / (1 + exp(-z[i]))
          loss -= y * log(p) + (1 - y) * log(1 - p)
          u[i] = p - y
        }
      }
    }
    return (loss, u)
  }

  package static func softmax(_ z: [Double]) -> [Double] {
    let largest = z.max()!
    let e = z.map { exp($0 - largest) }
    let sum = e.reduce(0, +)
    return e.map { $0 / sum }
  }

  /// H_n, `[O C][O C]`; the identity on scored positions for Gauss-Newton.
  package func hessian(_ n: Int, identity: Bool = false) -> [[Double]] {
    let (size, classes) = (problem.logitCount, problem.classes)
    var h = [[Double]](repeating: [Double](repeating: 0, count: size), count: size)
    for o in 0..<problem.positions {
      if case .classes(let labels) = problem.labels, labels[n * problem.positions + o] < 0 {
        continue
      }
      let z = Array(logits[n][o * classes..<(o + 1) * classes])
      let p = DenseOracle.softmax(z)
      for a in 0..<classes {
        let row = o * classes + a
        if identity || problem.loss == "mse" {
          h[row][row] = 1
        } else if problem.loss == "bce" {
          let s = 1 / (1 + exp(-z[a]))
          h[row][row] = s * (1 - s)
        } else {
          for b in 0..<classes { h[row][o * classes + b] = (a == b ? p[a] : 0) - p[a] * p[b] }
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
        vjp($0, DenseOracle.logitGradient(problem, logits[$0], labels, sample: $0).gradient)
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
      if case .classes(let labels) = problem.labels {
        guard labels[n * problem.positions + o] >= 0 else {
          return [Double](repeating: 0, count: parameterCount)
        }
        let first = o * problem.classes
        let p = DenseOracle.softmax(Array(logits[n][first..<first + problem.classes]))
        var row = [Double](repeating: 0, count: parameterCount)
        for a in p.indices {
          let entry = ((a == c ? 1 : 0) - p[a]) * p[c].squareRoot()
          for i in row.indices { row[i] += entry * jacobian[n][first + a][i] }
        }
        return row
      }
      let scale = hessian(n)[k][k].squareRoot()
      return jacobian[n][k].map { $0 * scale }
    }
  }

  /// w with `u = A w`, `[N O C]`
  package lazy var rootWeights: [Double] = (0..<samples).flatMap { n in
    (0..<problem.logitCount).map { k in
      guard case .classes(let labels) = problem.labels else {
        return logitGradients[n][k] / hessian(n)[k][k].squareRoot()
      }
      let (o, c) = (k / problem.classes, k % problem.classes)
      let label = labels[n * problem.positions + o]
      if label < 0 { return 0 }
      let first = o * problem.classes
      let p = DenseOracle.softmax(Array(logits[n][first..<first + problem.classes]))
      return p[c].squareRoot() - (c == label ? 1 / p[c].squareRoot() : 0)
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
