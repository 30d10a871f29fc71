import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// What `score` writes is the same for every number of workers, byte for byte but for the seconds.
struct DeterminismTests {
  static let files = [
    "digits/epoch-20", "golden/mlp_trained", "golden/tokens_ignore", "golden/cnn_small",
  ]

  @Test(arguments: files, [Precision.float32, .float64])
  func tablesHaveTheSameBytesForEveryNumberOfThreads(
    _ name: String, _ precision: Precision
  ) throws {
    let one = try tables(name, precision, threads: 1)
    #expect(one.map(\.name) == ["scores", "batches", "cg", "summary", "layers"])
    for threads in SharedWork.threads.dropFirst() {
      for (found, expected) in zip(try tables(name, precision, threads: threads), one) {
        #expect(found.csv == expected.csv, "\(found.name).csv: 1 and \(threads) threads")
      }
    }
  }

  /// Every built-in method at two dampings, with each layer; on the digits two batches and two numbers
  /// of draws.
  private func tables(
    _ name: String, _ precision: Precision, threads: Int
  ) throws -> [(name: String, csv: String)] {
    var options = EvaluationOptions()
    options.methods = UpdateMethod.named + [.truncated(iterations: 3)]
    options.dampings = [Damping("rel:1e-7")!, Damping("1e-2")!]
    options.cgIterations = 5
    options.perLayer = true
    options.precision = precision
    options.threads = threads
    if name.hasPrefix("digits") {
      options.dataFile = fixture("digits/digits.safetensors")
      (options.batchSize, options.batches) = (24, 2)
      options.monteCarloSamples = [1, 2]
    }
    let pool = SharedWork.pool(threads)
    let evaluation = Evaluation(options, pool: pool)
    let path = fixture(name + ".bin")
    let results = try evaluation.score(checkpoint: path)
    #expect((pool.sharedCalls > 10) == (threads > 1), "\(pool.sharedCalls) calls")
    let report = Report([Report.Entry(try evaluation.describe(checkpoint: path), results)])
    return report.tables.map { ($0.name, withoutSeconds($0).csv) }
  }

  private func withoutSeconds(_ table: ReportTable) -> ReportTable {
    let kept = table.columns.indices.filter { !table.columns[$0].contains("seconds") }
    var result = ReportTable(name: table.name, columns: kept.map { table.columns[$0] })
    for row in table.rows { result.append(kept.map { row[$0] }) }
    return result
  }
}
