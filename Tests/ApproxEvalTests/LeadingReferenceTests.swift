import Curvature
import HessianFree
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// The reference from the rows of leading classes, against the golden values.
@Suite(.serialized) struct LeadingReferenceTests {
  private func reference(
    _ name: String, _ precision: Precision, gap: Double, threads: Int = 2,
    change: (inout EvaluationOptions) -> Void = { _ in }
  ) throws -> ReferenceDirection {
    var options = EvaluationOptions()
    options.reference = .leading
    options.precision = precision
    options.cgGap = gap
    options.threads = threads
    change(&options)
    return try Evaluation(options, pool: WorkerPool(threads: threads)).reference(
      checkpoint: fixture(name + ".bin"))
  }

  /// At every stage of the digits what was asked for is reached and proved, by a part of the rows where the
  /// predictions are sure.
  @Test(arguments: GoldenTests.digits, [(1e-2, Precision.float32), (1e-3, .float64)])
  func bracketIsReached(_ name: String, _ asked: (gap: Double, precision: Precision)) throws {
    let result = try reference(name, asked.precision, gap: asked.gap)
    let record = result.record
    #expect(record.kind == .leading && record.isConverged, "\(record)")
    // At epoch 3 singular values fade into rounding.
    let golden = try Golden(name).reference.gamma
    let least = record.stop == "length" ? golden : result.gammaBound
    #expect(record.gamma <= least * (1 + asked.gap))
    #expect(record.stop != "length" || name == "digits/epoch-03")
    #expect(record.gamma >= golden * (1 - 1e-6), "\(record.gamma / golden - 1)")
  }

  /// A stage of 1440 rows whose labels are right by far takes a few hundred of them.
  @Test func sureModelsTakeFewRows() throws {
    let problem: BatchProblem<Double> = try fixtureProblem("digits/epoch-40")
    func rows(_ gap: Double) throws -> Int {
      try #require(LeadingReference.rows(problem.output, gap: gap, damping: 0)).count
    }
    #expect(try rows(1e-2) < 2 * 160 && rows(1e-3) < 4 * 160)
    #expect(try rows(1e-2) >= 160 && rows(1e-3) > rows(1e-2))
    // With damping there is no bound that says how many are enough.
    let all = LeadingReference.rows(problem.output, gap: 1e-2, damping: 1)
    #expect(all?.count == 9 * 160)
  }

  /// A sample's gradient stands for one of its rows, whichever rows were there before: products and sums are those of
  /// rows that all have a pass of their own.
  @Test(arguments: GoldenTests.small + ["digits/epoch-03", "digits/epoch-40"])
  func gradientsStandForRows(_ name: String) throws {
    try checkFormedRows(name, Double.self, tolerance: 1e-11)
    // Rows carry 2^-24 per operation and up to eight times that where they are what others leave.
    try checkFormedRows(name, Float.self, tolerance: 1e-4)
  }

