import Checkpoints
import Curvature
import Foundation
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// Removal of weights against matrices written out: F block by block, its inverse by elimination, the
/// statistic, the choice and the changed weights by their definitions.
struct PruningTests {
  /// `(sum_n r_n r_n^T + lambda I)^-1` over some entries, by Gauss-Jordan elimination.
  private static func inverse(_ a: [[Double]]) -> [[Double]] {
    let n = a.count
    var m = a.enumerated().map { i, row in row + (0..<n).map { $0 == i ? 1 : 0 } }
    for i in 0..<n {
      m.swapAt(i, (i..<n).max { abs(m[$0][i]) < abs(m[$1][i]) }!)
      let pivot = m[i][i]
      for c in i..<2 * n { m[i][c] /= pivot }
      let top = m[i]
      for r in 0..<n where r != i && m[r][i] != 0 {
        let factor = m[r][i]
        for c in i..<2 * n { m[r][c] -= factor * top[c] }
      }
    }
    return m.map { Array($0[n...]) }
  }

  /// What a removal is by its definition, over entries in the order of the file.
  private struct Dense {
    let weights: [Double]
    /// Entries, F and its inverse.
    let blocks: [(entries: Range<Int>, fisher: [[Double]], inverse: [[Double]])]
    let lambda: Double

    /// - Parameter tensors: Entries of each tensor.
    init(
      _ rows: [[Double]], _ weights: [Double], tensors: [Range<Int>], blockSize: Int, rel: Double
    ) {
      let lambda = rel * rows.map { dot($0, $0) }.max()!
      (self.weights, self.lambda) = (weights, lambda)
      blocks = tensors.flatMap { tensor in
        stride(from: tensor.lowerBound, to: tensor.upperBound, by: blockSize).map { start in
          let entries = start..<min(start + blockSize, tensor.upperBound)
          let fisher = entries.map { i in
            entries.map { j in
              rows.reduce(i == j ? lambda : 0) { $0 + $1[i] * $1[j] }
            }
          }
          return (entries, fisher, PruningTests.inverse(fisher))
        }
      }
    }

    var statistic: [Double] {
      var result = weights
      for (entries, _, inverse) in blocks {
        for (i, q) in entries.enumerated() {
          result[q] = weights[q] * weights[q] / (2 * inverse[i][i])
        }
      }
      return result
    }

    func removed(_ count: Int) -> Set<Int> {
      let statistic = statistic
      return Set(statistic.indices.sorted { statistic[$0] < statistic[$1] }.prefix(count))
    }

    /// `w - sum_q w_q F^-1 e_q / [F^-1]_qq`, then zeros.
    func sum(_ removed: Set<Int>) -> [Double] {
      var result = weights
      for (entries, _, inverse) in blocks {
        for (i, q) in entries.enumerated() where removed.contains(q) {
          for (j, r) in entries.enumerated() {
            result[r] -= weights[q] * inverse[j][i] / inverse[i][i]
          }
        }
      }
      for q in removed { result[q] = 0 }
      return result
    }

    /// The weights that stay by the conditions of a minimum: F d = 0 at each of them.
    func joint(_ removed: Set<Int>) -> [Double] {
      var result = weights
      for (entries, fisher, _) in blocks {
        let stay = entries.indices.filter { !removed.contains($0) }
        let start = entries.lowerBound
        let target = stay.map { r in
          removed.filter(entries.contains).reduce(0) {
            $0 + fisher[r - start][$1 - start] * weights[$1]
          }
        }
        let change = DenseOracle.solve(
          stay.map { r in stay.map { fisher[r - start][$0 - start] } }, target)
        for (r, d) in zip(stay, change) { result[r] += d }
      }
      for q in removed { result[q] = 0 }
      return result
    }

    /// `d^T F d`
    func cost(of changed: [Double]) -> Double {
      blocks.reduce(0) { sum, block in
        let d = block.entries.map { changed[$0] - weights[$0] }
        return sum + dot(d, block.fisher.map { dot($0, d) })
      }
    }
  }

  private static let rel = 1e-3
  private static let cases = TestSupport.cases.filter(\.weights.isEmpty)

