import Curvature
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// What must hold whatever the numbers are.
struct InvarianceTests {
  @Test(arguments: cases)
  func noDirectionBeatsTheReference(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    let least = oracle.gamma(oracle.naturalGradient)
    // The reference is the least to second order; the bound lies below it by Cauchy-Schwarz.
    #expect(oracle.gammaBound <= least * (1 + 1e-9))
    let (engine, gradients) = try batch(
      oracle, draws: oracle.problem.drawnLabels(2, seed: 9), Double.self)
    let dampings = ["0.1", "rel:1e-5"].map { Damping($0)! }
    let directions =
      try gradients.directions(.ef, dampings)
      + gradients.directions(.ief, dampings)
      + gradients.directions(.sf, dampings)
    var random = SeededGenerator(seed: test.seed &+ 700)
    let others = [oracle.gradient, random.normals(oracle.parameterCount)]
    for direction in directions.map({ engine.direction($0.scaled) }) + others {
      let gamma = oracle.gamma(direction)
      #expect(gamma >= least * (1 - 1e-9))
      #expect(mismatch(oracle.gamma(direction.map { -3e5 * $0 }), gamma, tolerance: 1e-12) == nil)
    }
  }

  /// With one direction of the logits per sample, EF and iEF are the same up to scale when all
  /// |u_n| are equal: targets 1 and s differ by a factor.
  @Test func equalLogitGradientsMakeEFAndIEFOne() throws {
    var problem = Problem(Case("mlp", input: [3], mlp, loss: "mse", samples: 4))
    let z = (0..<4).map { problem.logits($0).map(\.value) }
    let unit = [[2.0, 0, 0], [0, -2, 0], [0, 0, 2], [-2, 0, 0]]
    problem.labels = .real(zip(z, unit).flatMap { zip($0, $1).map { $0 - $1 } })
    let (engine, gradients) = try batch(problem, draws: [], Double.self)
    for damping in ["0", "0.01", "rel:0.1"].map({ Damping($0)! }) {
      let ef = try gradients.directions(.ef, [damping])[0]
      let ief = try gradients.directions(.ief, [damping])[0]
      let four = engine.direction(ef.scaled).map { 4 * $0 }
      #expect(mismatch(engine.direction(ief.scaled), four, tolerance: 1e-11) == nil)
    }
  }

  @Test(arguments: cases.filter { $0.samples > 2 })
  func permutingSamplesChangesOnlyRounding(_ test: Case) throws {
    let problem = Problem(test)
    let order = Array((0..<test.samples).reversed())
    var permuted = problem
    permuted.inputs = order.map { problem.inputs[$0] }
    permuted.labels = permute(problem.labels, order, of: test.samples)
    permuted.weighting = problem.weighting.picking(order)
    let draws = problem.drawnLabels(2, seed: 10)
    let (engine, plain) = try batch(problem, draws: draws, Double.self)
    let (_, other) = try batch(
      permuted, draws: draws.map { permute($0, order, of: test.samples) }, Double.self)
    let dampings = [Damping("rel:1e-3")!]
    let pairs = [
      (plain.gradient, other.gradient),
      (
        try plain.directions(.ief, dampings)[0].scaled,
        try other.directions(.ief, dampings)[0].scaled
      ),
      (
        try plain.directions(.sf, dampings)[0].scaled,
        try other.directions(.sf, dampings)[0].scaled
      ),
    ]
    for (a, b) in pairs {
      // 1e-16 times a condition number of at most N / 1e-3.
      #expect(mismatch(engine.direction(b), engine.direction(a), tolerance: 1e-11) == nil)
    }
  }

  @Test(arguments: cases.filter { $0.samples > 2 && !$0.ignores })
  func gradientAndFisherProductAddUpOverASplit(_ test: Case) throws {
    let problem = Problem(test)
    var random = SeededGenerator(seed: test.seed &+ 800)
    let direction = random.normals(problem.parameterCount)
    var sums: [[Double]] = []
    for samples in [Array(0..<test.samples), [0], Array(1..<test.samples)] {
      var part = test
      part.samples = samples.count
      var subset = Problem(part)
      subset.parameters = problem.parameters
      subset.inputs = samples.map { problem.inputs[$0] }
      subset.labels = permute(problem.labels, samples, of: test.samples)
      subset.weighting = problem.weighting.picking(samples)
      let (engine, gradients) = try batch(subset, draws: [], Double.self)
      let product = Vector<Double>(count: subset.parameterCount)
      _ = try FisherOperator(gradients.linearization, gradients.output).apply(
        engine.vector(direction), into: product)
      sums.append(engine.direction(gradients.gradient) + engine.direction(product))
    }
    let total = zip(sums[1], sums[2]).map { $0 + $1 }
    #expect(mismatch(sums[0], total, tolerance: 1e-12) == nil)
  }

  private func permute(
    _ labels: OracleLabels, _ order: [Int], of samples: Int
  ) -> OracleLabels {
    func pick<T>(_ values: [T]) -> [T] {
      let count = values.count / samples
      return order.flatMap { Array(values[$0 * count..<($0 + 1) * count]) }
    }
    switch labels {
    case .classes(let all): return .classes(pick(all))
    case .real(let all): return .real(pick(all))
    }
  }
}