  private func checkFormedRows<S: EngineScalar>(
    _ name: String, _: S.Type, tolerance: Double
  ) throws {
    let problem: BatchProblem<S> = try fixtureProblem(name)
    let output = problem.output
    let gradients = BatchGradients(
      problem.linearization, output, sampled: [], isSolved: false)
    let with = FormedRows(problem, gradients)
    var random = SeededGenerator(seed: 11)
    for share in [0.5, 0.1, 0] {
      let rows = try #require(output.leadingRows(leaving: share))
      let (sizes, targets) = output.sizesAndTargets(rows)
      let without = FormedRows(problem, nil)
      let expected = without.matrix(rows, sizes: sizes, targets: targets)
      let found = with.matrix(rows, sizes: sizes, targets: targets)
      let m = rows.count
      #expect(found.count == m)
      func product(_ matrix: RowMatrix<S>, _ i: Int, _ j: Int) -> Double {
        matrix.scaled[i * m + j] * matrix.unit * matrix.unit
      }
      for i in stride(from: 0, to: m, by: max(1, m / 40)) {
        for j in 0..<m {
          let scale = (product(expected, i, i) * product(expected, j, j)).squareRoot()
          #expect(
            mismatch(
              [product(found, i, j)], [product(expected, i, j)], tolerance: tolerance, scale: scale)
              == nil, "rows \(i), \(j) of \(m)")
        }
      }
      let weights = random.normals(m)
      let sums = [found, expected].map { rows -> [Double] in
        let sum = rows.weightedSum(weights, true)
        return sum.vector.array.map { Double($0) * sum.scale }
      }
      #expect(mismatch(sums[0], sums[1], tolerance: tolerance) == nil)
    }
  }

  /// Begun with next to nothing, classes are added that x moves by too much.
  @Test func classesAreAddedWhereTheyAreMissed() throws {
    let problem: BatchProblem<Double> = try fixtureProblem("digits/epoch-10")
    let gradient = ScaledVector(vector: problem.gradient(), scale: 1)
    let solver = LeadingReference(problem, memory: 1 << 30)
    func excess(most: Int) throws -> Double {
      // Three tenths of the trace are left out at first.
      let found = try solver.solve(
        gradient: gradient, damping: 0, gap: 1e-2, tolerance: 0, share: 30, most: most)
      return found.record.gamma / problem.output.gammaBound - 1
    }
    let rows = try #require(problem.output.leadingRows(leaving: 0.3))
    #expect(rows.count < 3 * 160)
    #expect(try excess(most: rows.count) > 1e-2)
    #expect(try excess(most: 9 * 160 - 1) <= 1e-2)
  }

  /// What the small cases have in common with the golden ones: every loss, weights, positions without a
  /// label. Without a gap all rows take part.
  @Test(arguments: GoldenTests.small)
  func withoutAGapItIsTheWholeSolution(_ name: String) throws {
    let result = try reference(name, .float64, gap: 0)
    let whole = try reference(name, .float64, gap: 0) { $0.reference = .gram }
    // The same rows in another order, whose least singular values are known to 1e-7 and less.
    #expect(abs(result.record.gamma / whole.record.gamma - 1) <= 1e-6, "\(result.record)")
    #expect(result.record.kind == .leading && result.record.status == whole.record.status)
  }

  @Test(arguments: GoldenTests.small)
  func gapIsKeptOrNotClaimed(_ name: String) throws {
    for gap in [0.3, 1e-2] {
      let result = try reference(name, .float64, gap: gap)
      let least = try reference(name, .float64, gap: 0) { $0.reference = .dense }.record.gamma
      #expect(result.record.gamma >= least * (1 - 1e-9))
      if result.record.isConverged {
        #expect(result.record.gamma <= least * (1 + gap), "\(result.record)")
      }
    }
  }

  @Test func threadsDoNotChangeABit() throws {
    for name in ["digits/epoch-20", "golden/tokens_ignore", "golden/cnn_small"] {
      let results = try [1, 2, 3].map { threads in
        let result = try reference(name, .float32, gap: 1e-2, threads: threads)
        return [result.record.gamma, result.record.residual]
      }
      #expect(results.allSatisfy { $0 == results[0] }, "\(name)")
    }
  }

  /// Nothing of a batch depends on which came before.
  @Test(arguments: [ReferenceMethod.leading, .auto])
  func aBatchAloneHasTheSameBits(_ kind: ReferenceMethod) throws {
    var options = EvaluationOptions()
    options.reference = kind
    options.methods = [.baseline]
    options.cgGap = 1e-2
    options.dataFile = fixture("digits/digits.safetensors")
    options.batchSize = 40
    options.batches = 3
    let evaluation = Evaluation(options, pool: WorkerPool(threads: 2))
    let path = fixture("digits/epoch-20.bin")
    func bits(_ result: BatchResult) throws -> [UInt64] {
      let record = try #require(result.reference)
      return [record.gamma, record.residual].map(\.bitPattern)
    }
    let all = try evaluation.score(checkpoint: path).map(bits)
    #expect(Set(all).count == 3)
    #expect(try evaluation.score(checkpoint: path, batches: 2..<3).map(bits) == [all[2]])
  }

  @Test func memoryIsAskedFor() throws {
    let problem: BatchProblem<Double> = try fixtureProblem("digits/epoch-40")
    let gradient = ScaledVector(vector: problem.gradient(), scale: 1)
    #expect(throws: SolveError.self) {
      try LeadingReference(problem, memory: 1 << 10).solve(
        gradient: gradient, damping: 0, gap: 1e-2, tolerance: 0)
    }
  }

  // MARK: - Choice

  @Test func automaticChoiceBeginsWithThemWhereIterationsAreForetoldToCostMore() throws {
    func choice(
      _ cost: Double, forecast: Int?, memory: Int = 1000,
      change: (inout EvaluationOptions) -> Void = { _ in }
    ) -> ReferenceChoice {
      var costs = ReferenceChoice.Costs(
        svd: 90, svdMemory: 200, gram: 60, gramMemory: 100, cholesky: 20, choleskyMemory: 50,
        iteration: 1, growth: 0.01, rows: 10, columns: 20)
      costs.leading = .init(rows: 5, cost: cost, memory: 40, forecast: forecast)
      var options = EvaluationOptions()
      options.reference = .auto
      options.cgIterations = 100
      change(&options)
      return ReferenceChoice(options, memory: memory, costs)
    }
    let others: [ReferenceChoice.Fallback] = [.bracket, .exact(.gram), .exact(.dense)]
    // 20 iterations cost 22, and nine tenths of that are 19.8.
    let first = choice(19, forecast: 20)
    #expect(first.beginsWithLeading && first.kind == .cg && first.fallbacks == others)
    #expect(first.reason?.contains("of which the gradients foretell 20, leading classes") == true)
    // Otherwise they are what iterations are given up for, if they are far cheaper than all rows.
    // After iterations they are taken to cost four times as much.
    let later = choice(2.25, forecast: 2)
    #expect(!later.beginsWithLeading && later.fallbacks == [.leading] + others)
    #expect(later.iterations == 109)
    let never = choice(20, forecast: 20)
    #expect(!never.beginsWithLeading && never.fallbacks == others)
    #expect(!choice(1, forecast: nil).beginsWithLeading)
    // Without room, a bound, or a solve without preconditioner there is nothing to compare with.
    let small = choice(1, forecast: 100, memory: 39)
    #expect(!small.beginsWithLeading && small.fallbacks.isEmpty)
    for change in [
      { (options: inout EvaluationOptions) in options.cgGap = 0 }, { $0.cgDamping = 1 },
    ] {
      let found = choice(1, forecast: 100, change: change)
      #expect(!found.beginsWithLeading && found.fallbacks == [.exact(.gram)])
    }
    let preconditioned = choice(1, forecast: 100) { $0.cgPreconditioner = .jacobi }
    #expect(!preconditioned.beginsWithLeading && preconditioned.fallbacks.first == .leading)
  }

  /// On matrices of which the answer is known.
  @Test func iterationsAreForetoldByDistinctEigenvalues() {
    func forecast(_ eigenvalues: [Double], _ squares: [Double], gap: Double = 1e-9) -> Int {
      // g_n . g_n = |w_n|^2 lambda_n: orthogonal gradients.
      IterationForecast.iterations(squares: squares, gap: gap) { n, m in
        n == m ? squares[n] * eigenvalues[n] : 0
      }
    }
    let ones = [Double](repeating: 1, count: 6)
    #expect(forecast(ones, ones) == 1)
    #expect(forecast([1, 1, 2, 2, 3, 3], [1, 2, 3, 4, 5, 6]) == 3)
    #expect(forecast([1, 2, 3, 4, 5, 6], ones) == 6)
    // Half of |w|^2 is enough for a gap of 42 %.
    #expect(forecast([1, 1, 1, 1e-6, 1e-6, 1e-6], ones, gap: 0.42) == 1)
    // Samples without a label, or without a gradient, take no part.
    #expect(forecast([1, 1, 2, 2, 0, 3], [1, 2, 3, 4, 5, 0]) == 2)
    #expect(forecast([], []) == 0 && forecast([1], [.infinity]) == 0)
  }

  /// Never more than it takes, and late in training not much less.
  @Test(arguments: GoldenTests.digits)
  func forecastIsNoMoreThanItTakes(_ name: String) throws {
    let problem: BatchProblem<Double> = try fixtureProblem(name)
    let gradients = BatchGradients(
      problem.linearization, problem.output, sampled: [], isSolved: true)
    var options = EvaluationOptions()
    options.cgGap = 1e-2
    options.cgIterations = 500
    let taken = try ReferenceSolver<Double>(options).conjugateGradient(
      problem, gradient: gradients.gradient
    ).record.iterations!
    let found = IterationForecast.iterations(
      squares: problem.output.certificates, gap: 1e-2
    ) { gradients.gram.scaled($0, $1) }
    #expect(found <= taken && found > 0)
    if name == "digits/epoch-40" { #expect(2 * found >= taken, "\(found) of \(taken)") }
  }
}
