import Checkpoints
import Foundation
import Testing

@testable import ApproxEval

@Suite struct ReportTests {
  // MARK: CSV

  @Test func csvQuotesWhatRFC4180Asks() {
    var table = ReportTable(name: "t", columns: ["a", "b"])
    table.append([.text("plain"), .text("with, comma")])
    table.append([.text("say \"ief\""), .text("two\nlines")])
    table.append([.empty, .text("")])
    #expect(
      table.csv == "a,b\r\nplain,\"with, comma\"\r\n\"say \"\"ief\"\"\",\"two\nlines\"\r\n,\r\n")
  }

  @Test(arguments: [
    0.1, 1.0 / 3, .leastNonzeroMagnitude, -1.7976931348623157e308, 123_456_789.0,
    0.30000000000000004, -0.0,
  ])
  func numbersReadBackToTheSameBits(_ value: Double) throws {
    let text = ReportCell.spelling(value)
    #expect(try #require(Double(text)).bitPattern == value.bitPattern, "\(text)")
  }

  @Test func whatIsNotFiniteIsSpeltAsTheFormatSays() {
    #expect(ReportCell.spelling(.infinity) == "inf")
    #expect(ReportCell.spelling(-.infinity) == "-inf")
    #expect(ReportCell.spelling(.nan) == "nan")
    #expect(ReportCell.spelling(-.nan) == "nan")
  }

  // MARK: JSON

  @Test func jsonHasTheRowsOfTheTable() throws {
    var table = ReportTable(name: "t", columns: ["a", "b", "c", "d"])
    table.append([.text("é\"\n"), .integer(3), .number(0.1), .empty])
    table.append([.text(""), .integer(-1), .number(.nan), .number(-.infinity)])
    let text = ReportJSON(table).document
    let rows = try #require(
      try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
    #expect(rows[0]["a"] as? String == "é\"\n")
    #expect(rows[0]["b"] as? Int == 3)
    #expect(rows[0]["c"] as? Double == 0.1)
    #expect(rows[0]["d"] is NSNull)
    #expect(rows[1]["c"] as? String == "nan")
    #expect(rows[1]["d"] as? String == "-inf")
    // Keys in the order of the columns.
    let first = try #require(text.firstRange(of: "\"a\"")).lowerBound
    #expect(first < (try #require(text.firstRange(of: "\"b\"")).lowerBound))
  }

  // MARK: Summary

  @Test func summaryIsMeanAndDeviationOverBatches() throws {
    let entry = Report.Entry(
      Self.description,
      [1.0, 2, 6].enumerated().map { batch, gamma in
        Self.result(batch: batch, gammas: [("sgd", nil, gamma), ("ef", "0.1", 2 * gamma)])
      })
    let table = Report([entry]).summary
    #expect(table.rows.count == 2)
    let row = Dictionary(uniqueKeysWithValues: zip(table.columns, table.rows[1]))
    #expect(row["method"] == .text("ef"))
    #expect(row["damping"] == .text("0.1"))
    #expect(row["batches"] == .integer(3))
    #expect(row["gamma_mean"] == .number(6))
    // Of 2, 4, 12: (16 + 4 + 36) / 2 = 28.
    guard case .number(let deviation) = row["gamma_std"] else {
      Issue.record("no deviation")
      return
    }
    #expect(abs(deviation - 28.0.squareRoot()) < 1e-14)
    #expect(row["gamma_rel_reference_mean"] == .empty)
  }

  /// Against numbers worked out by hand, for gammas 1, 2, 6 and an EF of twice that.
  @Test func summaryHasErrorAndOrderStatistics() throws {
    var results = [6.0, 1, 2].enumerated().map { batch, gamma in
      Self.result(batch: batch, gammas: [("sgd", nil, gamma), ("ef", "0.1", 2 * gamma)])
    }
    for index in results.indices {
      results[index].reference = Self.reference(isConverged: index == 1)
    }
    func row(_ results: [BatchResult]) -> [String: ReportCell] {
      let table = Report([Report.Entry(Self.description, results)]).summary
      return Dictionary(uniqueKeysWithValues: zip(table.columns, table.rows[1]))
    }
    let three = row(results)
    #expect(three["gamma_min"] == .number(2))
    #expect(three["gamma_median"] == .number(4))
    #expect(three["gamma_max"] == .number(12))
    // sqrt(28 / 3)
    guard case .number(let error) = three["gamma_stderr"] else {
      Issue.record("no standard error")
      return
    }
    #expect(abs(error - 3.055050463303893) < 1e-14)
    #expect(three["gamma_rel_sgd_stderr"] == .number(0))
    #expect(three["gamma_rel_sgd_median"] == .number(2))
    #expect(three["efficiency_stderr"] == .empty)
    #expect(three["batches_reference_not_converged"] == .integer(2))

    // Of two batches the median is the mean of both, of one there is no error.
    #expect(row(Array(results.prefix(2)))["gamma_median"] == .number(7))
    #expect(row(Array(results.prefix(1)))["gamma_stderr"] == .empty)
    #expect(row(Array(results.prefix(1)))["gamma_max"] == .number(12))

    // What is infinite shows where it must; what it makes meaningless is nan.
    results[0].scores[1].gamma = .infinity
    let infinite = row(results)
    #expect(infinite["gamma_mean"] == .number(.infinity))
    #expect(infinite["gamma_max"] == .number(.infinity))
    #expect(infinite["gamma_median"] == .number(4))
    guard case .number(let deviation) = infinite["gamma_std"] else {
      Issue.record("no deviation")
      return
    }
    #expect(deviation.isNaN)
    for index in results.indices { results[index].reference = nil }
    #expect(row(results)["batches_reference_not_converged"] == .empty)
  }

  @Test func oneBatchHasNoDeviation() {
    let entry = Report.Entry(
      Self.description, [Self.result(batch: 0, gammas: [("sgd", nil, 0.5)])])
    let table = Report([entry]).summary
    let row = Dictionary(uniqueKeysWithValues: zip(table.columns, table.rows[0]))
    #expect(row["gamma_mean"] == .number(0.5))
    #expect(row["gamma_std"] == .empty)
  }

  @Test func meanOfRatiosIsNotRatioOfMeans() {
    let results = [(1.0, 1.0), (3.0, 9.0)].enumerated().map { batch, gammas in
      Self.result(batch: batch, gammas: [("sgd", nil, gammas.0), ("ef", "0", gammas.1)])
    }
    let summaries = Report.Entry(Self.description, results).summaries
    #expect(summaries[1].gammaRelativeToSGD?.mean == 2)
  }

  @Test func certifiedLowIsTheEfficiencyWhereTheReferenceConverged() throws {
    var converged = Self.result(batch: 0, gammas: [("ef", "0", 1)])
    converged.reference = Self.reference(isConverged: true)
    var stopped = Self.result(batch: 1, gammas: [("ef", "0", 1)])
    stopped.reference = Self.reference(isConverged: false)
    for index in 0..<1 {
      converged.scores[index].efficiency = 0.5
      stopped.scores[index].efficiency = 0.7
    }
    let summary = Report.Entry(Self.description, [converged, stopped]).summaries[0]
    // 0.5 of the first, 0.25 (the certificate's) of the second.
    #expect(summary.efficiencyLow.mean == 0.375)
    #expect(try #require(summary.efficiency).mean == 0.6)
    let notes = Report([.init(Self.description, [converged, stopped])]).notes
    #expect(notes == ["run/a.bin, batch 1: the reference did not converge. Why."])
  }

  @Test func notesNameMarkedRows() {
    var result = Self.result(batch: 4, gammas: [("ef", "0", 1), ("ief", "0", 1)])
    result.scores[0].gammaError = 0.031
    result.scores[1].gammaError = 1e-3
    #expect(
      Report([.init(Self.description, [result])]).notes
        == ["run/a.bin, batch 4: ef at damping 0: gamma may be off by 3.1 %, by rounding."])
    result.scores[0].gammaError = .infinity
    result.precision = .float64
    result.isRepeated = true
    let report = Report([.init(Self.description, [result])])
    #expect(
      report.notes == [
        "run/a.bin, batch 4: done again in double, as a gamma was marked or missing in single precision.",
        "run/a.bin, batch 4: ef at damping 0: gamma may be off by 100 % or more, by rounding.",
      ])
    #expect(report.batchesInDouble == 1 && report.batchesRepeated == 1)
    // Of every row, before the reason why there is no gamma. After them come the measures of curvature.
    #expect(
      report.scores.columns.suffix(5)
        == ["sharpness", "fisher_within_layers", "fisher_across_layers", "run", "sample"])
    #expect(
      report.scores.columns.dropLast(5).suffix(6)
        == ["gamma_error", "precision", "no_gamma", "family", "role", "marked"])
    #expect(
      report.scores.rows[0].dropLast(5).suffix(6) == [
        .number(.infinity), .text("float64"), .empty, .text("ef"), .text("method"), .flag(true),
      ])
    #expect(
      report.scores.rows[1].dropLast(5).suffix(6) == [
        .number(1e-3), .text("float64"), .empty, .text("ief"), .text("method"), .flag(false),
      ])
    #expect(
      Array(report.batches.columns.suffix(3)) == ["run", "sequences", "reference_excess_short"])
  }

  // MARK: Files

  @Test func aReportIsWholeOrAbsent() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    var files = OutputFiles()
    files.add(folder.path + "/new/one.csv", "1")
    // A name that a folder has cannot be written: the first file must not appear either.
    try FileManager.default.createDirectory(
      atPath: folder.path + "/new/two.csv", withIntermediateDirectories: true)
    files.add(folder.path + "/new/two.csv", "2")
    #expect(throws: CheckpointError.self) { try files.write() }
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: folder.path + "/new") == ["two.csv"])
  }

  @Test func writabilityIsFoundOutWithoutATrace() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try OutputFiles.requireWritable(folder: folder.path + "/a/b/")
    try OutputFiles.requireWritable(file: folder.path + "/a/c.csv")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [])
    try Data("kept".utf8).write(to: folder.appendingPathComponent("file"))
    try OutputFiles.requireWritable(file: folder.path + "/file")
    #expect(try String(contentsOfFile: folder.path + "/file", encoding: .utf8) == "kept")
    #expect(throws: CheckpointError.self) {
      try OutputFiles.requireWritable(folder: folder.path + "/file/x")
    }
  }

  @Test func sumsAreThoseOfSHA256() throws {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: file) }
    try Data("abc".utf8).write(to: file)
    let record = try FileRecord(path: file.path)
    #expect(record.bytes == 3)
    // FIPS 180-2, example B.1.
    #expect(
      record.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }

  // MARK: Text

  @Test func textIsWrappedAtTheWidth() {
    #expect(wrapped("one two three", width: 7) == "one two\n  three")
    #expect(wrapped("unbreakable", width: 4) == "unbreakable")
    #expect(wrapped(parts: ["loss 1.5", "epoch 3"], width: 10) == "loss 1.5,\n  epoch 3")
  }

  @Test func thousandsAreSeparated() {
    #expect(grouped(10_510_346) == "10,510,346")
    #expect(grouped(999) == "999")
    #expect(grouped(-1000) == "-1,000")
  }

  @Test func columnsAreAligned() {
    var table = TextTable([("a", .left), ("b", .right)])
    table.append(["long", "1"])
    table.append(["", "12345"])
    #expect(table.text == "a         b\n----  -----\nlong      1\n      12345\n")
  }

  @Test func textSaysInHowManyBatchesTheReferenceConverged() {
    let results = (0..<3).map { batch in
      var result = Self.result(batch: batch, gammas: [("sgd", nil, 1), ("ef", "0", 0.5)])
      result.reference = Self.reference(isConverged: batch > 0)
      for index in result.scores.indices { result.scores[index].efficiency = 0.5 }
      result.scores[1].gammaError = batch == 2 ? 0.02 : 1e-5
      return result
    }
    #expect(
      Report.Entry(Self.description, results).text == """
        run/a.bin
        sequential, P = 10, N = 8 x 3 batches, mean loss 0.5, imbalance 2, epoch 3

        method  damping    gamma  gamma/gamma_SGD   efficiency %
        ------  -------  -------  ---------------  -------------
        sgd               1.000             1.000  50.0 (≥ 41.7)
        ef      0        0.5000*           0.5000  50.0 (≥ 41.7)

        Reference: conjugate gradients, 3 iterations, residual 0.1. 2 of 3 batches:
          converged, the residual is within the tolerance; 1 of 3 batches: not
          converged, stopped at the iteration limit. Its gamma is at most 10 % above the
          least possible.
        The reference did not converge in 1 of 3 batches: efficiency is relative to what
          it reached; the share of the exact optimum lies between the number in brackets
          and it. Why.
        * gamma may be off by up to 2 % in 1 of 3 batches, by the rounding of numbers.
          Use the precision float64 (with enough memory), or a larger damping.

        """)
  }

  @Test func textOfARunEndsWithHowManyReferencesDidNotConverge() {
    let results = (0..<3).map { batch in
      var result = Self.result(batch: batch, gammas: [("sgd", nil, 1)])
      result.reference = Self.reference(isConverged: batch > 0)
      return result
    }
    let entry = Report.Entry(Self.description, results)
    #expect(Report([entry]).text == entry.text, "its own line says so")
    #expect(
      Report([entry, entry]).text == entry.text + "\n" + entry.text
        + "\nIn all, the reference did not converge in 2 of 6 batches.\n")
    let converged = Report.Entry(Self.description, Array(results.dropFirst()))
    #expect(Report([converged, converged]).text == converged.text + "\n" + converged.text)
  }

  // MARK: Made-up results

  private static let description = CheckpointDescription(
    path: "run/a.bin", epoch: 3, step: nil, model: "sequential", loss: "mse",
    trainableParameters: 10, allParameters: 12, positions: 1, classes: 2)

  private static func reference(isConverged: Bool) -> ReferenceRecord {
    ReferenceRecord(
      kind: .cg, gamma: isConverged ? 0.5 : 0.55, iterations: 3, residual: 0.1,
      stop: isConverged ? "tolerance" : "iterations",
      explanation: "Why.", status: isConverged ? .converged : .notConverged)
  }

  private static func result(
    batch: Int, gammas: [(method: String, damping: String?, gamma: Double)]
  ) -> BatchResult {
    BatchResult(
      checkpoint: description.path, epoch: 3, step: nil, batch: batch, precision: .float32,
      samples: 8, recomputedSamples: 0, loss: 4, meanLoss: 0.5,
      gradientNorm: 1, gradientNormRatio: 2, logitGradientNormRatio: 2, gammaBound: 0.5,
      reference: nil, trace: [],
      scores: gammas.map { row in
        Score(
          method: row.method, family: row.method,
          role: row.method == "sgd" ? .baseline : row.method == "ng" ? .reference : .method,
          damping: row.damping, lambda: nil, gamma: row.gamma,
          gammaRelativeToSGD: row.gamma / gammas[0].gamma, gammaRelativeToReference: nil,
          efficiency: nil, efficiencyLow: 0.25, fisherQuadratic: 1, gradientDot: 1, updateNorm: 1,
          cosineGradient: 1, cosineReference: nil, seconds: 0)
      }, seconds: 0)
  }
}
