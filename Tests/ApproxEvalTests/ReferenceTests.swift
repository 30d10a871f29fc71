import Curvature
import Foundation
import HessianFree
import TensorModule
import TestSupport
import Testing

@testable import ApproxEval

/// The solvers of the reference against the golden values and against each other.
@Suite(.serialized) struct ReferenceTests {
  private func reference(
    _ name: String, _ kind: ReferenceKind, _ precision: Precision,
    pool: WorkerPool = WorkerPool(threads: 2),
    change: (inout EvaluationOptions) -> Void = { _ in }
  ) throws -> ReferenceDirection {
    var options = EvaluationOptions()
    options.reference = kind
    options.precision = precision
    options.threads = pool.threads
    options.cgIterations = 3000
    options.cgGap = 0
    options.cgTolerance = precision == .float64 ? 1e-9 : 1e-4
    change(&options)
    return try Evaluation(options, pool: pool).reference(checkpoint: fixture(name + ".bin"))
  }

  /// gamma is of second order in the error of a direction: 1e-9 and 1e-4 of residual leave it what
  /// the condition number, up to 1e5 here, makes of their squares.
  private func expectLeast(
    _ result: ReferenceDirection, _ name: String, _ precision: Precision, _ tolerance: Double
  ) throws {
    let golden = try Golden(name).reference
    // tokens_ignore has 60 singular values that are zero but for rounding; what 5 is said to be the
    // tolerance of is its solution of least norm, not gamma.
    let own = min(golden.tolerance(precision), 1)
    let limit = max(tolerance, own >= 1 ? 0 : own)
    let error = result.record.gamma / golden.gamma - 1
    #expect(abs(error) <= limit, "\(name): \(error), \(result.record)")
    #expect(result.record.gamma >= result.gammaBound * (1 - 1e-6))
  }

  // MARK: - Values

  @Test(arguments: GoldenTests.small, Precision.allCases)
  func lsqrReachesTheLeastGamma(_ name: String, precision: Precision) throws {
    let result = try reference(name, .lsqr, precision)
    try expectLeast(result, name, precision, precision == .float64 ? 1e-9 : 1e-4)
    // |B x|^2 / |w|^2 = (gamma_bound / gamma)^2 never falls.
    for (before, after) in zip(result.trace, result.trace.dropFirst()) {
      #expect(after.gamma <= before.gamma * (1 + (precision == .float64 ? 1e-9 : 1e-4)))
    }
  }

  @Test(arguments: GoldenTests.small, Precision.allCases)
  func gramReachesTheLeastGamma(_ name: String, precision: Precision) throws {
    let result = try reference(name, .gram, precision)
    try expectLeast(result, name, precision, precision == .float64 ? 1e-9 : 1e-4)
    #expect(result.record.isConverged && result.record.kind == .gram && result.trace.isEmpty)
  }

  @Test(arguments: GoldenTests.small, Precision.allCases)
  func preconditionedGradientsHaveTheSameLimit(_ name: String, precision: Precision) throws {
    for kind in [PreconditionerKind.jacobi, .sf] {
      let result = try reference(name, .cg, precision) { $0.cgPreconditioner = kind }
      try expectLeast(result, name, precision, precision == .float64 ? 1e-7 : 1e-3)
      for (before, after) in zip(result.trace, result.trace.dropFirst()) {
        #expect(after.gamma <= before.gamma * (1 + (precision == .float64 ? 1e-9 : 1e-4)))
      }
    }
  }

  /// 1440 equations whose singular values span up to 12 orders. The certificate closes the bracket
  /// within 1e-3 on all of them in double (fixtures: gamma / gamma_bound - 1 <= 4e-4), also through
  /// B B^T, whose loss is 3.2e-4 of epoch 3.
  @Test(arguments: GoldenTests.digits, Precision.allCases)
  func gramClosesTheBracketOnTheDigits(_ name: String, precision: Precision) throws {
    let result = try reference(name, .gram, precision) { $0.cgGap = 1e-3 }
    #expect(result.record.isConverged, "\(result.record)")
    #expect(result.record.gamma <= result.gammaBound * (1 + 1e-3))
    try expectLeast(result, name, precision, 1e-3)
  }

