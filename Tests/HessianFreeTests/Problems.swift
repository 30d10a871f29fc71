import Foundation
import HessianFree
import TensorModule
import Testing

/// `A = Q diag(spectrum) Q^T`, dense, in the precision of the solve. Q is a product of random
/// reflections, so the matrix is known in double to a few roundings.
struct DenseOperator<Scalar: EngineScalar>: LinearOperator {
  let matrix: [Scalar]
  let dimension: Int
  var isPositiveSemidefinite = true

  /// Counts products outside the solver.
  final class Counter { var products = 0 }
  let counter = Counter()

  init(_ matrix: [Double], dimension: Int) {
    self.matrix = matrix.map { Scalar($0) }
    self.dimension = dimension
  }

  func apply(_ v: Vector<Scalar>, into product: Vector<Scalar>) throws(SolveError) -> Double {
    counter.products += 1
    var quadratic = 0.0
    for i in 0..<dimension {
      var sum = 0.0
      for j in 0..<dimension { sum += Double(matrix[i * dimension + j]) * Double(v.pointer[j]) }
      product.pointer[i] = Scalar(sum)
      quadratic += sum * Double(v.pointer[i])
    }
    return quadratic
  }
}

/// `A = B^T B` with `B = diag(s) R`, R of orthonormal rows: products the way a Fisher operator
/// makes them, through a shorter space and rounded there.
struct FactoredOperator<Scalar: EngineScalar>: LinearOperator {
  let factor: [Scalar]
  let rows: Int
  let dimension: Int
  let isPositiveSemidefinite = true
  var quadraticRounding: Double { rounding * rounding }
  private let middle: Vector<Scalar>

  init(_ factor: [Double], rows: Int, columns: Int) {
    self.factor = factor.map { Scalar($0) }
    self.rows = rows
    dimension = columns
    middle = Vector(count: rows)
  }

  func apply(_ v: Vector<Scalar>, into product: Vector<Scalar>) throws(SolveError) -> Double {
    let p = dimension
    return factor.withUnsafeBufferPointer { factor in
      var quadratic = 0.0
      for j in 0..<p { product.pointer[j] = 0 }
      for i in 0..<rows {
        var q: Scalar = 0
        for j in 0..<p { q += factor[i * p + j] * v.pointer[j] }
        middle.pointer[i] = q
        quadratic += Double(q) * Double(q)
        for j in 0..<p { product.pointer[j] += factor[i * p + j] * q }
      }
      return quadratic
    }
  }
}

/// A dense B, `[M, P]`, with products in its own precision.
struct DenseFactor<Scalar: EngineScalar>: FactorOperator {
  let matrix: [Scalar]
  let rows: Int
  let columns: Int

  init(_ matrix: [Double], rows: Int, columns: Int) {
    self.matrix = matrix.map { Scalar($0) }
    self.rows = rows
    self.columns = columns
  }

  func apply(_ v: Vector<Scalar>, into u: Vector<Double>) throws(SolveError) {
    for i in 0..<rows {
      var sum: Scalar = 0
      for j in 0..<columns { sum += matrix[i * columns + j] * v.pointer[j] }
      u.pointer[i] = Double(sum)
    }
  }

  /// Scaled by 1/8, as an operator may.
  func applyTransposed(_ u: Vector<Double>, into v: Vector<Scalar>) throws(SolveError) -> Double {
    for j in 0..<columns { v.pointer[j] = 0 }
    for i in 0..<rows {
      let weight = Scalar(u.pointer[i] * 8)
      for j in 0..<columns { v.pointer[j] += matrix[i * columns + j] * weight }
    }
    return 0.125
  }
}

/// Problems named by their property. Everything random comes from the seed in the name's entry.
struct Problem: CustomTestStringConvertible, Sendable {
  var name: String
  var spectrum: [Double]
  var isConsistent = true
  var zeroRightHandSide = false
  var seed: UInt64

  var dimension: Int { spectrum.count }
  var testDescription: String { name }
  var rank: Int { spectrum.filter { $0 != 0 }.count }
  var distinctEigenvalues: Int { Set(spectrum.filter { $0 != 0 }).count }

