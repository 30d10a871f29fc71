import TestSupport
import Testing

@testable import ApproxEval

/// Stages by methods at the end of a run.
@Suite struct ClosingTableTests {
  /// With one batch, and a ratio for each method and damping.
  private static func entry(
    _ path: String, epoch: Int?, run: String? = nil,
    _ ratios: [(method: String, damping: String?, ratio: Double?, role: RowRole)]
  ) -> Report.Entry {
    var description = CheckpointDescription(
      path: path, model: "sequential", loss: "mse", trainableParameters: 1, allParameters: 1,
      positions: 1, classes: 1)
    (description.epoch, description.run) = (epoch, run)
    let scores = ratios.map { row in
      Score(
        method: row.method, family: row.method, role: row.role, damping: row.damping, lambda: nil,
        gamma: row.ratio ?? .nan, gammaRelativeToSGD: row.ratio, gammaRelativeToReference: nil,
        efficiency: nil, efficiencyLow: .nan, fisherQuadratic: 1, gradientDot: 1, updateNorm: 1,
        cosineGradient: 1, cosineReference: nil, seconds: 0)
    }
    let result = BatchResult(
      checkpoint: path, epoch: epoch, step: nil, batch: 0, precision: .float64, samples: 1,
      recomputedSamples: 0, loss: 1, meanLoss: 1, gradientNorm: 1, gradientNormRatio: 1,
      logitGradientNormRatio: 1, gammaBound: 1, reference: nil, trace: [], scores: scores,
      seconds: 0)
    return Report.Entry(description, [result])
  }

  private static let rows: [(String, String?, Double?, RowRole)] = [
    ("sgd", nil, 1, .baseline), ("ef", "1", 3, .method), ("ef", "2", 0.5, .method),
    ("ief", "1", 0.25, .method), ("ng", nil, 0.125, .reference),
  ]

  @Test func theBestAndWhatIsWorseThanSGDAreMarked() {
    let late: [(String, String?, Double?, RowRole)] = [
      ("sgd", nil, 1, .baseline), ("ef", "1", 71.725, .method), ("ief", "1", nil, .method),
      ("sf", "1", 0.9, .method),
    ]
    let report = Report([
      Self.entry("a.bin", epoch: 0, Self.rows), Self.entry("b.bin", epoch: 40, late),
    ])
    #expect(
      report.closingText() == """
        gamma/gamma_SGD: [best], ! worse than plain gradient descent; of several
          dampings the best

        epoch        ef     ief      ng      sf
            0    0.500  [0.250]  0.125
           40   71.725!                 [0.900]

        """)
    #expect(report.text.hasSuffix(report.closingText()))
    #expect(Report([Self.entry("a.bin", epoch: 0, Self.rows)]).closingText().isEmpty)
  }

  @Test func coloursAndNarrowTerminalsKeepTheText() {
    let report = Report([
      Self.entry("run/a.bin", epoch: 3, run: "a", Self.rows),
      Self.entry("run/b.bin", epoch: 3, run: "b", Self.rows),
    ])
    let plain = report.closingText()
    #expect(plain.contains("run  epoch"))
    let colored = report.closingText(
      TextStyle { text, mark in
        switch mark {
        case .best: "<b>\(text)</b>"
        case .worse: "<w>\(text)</w>"
        case .none: text
        }
      })
    #expect(
      colored.contains("<b>  [0.250] </b>") || colored.contains("<b>[0.250] </b>"), "\(colored)")
    #expect(
      colored.replacing(/<\/?[bw]>/, with: "").split(separator: " ") == plain.split(separator: " "))
    for width in [1, 20, 30, 40] {
      let lines = report.closingText(TextStyle(width: width)).split(separator: "\n")
      #expect(lines.count > 4)
      if width >= 30 { #expect(lines.allSatisfy { $0.count <= width }) }
    }
  }

  /// A shell's order of `checkpoint-10`, `checkpoint-15`, `checkpoint-5` is not that of training.
  @Test func stagesStandInTheOrderOfTraining() {
    let places: [(String, Int)] = [("b", 2), ("b", 3), ("b", 1), ("a", 10), ("a", 9)]
    let report = Report(
      places.map { Self.entry("\($0.0)/\($0.1).bin", epoch: $0.1, run: $0.0, Self.rows) })
    let rows = report.closingText().split(separator: "\n").suffix(5).map {
      $0.split(separator: " ").prefix(2).joined(separator: " ")
    }
    #expect(rows == ["b 1", "b 2", "b 3", "a 9", "a 10"])
  }

  /// Notes that hold for several checkpoints stand once.
  @Test func lastingNotesStandOnce() {
    var entries = ["0", "1", "2"].map { Self.entry($0 + ".bin", epoch: Int($0), Self.rows) }
    for index in entries.indices { entries[index].description.notes = ["the same everywhere"] }
    entries[2].description.notes.append("of the last alone")
    let text = Report(entries).checkpointsText()
    #expect(text.components(separatedBy: "the same everywhere").count == 2)
    #expect(text.components(separatedBy: "of the last alone").count == 2)
  }
}
