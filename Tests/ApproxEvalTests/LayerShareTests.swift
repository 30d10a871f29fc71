import Checkpoints
import Foundation
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// `sharpness`, `fisher_within_layers`, `fisher_across_layers` and `fisher_share` against the Fisher matrix as a
/// matrix.
struct LayerShareTests {
  /// A theorem, of every case with values of an independent framework: restricted to a layer no direction has a
  /// smaller gamma than that layer's natural gradient.
  @Test(arguments: GoldenTests.small + ["digits/epoch-03", "digits/epoch-40"])
  func noDirectionLeadsTheLayerwiseOracleInALayer(_ name: String) throws {
    var options = EvaluationOptions()
    options.methods = [
      .sgd, .ef, .ief, .sf, .kfac, .ekfac, .foof, .muon, .soap, .shampoo, .klShampoo, .sign,
      .layerNG,
    ]
    options.dampings = [Damping("0")!, Damping("rel:1e-3")!]
    options.perLayer = true
    options.precision = .float64
    let result = try Evaluation(options).score(checkpoint: fixture(name + ".bin"))[0]
    let blocks = result.layers.filter { $0.kind == .block }
    let best = blocks.filter { $0.method == "layer-ng" && $0.damping == "0" }
    #expect(!best.isEmpty && Set(best.map(\.layer)) == Set(blocks.map(\.layer)))
    for row in blocks {
      let own = try #require(best.first { $0.layer == row.layer })
      guard row.gamma.isFinite, own.gamma.isFinite else { continue }
      // What arithmetic has left in the two, where eigenvalues fade into rounding.
      let slack = max(1e-9, 2 * ((row.gammaError ?? 0) + (own.gammaError ?? 0)))
      #expect(
        own.gamma <= row.gamma * (1 + slack),
        "\(row.layer), \(row.method) at \(row.damping ?? "-"): \(row.gamma), oracle \(own.gamma)")
    }
  }

  /// Networks with one module, two and more, and with weights that several positions share.
  @Test(arguments: ["toy_logistic", "mse_mlp", "mlp_tanh", "cnn_small", "tokens_ignore"])
  func columnsAreThoseOfTheDenseFisherMatrix(_ name: String) throws {
    let path = fixture("golden/\(name).bin")
    let oracle = DenseOracle(try Problem(CheckpointFile.open(path)))
    let modules = oracle.moduleEntries
    var random = SeededGenerator(seed: 11)
    let mine = random.normals(oracle.parameterCount)
    // The same with its first module the other way: what is between that and the others changes its sign.
    var turned = mine
    for p in modules[0] { turned[p] = -mine[p] }
    let directions = [
      "sgd": oracle.gradient, "ief": oracle.weightedGradients(oracle.squares, lambda: 0.1),
      "update:mine": mine, "update:turned": turned,
    ]
    let report = try report(path, oracle.problem, ["mine": mine, "turned": turned])

    let fisher = fisher(oracle)
    func quadratic(_ d: [Double], _ entries: [Int]) -> Double {
      entries.reduce(0) { sum, p in
        sum + d[p] * entries.reduce(0) { $0 + fisher[p][$1] * d[$1] }
      }
    }
    let everything = Array(0..<oracle.parameterCount)
    var across: [String: Double] = [:]
    for row in rows(report.scores) {
      let method = row.text("method")
      let d = try #require(directions[method])
      let whole = quadratic(d, everything)
      let within = modules.reduce(0) { $0 + quadratic(d, $1) } / whole
      let found = (row.number("fisher_within_layers"), row.number("fisher_across_layers"))
      #expect(
        mismatch(row.number("sharpness"), whole / dot(d, d), tolerance: 1e-9) == nil, "\(method)")
      #expect(mismatch(found.0, within, tolerance: 1e-9) == nil, "\(method)")
      // A difference of two numbers of that size.
      #expect(
        mismatch([found.1], [1 - within], tolerance: 1e-9, scale: max(1, within)) == nil,
        "\(method)")
      across[method] = found.1
    }
    #expect(Set(across.keys) == Set(directions.keys))
    if modules.count == 2 {
      #expect(try #require(across["update:mine"]) * #require(across["update:turned"]) < 0)
    }

    let ranges = oracle.tensorRanges
    var count = 0
    for row in rows(report.layers) {
      let (method, layer) = (row.text("method"), row.text("layer"))
      let d = try #require(directions[method])
      let entries = ranges.filter { $0.name == layer || $0.name.hasPrefix(layer + ".") }
        .flatMap(\.range)
      let own = quadratic(d, entries)
      let square = entries.reduce(0) { $0 + d[$1] * d[$1] }
      #expect(
        mismatch(row.number("sharpness"), own / square, tolerance: 1e-9) == nil,
        "\(method), \(layer)")
      #expect(
        mismatch(
          row.number("fisher_share"), own / quadratic(d, everything), tolerance: 1e-9) == nil,
        "\(method), \(layer)")
      count += 1
    }
    #expect(count == directions.count * (ranges.count + modules.count))
  }

  /// `F = sum_n J_n^T H_n J_n`
  private func fisher(_ oracle: DenseOracle) -> [[Double]] {
    let count = oracle.parameterCount
    var sum = [[Double]](repeating: [Double](repeating: 0, count: count), count: count)
    for n in 0..<oracle.samples {
      let jacobian = oracle.jacobian[n]
      for (h, row) in zip(oracle.hessian(n), jacobian) {
        var product = [Double](repeating: 0, count: count)
        for (weight, other) in zip(h, jacobian) where weight != 0 {
          for p in 0..<count { product[p] += weight * other[p] }
        }
        for p in 0..<count where row[p] != 0 {
          for q in 0..<count { sum[p][q] += row[p] * product[q] }
        }
      }
    }
    return sum
  }

  private func report(
    _ path: String, _ problem: Problem, _ directions: [String: [Double]]
  ) throws -> Report {
    let file = NSTemporaryDirectory() + "/approx-eval-test-" + UUID().uuidString + ".safetensors"
    defer { try? FileManager.default.removeItem(atPath: file) }
    var writer = SafetensorsWriter(metadata: [:])
    for (name, values) in directions.sorted(by: { $0.key < $1.key }) {
      var first = 0
      for parameter in problem.trained {
        writer.add(
          "updates.\(name).\(parameter.name)", shape: parameter.shape,
          Vector(Array(values[first..<first + parameter.count])))
        first += parameter.count
      }
    }
    try writer.write(to: file)
    var options = EvaluationOptions()
    options.methods = [.sgd, .ief] + directions.keys.sorted().map { .update($0) }
    options.updateFiles = [file]
    options.dampings = [Damping("0.1")!]
    options.precision = .float64
    options.reference = .none
    options.perLayer = true
    let evaluation = Evaluation(options)
    return Report([
      .init(try evaluation.describe(checkpoint: path), try evaluation.score(checkpoint: path))
    ])
  }

  /// Cells by their columns.
  private struct Row {
    let cells: [String: ReportCell]

    func text(_ column: String) -> String {
      if case .text(let text)? = cells[column] { return text }
      return ""
    }

    func number(_ column: String) -> Double {
      if case .number(let number)? = cells[column] { return number }
      return .nan
    }
  }

  private func rows(_ table: ReportTable) -> [Row] {
    table.rows.map { Row(cells: Dictionary(uniqueKeysWithValues: zip(table.columns, $0))) }
  }
}