  /// Statistic and changed weights in every form that gradients have: factored, explicit, tied, of tables,
  /// at several positions; more weights than samples in a block, and fewer.
  @Test(arguments: cases, PruningMethod.all.filter { $0.rows != nil })
  func removalIsThatOfDenseMatrices(_ test: Case, _ method: PruningMethod) throws {
    let problem = Problem(test)
    let oracle = DenseOracle(problem)
    let folder = try TestFolder()
    try problem.write(to: folder.path("x.bin"))
    let rows = zip(oracle.perSampleGradients, oracle.logitGradients).map { gradient, u in
      let norm = method == .ief ? dot(u, u).squareRoot() : 1
      return gradient.map { norm > 0 ? $0 / norm : 0 }
    }
    var options = EvaluationOptions()
    (options.precision, options.threads) = (.float64, 1)
    let checkpoint = try LoadedCheckpoint(path: folder.path("x.bin"), options: options)
    let parameters = try checkpoint.parameters(Double.self)
    let stored = try checkpoint.reader()
    let reader = try #require(stored)
    let pool = SharedWork.pool(1)
    let linearized = try BatchProblem<Double>(
      checkpoint, parameters: parameters,
      batch: reader.read(Array(0..<problem.samples), Double.self), pool: pool, budget: .max)
    for blockSize in [2, 7, 1000] {
      let weights = try PrunableWeights(checkpoint, patterns: ["*"], blockSize: blockSize)
      let ranges = Dictionary(uniqueKeysWithValues: oracle.tensorRanges.map { ($0.name, $0.range) })
      let tensors = weights.tensors.indices.map { ranges[weights.spec($0).name]! }
      // From the oracle's order of tensors to that of the weights.
      let order = tensors.flatMap { Array($0) }
      let all = problem.trained.flatMap { problem.parameters[$0.name]! }
      let dense = Dense(
        rows.map { row in order.map { row[$0] } }, order.map { all[$0] },
        tensors: Self.ranges(tensors.map(\.count)), blockSize: blockSize, rel: Self.rel)
      let statistics = PruningStatistics(
        linearized, weights, values: weights.values(parameters))
      let kind = try #require(method.rows)
      let matrix = try #require(statistics.matrix(kind, Damping("rel:\(Self.rel)")!))
      // Condition numbers of some thousands; where samples determine a weight, three more digits go.
      let tolerance = 1e-9
      #expect(mismatch(matrix.lambda, dense.lambda, tolerance: tolerance) == nil)
      let statistic = try statistics.statistic(matrix)
      for (q, expected) in dense.statistic.enumerated() {
        let found = statistic[q] * matrix.unit * matrix.unit
        #expect(
          mismatch(found, expected, tolerance: tolerance) == nil, "weight \(q), \(blockSize)")
      }
      let counts = [1, weights.count / 2, weights.count - 1].filter { $0 < weights.count }
      let selection = PruningSelection(statistic, counts: counts)
      let sums = try statistics.pruned(matrix, selection.removed, .sum)
      let joints = try statistics.pruned(matrix, selection.removed, .joint)
      let plain = try statistics.pruned(matrix, selection.removed, .none)
      for (place, count) in counts.enumerated() {
        let removed = dense.removed(count)
        #expect(
          Set(selection.removed[place].indices.filter { selection.removed[place][$0] }) == removed)
        let (sum, joint) = (dense.sum(removed), dense.joint(removed))
        #expect(mismatch(sums[place].array, sum, tolerance: tolerance) == nil, "\(blockSize)")
        #expect(mismatch(joints[place].array, joint, tolerance: tolerance) == nil, "\(blockSize)")
        for q in removed { #expect(sums[place][q] == 0 && joints[place][q] == 0) }
        // One weight alone has one optimum; of several removals none is cheaper than the joint one.
        if count == 1 { #expect(mismatch(sum, joint, tolerance: tolerance) == nil) }
        let least = dense.cost(of: joints[place].array)
        for other in [sums[place], plain[place]] {
          #expect(least <= dense.cost(of: other.array) * (1 + tolerance))
        }
      }
    }
  }

  private static func ranges(_ counts: [Int]) -> [Range<Int>] {
    var end = 0
    return counts.map { count in
      defer { end += count }
      return end..<end + count
    }
  }