  @Test(arguments: ["digits/epoch-00", "digits/epoch-03", "digits/epoch-40"])
  func lsqrReachesTheLeastGammaOnTheDigitsInSinglePrecision(_ name: String) throws {
    let result = try reference(name, .lsqr, .float32)
    // Conjugate gradients end 1.4e-3 above it at epoch 3.
    try expectLeast(result, name, .float32, 2e-4)
  }

  @Test(arguments: [1e-3, 0.5])
  func dampedSolutionsAgree(_ mu: Double) throws {
    for name in ["golden/mlp_tanh", "golden/tokens_ignore", "golden/cnn_small"] {
      let exact = try reference(name, .dense, .float64) { $0.cgDamping = mu }.record
      for kind in [ReferenceKind.cg, .lsqr, .gram] {
        let record = try reference(name, kind, .float64) { $0.cgDamping = mu }.record
        // Residual 1e-9 over a condition number of at most 1e4.
        #expect(abs(record.gamma / exact.gamma - 1) <= 1e-5, "\(name), \(kind)")
        #expect(record.residual <= 1e-8)
      }
    }
  }

  @Test func threadsDoNotChangeABit() throws {
    for name in ["golden/mlp_trained", "golden/tokens_ignore", "digits/epoch-20"] {
      for (kind, preconditioner) in [
        (ReferenceKind.lsqr, PreconditionerKind.none), (.gram, .none), (.auto, .none),
        (.cg, .jacobi), (.cg, .sf),
      ] {
        func run(_ threads: Int) throws -> [Double] {
          let pool = SharedWork.pool(threads)
          let result = try reference(name, kind, .float32, pool: pool) {
            $0.cgIterations = 12
            $0.cgPreconditioner = preconditioner
          }
          #expect((pool.sharedCalls > 0) == (threads > 1))
          return [result.record.gamma, result.record.residual] + result.trace.map(\.gamma)
        }
        let one = try run(1)
        for threads in SharedWork.threads.dropFirst() {
          #expect(try run(threads) == one, "\(name), \(kind), \(preconditioner), \(threads)")
        }
      }
    }
  }

  // MARK: - How sure