  static let spd = Problem(
    name: "spd", spectrum: (0..<30).map { 1 + Double($0) / 3 }, seed: 1)
  static let singularConsistent = Problem(
    name: "singularConsistent", spectrum: (0..<30).map { $0 < 12 ? 0 : Double($0) / 3 }, seed: 2)
  static let inconsistent = Problem(
    name: "inconsistent", spectrum: (0..<30).map { $0 < 12 ? 0 : Double($0) / 3 },
    isConsistent: false, seed: 3)
  static let almostSingular = Problem(
    name: "almostSingular", spectrum: (0..<12).map { $0 == 0 ? 1e-5 : 1 + Double($0) }, seed: 4)
  static let indefinite = Problem(
    name: "indefinite", spectrum: (0..<20).map { Double($0) - 4.5 }, seed: 5)
  static let clusteredSpectrum = Problem(
    name: "clusteredSpectrum", spectrum: (0..<40).map { [0.5, 2, 7, 100][$0 % 4] }, seed: 6)
  static let zeroRightHandSide = Problem(
    name: "zeroRightHandSide", spectrum: (0..<10).map { 1 + Double($0) }, zeroRightHandSide: true,
    seed: 7)

  static let solvable = [spd, singularConsistent, almostSingular, clusteredSpectrum]

  /// Rows of orthonormal vectors: the eigenvectors of the spectrum, in its order.
  var basis: [Double] {
    let n = dimension
    var q = (0..<n * n).map { $0 % (n + 1) == 0 ? 1.0 : 0 }
    var random = CounterRandom(seed: seed, batch: 0, sample: 0, stream: .vectors)
    for _ in 0..<n {
      let u = (0..<n).map { _ in random.normal() }
      let scale = 2 / u.reduce(0) { $0 + $1 * $1 }
      for i in 0..<n {
        var dot = 0.0
        for j in 0..<n { dot += q[i * n + j] * u[j] }
        for j in 0..<n { q[i * n + j] -= scale * dot * u[j] }
      }
    }
    return q
  }

  /// `[P, P]`
  var matrix: [Double] {
    let (n, q) = (dimension, basis)
    var a = [Double](repeating: 0, count: n * n)
    for k in 0..<n where spectrum[k] != 0 {
      for i in 0..<n {
        for j in 0..<n { a[i * n + j] += spectrum[k] * (q[k * n + i] * q[k * n + j]) }
      }
    }
    return a
  }

  /// Components of b along the eigenvectors.
  var components: [Double] {
    var random = CounterRandom(seed: seed, batch: 1, sample: 0, stream: .vectors)
    return spectrum.map { eigenvalue in
      let component = 1 + random.uniform()
      return zeroRightHandSide || isConsistent && eigenvalue == 0 ? 0 : component
    }
  }

  private func combine(_ c: [Double]) -> [Double] {
    let (n, q) = (dimension, basis)
    return (0..<n).map { j in (0..<n).reduce(0) { $0 + c[$1] * q[$1 * n + j] } }
  }

  var rightHandSide: [Double] { combine(components) }

  /// `A^+ b`
  var minimumNormSolution: [Double] {
    combine(zip(components, spectrum).map { $1 == 0 ? 0 : $0 / $1 })
  }

  /// `B = diag(sqrt(spectrum)) Q` without the rows of zeros, so that `A = B^T B`.
  var factor: [Double] {
    let (n, q) = (dimension, basis)
    return (0..<n).filter { spectrum[$0] != 0 }.flatMap { k in
      (0..<n).map { spectrum[k].squareRoot() * q[k * n + $0] }
    }
  }

  func dense<Scalar>(_: Scalar.Type = Scalar.self) -> DenseOperator<Scalar> {
    DenseOperator(matrix, dimension: dimension)
  }

  func factored<Scalar>(_: Scalar.Type = Scalar.self) -> FactoredOperator<Scalar> {
    FactoredOperator(factor, rows: rank, columns: dimension)
  }

  func rightHandSide<Scalar: EngineScalar>(_: Scalar.Type) -> Vector<Scalar> {
    Vector(rightHandSide.map { Scalar($0) })
  }