  /// Whole runs: which tensors lose weights, what is written, and its loss, which the oracle finds from the
  /// numbers in the file.
  @Test(arguments: ["mlp", "cnn", "tied linear", "norms"], WeightUpdate.allCases)
  func lossIsThatOfTheModelInTheFile(_ name: String, _ update: WeightUpdate) throws {
    let problem = Problem(try #require(Self.cases.first { $0.name == name }))
    let folder = try TestFolder()
    try problem.write(to: folder.path("x.bin"))
    var options = PruningOptions(sparsities: [0, 0.4, 0.7])
    (options.update, options.evaluation.threads, options.blockSize) = (update, 1, 5)
    options.dampings = [Damping("rel:1e-2")!]
    let pruning = try Pruning(checkpoint: folder.path("x.bin"), options: options)
    let result = try pruning.run(into: folder.path("out"), pool: SharedWork.pool(1))
    #expect(result.rows.count == 10 && result.samples == problem.samples)
    // The scale of a norm over an image has two axes, and is no weight of a layer.
    let isWeight = { (p: OracleModel.Parameter) in p.shape.count > 1 && !p.name.hasPrefix("o.") }
    let layers = problem.trained.filter(isWeight)
    #expect(result.weights == layers.reduce(0) { $0 + $1.count })
    for row in result.rows {
      var changed = problem
      var zeros = 0
      if let file = row.file {
        let stored = try CheckpointFile.open(folder.path("out/" + file))
        for parameter in problem.model.parameters {
          let values = try stored.parameter(parameter.name).vector(of: Double.self).array
          changed.parameters[parameter.name] = values
          if isWeight(parameter) {
            zeros += values.count { $0 == 0 }
          } else {
            #expect(values == problem.parameters[parameter.name], "biases and norms stay")
          }
        }
        if row.sparsity == 0 { #expect(changed.parameters == problem.parameters) }
      }
      #expect(zeros == row.removed)
      #expect(row.removed == Int((row.sparsity * Double(result.weights)).rounded()))
      let losses = (0..<problem.samples).map { n in
        DenseOracle.logitGradient(changed, changed.logits(n).map(\.value), sample: n).loss
      }
      let mean = losses.reduce(0, +) / Double(problem.samples * problem.positions)
      // Sums of some dozen terms in another order.
      #expect(mismatch(row.measure.loss, mean, tolerance: 1e-9) == nil, "\(row.method)")
    }
    // By size alone.
    let half = try #require(result.rows.first { $0.method == "magnitude" && $0.sparsity == 0.4 })
    let name = try #require(half.file)
    let file = try CheckpointFile.open(folder.path("out/" + name))
    var sizes: (gone: [Double], left: [Double]) = ([], [])
    for parameter in layers {
      let values = try file.parameter(parameter.name).vector(of: Double.self).array
      for (found, was) in zip(values, problem.parameters[parameter.name]!) {
        if found == 0 { sizes.gone.append(abs(was)) } else { sizes.left.append(abs(was)) }
      }
    }
    #expect(sizes.gone.max()! <= sizes.left.min()!)
  }

  private func digits(_ change: (inout PruningOptions) -> Void) throws -> Pruning {
    var options = PruningOptions(sparsities: [0.5, 0.9])
    options.evaluation.dataFile = fixture("digits/digits.safetensors")
    options.evaluation.batchSize = 100
    (options.blockSize, options.evaluation.threads) = (300, 1)
    change(&options)
    return try Pruning(checkpoint: fixture("digits/epoch-20.bin"), options: options)
  }

  @Test(arguments: Arithmetic.allCases, [WeightUpdate.sum, .joint])
  func rowsHaveTheSameBitsForEveryNumberOfThreads(
    _ precision: Arithmetic, _ update: WeightUpdate
  ) throws {
    let results = try SharedWork.threads.map { threads in
      try digits {
        $0.evaluation.threads = threads
        ($0.precision, $0.update) = (precision, update)
      }.run(pool: SharedWork.pool(threads)).rows
    }
    for other in results.dropFirst() { #expect(other == results[0]) }
  }

  /// In float32 gradients are rounded, and few weights change places; what is written is in the source's
  /// single precision either way, and what is measured is what is written.
  @Test func fileOfSinglePrecisionIsWhatWasMeasured() throws {
    let folder = try TestFolder()
    let exact = try digits { _ in }.run(into: folder.path("a"), pool: SharedWork.pool(1))
    let single = try digits { $0.precision = .float32 }.run(pool: SharedWork.pool(1))
    for (row, other) in zip(exact.rows, single.rows) {
      #expect(mismatch(other.measure.loss, row.measure.loss, tolerance: 0.02) == nil)
      guard let file = row.file else { continue }
      let stored = try CheckpointFile.open(folder.path("a/" + file))
      #expect(stored.archive.tensors.values.allSatisfy { $0.dtype != .f64 })
      #expect(stored.epoch == 20 && stored.batch["labels"]?.shape == [160])
      var again = PruningOptions(sparsities: [0])
      again.methods = [.magnitude]
      again.evaluation.dataFile = fixture("digits/digits.safetensors")
      let found = try Pruning(checkpoint: folder.path("a/" + file), options: again)
        .run(pool: SharedWork.pool(again.evaluation.threads))
      #expect(found.rows[0].measure == row.measure)
    }
  }

  /// Weights that the engine has transposed, and tables, which stay: what is written is read back as what was
  /// measured, with zeros in place of the smallest.
  @Test(arguments: Arithmetic.allCases)
  func foldersOfLanguageModelsLoseWeights(_ precision: Arithmetic) throws {
    let model = fixture("hf_double/gpt2_classes")
    let folder = try TestFolder()
    func run(_ checkpoint: String, _ options: PruningOptions, into: String?) throws -> PruningResult
    {
      var options = options
      (options.precision, options.evaluation.threads) = (precision, 1)
      return try Pruning(checkpoint: checkpoint, options: options)
        .run(into: into, pool: SharedWork.pool(1))
    }
    var options = PruningOptions(sparsities: [0.5])
    (options.blockSize, options.evaluation.dataFile) = (50, model + "/data.safetensors")
    let result = try run(model + "/base", options, into: folder.path("out"))
    let before = try ModelDirectory.open(model + "/base").tensors
    for row in result.rows.dropFirst() {
      let path = folder.path("out/" + (try #require(row.file)))
      var again = PruningOptions(sparsities: [0])
      (again.methods, again.evaluation.dataFile) = ([.magnitude], options.evaluation.dataFile)
      #expect(try run(path, again, into: nil).rows[0].measure == row.measure)
      var (gone, left): ([Double], [Double]) = ([], [])
      for (name, tensor) in try CheckpointFile.open(path).parameters {
        let found = try tensor.vector(of: Double.self).array
        let was = try #require(before[name] ?? before["transformer." + name])
          .vector(of: Double.self).array
        guard name.hasSuffix("weight"), tensor.shape.count == 2, !name.contains("wte"),
          !name.contains("wpe")
        else {
          #expect(found == was, "\(name)")
          continue
        }
        for (value, old) in zip(found, was) {
          if value == 0 { gone.append(abs(old)) } else { left.append(abs(old)) }
          if row.method == "magnitude" && value != 0 { #expect(value == old) }
        }
      }
      #expect(gone.count == row.removed && gone.count + left.count == result.weights)
      #expect((gone.max()! <= left.min()!) == (row.method == "magnitude"))
    }
  }

  @Test func whatCannotBeRemovedIsAnError() throws {
    let folder = try TestFolder()
    let biases = Problem(try #require(Self.cases.first { $0.name == "mlp, biases only" }))
    try biases.write(to: folder.path("b.bin"))
    func message(_ file: String, _ change: (inout PruningOptions) -> Void) -> String {
      var options = PruningOptions(sparsities: [0.5])
      options.evaluation.threads = 1
      change(&options)
      do {
        try Pruning(checkpoint: folder.path(file), options: options).run(pool: SharedWork.pool(1))
        return ""
      } catch { return error.message.text(.plain) }
    }
    #expect(message("b.bin") { _ in }.contains("no linear layer or convolution"))
    #expect(message("b.bin") { $0.weights = ["a.weight"] }.contains("leaves nothing to remove"))
    #expect(message("b.bin") { $0.weights = ["a.wieght"] }.contains("Did you mean a.weight"))
    #expect(message("b.bin") { $0.weights = ["*"] } == "")
    // Logits and labels of zero: no gradient.
    var zero = Problem(try #require(Self.cases.first { $0.name == "mlp" && $0.loss == "mse" }))
    zero.parameters = zero.parameters.mapValues { $0.map { _ in 0 } }
    zero.labels = .real([Double](repeating: 0, count: zero.samples * 3))
    try zero.write(to: folder.path("z.bin"))
    #expect(message("z.bin") { _ in }.contains("of ef with the damping rel:1e-2 has no inverse"))
    #expect(message("z.bin") { $0.methods = [.magnitude] } == "")
    #expect(message("z.bin") { $0.evaluation.memory = 1000 }.contains("inverse Fisher matrix"))
  }

  /// A batch that would not fit is as large as memory allows.
  @Test func samplesAreAsManyAsFit() throws {
    let all = try digits { $0.evaluation.batchSize = nil }
    #expect(all.samples == 1797)
    let some = try digits {
      $0.evaluation.batchSize = nil
      $0.evaluation.memory = 20_000_000
    }
    #expect((10..<1797).contains(some.samples))
    #expect(throws: EvaluationError.self) {
      try digits {
        $0.evaluation.batchSize = some.samples + 1
        $0.evaluation.memory = 20_000_000
      }
    }
  }
}