  @Test func excessIsProvedByTheCertificateAndEstimatedByTheSteps() throws {
    for kind in [ReferenceKind.cg, .lsqr] {
      let name = "digits/epoch-40"
      let result = try reference(name, kind, .float64) { $0.cgIterations = 30 }
      let truth = result.record.gamma / (try Golden(name).reference.gamma) - 1
      let (bound, estimate) = (try #require(result.excess.bound), result.excess.estimate)
      #expect(bound >= truth * (1 - 1e-6) && truth > 0)
      // Few of the 1440 eigenvalues have been seen: an order of magnitude is what to expect.
      #expect(
        (0.1...10).contains(try #require(estimate) / truth), "\(kind): \(estimate!), \(truth)")
      // The residual is formed anew from the direction.
      #expect(abs(result.record.residual / result.trace.last!.relativeResidual - 1) <= 1e-6)
    }
  }

  @Test func reportsSayHowSureTheReferenceIs() throws {
    var options = EvaluationOptions()
    options.methods = [.sgd]
    options.reference = .auto
    let evaluation = Evaluation(options)
    let path = fixture("golden/mlp_tanh.bin")
    let results = try evaluation.score(checkpoint: path)
    let report = Report([.init(try evaluation.describe(checkpoint: path), results)])
    let table = report.batches
    let row = Dictionary(uniqueKeysWithValues: zip(table.columns, table.rows[0]))
    #expect(row["reference_solver"] == .text("gram"))
    guard case .number(let bound)? = row["reference_excess_bound"] else {
      Issue.record("no bound")
      return
    }
    #expect((0...1e-3).contains(bound))
    #expect(row["reference_excess_estimate"] == .empty)
    let text = report.entries[0].text.replacingOccurrences(of: "\n  ", with: " ")
    #expect(text.contains("above the least possible."))
    #expect(text.contains("Chosen by prediction: predicted operations: "))
    #expect(report.notes.contains { $0.contains("reference by gram: predicted operations: ") })
  }

  // MARK: - Choice

  @Test func automaticChoiceSpendsNoMoreThanTheExactSolverWould() {
    typealias Costs = ReferenceChoice.Costs
    func costs(svd: Double, gram: Double, iteration: Double) -> Costs {
      Costs(
        svd: svd, svdMemory: 200, gram: gram, gramMemory: 100, iteration: iteration, rows: 10,
        columns: 20)
    }
    func choice(
      _ kind: ReferenceKind, _ costs: Costs, memory: Int = 1000,
      preconditioner: PreconditionerKind = .none
    ) -> ReferenceChoice {
      var options = EvaluationOptions()
      options.reference = kind
      options.cgPreconditioner = preconditioner
      options.cgIterations = 100
      return ReferenceChoice(options, memory: memory, costs)
    }
    let cheap = costs(svd: 4, gram: 9, iteration: 1)
    let even = costs(svd: 90, gram: 60, iteration: 1)
    let dear = costs(svd: 9000, gram: 700, iteration: 1)
    let hopeless = costs(svd: 9000, gram: 5000, iteration: 1)
    let table: [(Costs, memory: Int, ReferenceKind, iterations: Int, fallback: ReferenceKind?)] = [
      (cheap, 1000, .dense, 100, nil),
      // The SVD does not fit, and then neither does B B^T.
      (cheap, 199, .lsqr, 9, .gram), (cheap, 99, .lsqr, 100, nil),
      (even, 1000, .lsqr, 60, .gram),
      // As many as the exact solver costs, or ten times what was asked for if that costs even more.
      (dear, 1000, .lsqr, 700, .gram), (hopeless, 1000, .lsqr, 1000, nil),
    ]
    for (costs, memory, kind, iterations, fallback) in table {
      let found = choice(.auto, costs, memory: memory)
      #expect(found.kind == kind && found.iterations == iterations && found.fallback == fallback)
      #expect(found.reason != nil)
    }
    #expect(choice(.auto, even, preconditioner: .jacobi).kind == .cg)
    var combined = even
    combined.usesCombinations = true
    #expect(choice(.auto, combined).kind == .cg)
    #expect(choice(.auto, combined).fallback == .gram)
    // What is named is done, but for a B that does not fit where B B^T does.
    for kind in [ReferenceKind.cg, .lsqr, .dense, .gram, .none] {
      let found = choice(kind, even)
      #expect(found.kind == kind && found.iterations == 100 && found.fallback == nil)
    }
    #expect(choice(.dense, even, memory: 150).kind == .gram)
    #expect(choice(.dense, even, memory: 50).kind == .dense)
  }

  /// By shapes, and by what the iterations bring: 82 and 145 for 1 % and 0.1 % at epoch 0, 267 and
  /// more than a thousand at epoch 3. `B B^T` of the digits, [1440, 1440], is dearer.
  @Test(arguments: [
    ("golden/mlp_tanh", 1e-3, ReferenceKind.gram), ("digits/epoch-00", 1e-2, .lsqr),
    ("digits/epoch-00", 1e-3, .lsqr), ("digits/epoch-03", 1e-2, .lsqr),
  ])
  func automaticChoiceConverges(_ name: String, gap: Double, kind: ReferenceKind) throws {
    let result = try reference(name, .auto, .float32) {
      $0.cgIterations = 200
      $0.cgGap = gap
    }
    #expect(result.record.kind == kind && result.record.isConverged, "\(result.record)")
    #expect(result.record.gamma <= result.gammaBound * (1 + gap))
    #expect(result.record.choice?.contains("predicted operations") == true)
    #expect(result.trace.isEmpty == (kind == .gram))
  }

  @Test func denseGoesThroughTheGramMatrixWhereBDoesNotFit() throws {
    // B, [80, 528], fits alone, but not beside the forward values; B B^T is [64, 64].
    let name = "golden/mlp_trained"
    let svd = DenseLeastSquares.requiredMemory(rows: 80, columns: 528)
    let result = try reference(name, .dense, .float32) { $0.memory = svd }
    #expect(result.record.kind == .gram)
    #expect(result.record.choice?.contains("does not fit into the memory") == true)
    try expectLeast(result, name, .float32, 1e-4)
  }
}