  /// Smooth decay over `orders` powers of ten, as LoRA models have, with `zeros` more dimensions
  /// that the operator maps to zero.
  static func fading(rank: Int, zeros: Int, orders: Double, seed: UInt64) -> Problem {
    let nonzero = (0..<rank).map { pow(10, -orders * Double($0) / Double(rank - 1)) }
    return Problem(
      name: "fading over \(orders) orders", spectrum: nonzero + Array(repeating: 0, count: zeros),
      seed: seed)
  }
}

// MARK: - Measurements that share no code with the solver

func workspace<Scalar>(_ dimension: Int) -> ConjugateGradient.Workspace<Scalar> {
  ConjugateGradient.Workspace(VectorOperations(pool: WorkerPool(threads: 1), count: dimension))
}

extension ConjugateGradient {
  /// Into a vector of its own.
  func solve<A: LinearOperator>(
    _ a: A, rhs b: Vector<A.Scalar>, preconditioner: (any Preconditioner<A.Scalar>)? = nil,
    workspace: Workspace<A.Scalar>, observer: (any SolveObserver<A.Scalar>)? = nil
  ) throws(SolveError) -> SolveResult<A.Scalar> {
    try solve(
      a, rhs: b, into: Vector(count: a.dimension), preconditioner: preconditioner,
      workspace: workspace, observer: observer)
  }
}

extension LSQR {
  func solve<B: FactorOperator>(
    _ b: B, target w: Vector<Double>, workspace: Workspace<B.Scalar>,
    observer: (any SolveObserver<B.Scalar>)? = nil
  ) throws(SolveError) -> SolveResult<B.Scalar> {
    try solve(
      b, target: w, into: Vector(count: b.columns), workspace: workspace, observer: observer)
  }
}

extension LSQR.Workspace {
  convenience init(rows: Int, columns: Int) {
    let pool = WorkerPool(threads: 1)
    self.init(
      rows: VectorOperations(pool: pool, count: rows),
      columns: VectorOperations(pool: pool, count: columns))
  }
}

extension ModelTerms {
  /// `|x|_A / |x^T b|`, the root of the inverse of twice the decrease of the model.
  var gamma: Double { norm > 0 && linear != 0 ? norm / abs(linear) : .nan }
}

extension SolveStep {
  var gamma: Double { terms.gamma }
}

extension SolveResult {
  var gamma: Double { terms.gamma }
  /// What is left of gamma without the error.
  var leastGammaEstimate: Double? {
    errorEstimate.map { gamma / (1 + $0 * gamma * gamma).squareRoot() }
  }
}

/// `|b - A x| / |b|`, in double.
func relativeResidual(_ problem: Problem, _ x: [Double], damping: Double = 0) -> Double {
  let (a, b, n) = (problem.matrix, problem.rightHandSide, problem.dimension)
  var square = 0.0
  for i in 0..<n {
    let r = (0..<n).reduce(b[i] - damping * x[i]) { $0 - a[i * n + $1] * x[$1] }
    square += r * r
  }
  return square.squareRoot() / norm(b)
}

/// `sqrt(x^T A x) / |x^T b|`, in double.
func gamma(_ problem: Problem, _ x: [Double]) -> Double {
  let (a, n) = (problem.matrix, problem.dimension)
  var quadratic = 0.0
  for i in 0..<n { for j in 0..<n { quadratic += x[i] * a[i * n + j] * x[j] } }
  return quadratic.squareRoot() / abs(dot(x, problem.rightHandSide))
}

func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
func norm(_ x: [Double]) -> Double { dot(x, x).squareRoot() }
func distance(_ x: [Double], _ y: [Double]) -> Double { norm(zip(x, y).map { $0 - $1 }) }

/// Largest relative rise of gamma from the lowest value before it.
func largestRise(_ trace: [SolveStep]) -> Double {
  var (lowest, rise) = (Double.infinity, 0.0)
  for entry in trace {
    if entry.gamma > lowest { rise = max(rise, entry.gamma / lowest - 1) }
    lowest = min(lowest, entry.gamma)
  }
  return rise
}
