import ApproxEval
import Foundation
import TestSupport
import Testing
import Updates

@testable import Figures

@Suite struct FigureTests {
  private func figure(_ name: String, _ draft: ResultsDraft) throws -> Figure {
    let set = try FigureSet(Results(folder: draft.path))
    return try #require(set.figures.first { $0.name == name })
  }

  private func curves(_ panel: Panel) -> [Curve] {
    if case .curves(let curves, _) = panel.content { curves } else { [] }
  }

  /// The rows of a block of a data file.
  private func block(_ index: Int, _ figure: Figure) -> [[String]] {
    let data = GnuplotScript(figure, formats: [.svg]).data
    let block = data.components(separatedBy: "\n\n\n")[index]
    return block.split(separator: "\n").filter { !$0.hasPrefix("#") }
      .map { $0.split(separator: " ").map(String.init) }
  }

  @Test func tablesOfTheReportHaveTheColumnsThatFiguresRead() throws {
    let draft = try ResultsDraft()
    for table in Report([]).tables { try draft.write(table.name + ".csv", []) }
    for table in Report([]).tables {
      try draft.edit(table.name + ".csv") { $0 = table.csv }
    }
    _ = try Results(folder: draft.path)
  }

  /// What the rows of older tables do not say of themselves is what newer ones say.
  @Test func tablesOfOlderVersionsReadAlike() throws {
    let draft = try ResultsDraft()
    var options = EvaluationOptions()
    options.methods = [.sgd, .ief, .kfac, .ng, .truncated(iterations: 3)]
    options.perLayer = true
    let checkpoint = fixture("golden/tokens_ignore.bin")
    let evaluation = Evaluation(options)
    var results = try evaluation.score(checkpoint: checkpoint)
    results[0].scores[1].gammaError = 0.5
    let report = Report([.init(try evaluation.describe(checkpoint: checkpoint), results)])
    for table in report.tables {
      try draft.write(table.name + ".csv", [])
      try draft.edit(table.name + ".csv") { $0 = table.csv }
    }
    let new = try Results(folder: draft.path)
    let added: Set = ["family", "role", "marked", "reference_converged", "sample", "sequences"]
    for table in report.tables {
      var old = ReportTable(
        name: table.name, columns: table.columns.filter { !added.contains($0) })
      for row in table.rows {
        old.append(zip(table.columns, row).filter { !added.contains($0.0) }.map(\.1))
      }
      try draft.edit(table.name + ".csv") { $0 = old.csv }
    }
    let old = try Results(folder: draft.path)
    let scores = try #require(new.scores)
    #expect(Set(scores.map(\.direction.role)) == [.method, .baseline, .reference])
    #expect(scores.contains { $0.direction.method != $0.direction.family })
    #expect(scores.map(\.direction) == old.scores?.map(\.direction))
    #expect(Set(scores.map(\.isMarked)) == [true, false])
    #expect(scores.map(\.isMarked) == old.scores?.map(\.isMarked))
    #expect(new.layers?.map(\.direction) == old.layers?.map(\.direction))
    #expect(
      new.batches?.map(\.hasConvergedReference) == old.batches?.map(\.hasConvergedReference))
  }

  // MARK: - Numbers, by hand

  @Test func ratiosAreMeansOfTheRatiosOfEachBatch() throws {
    let training = try figure("training", ResultsDraft())
    // ief at stage 0: 0.25 and 0.5. sf / ef: 0.5 / 0.5 and 3 / 4, where the ratio of the means
    // would be 3.5 / 4.5.
    let (ief, sf) = (block(1, training)[0], block(2, training)[0])
    #expect(ief[0...1] == ["0", "0.375"])
    #expect(
      abs(Double(ief[2])! - 0.125 * 2.0.squareRoot()) < 1e-15,
      "std of two: half the distance times sqrt 2")
    #expect(sf[0...1] == ["0", "0.875"])
    #expect(ief[5] == "2")
  }

  /// A deviation larger than the mean has no place on a logarithm; percentiles lie among the values.
  @Test func bandsArePercentilesAndStayPositive() throws {
    let training = try figure("training", ResultsDraft())
    // 10 and 1000: mean 505, standard deviation 495 sqrt 2 = 700; a tenth of the way from either end.
    let row = block(3, training)[0]
    #expect(row[1] == "505")
    #expect(abs(Double(row[2])! - 495 * 2.0.squareRoot()) < 1e-10, "one rounding of 700")
    #expect(abs(Double(row[3])! - 109) < 1e-10 && abs(Double(row[4])! - 901) < 1e-10, "of 990")
    #expect(training.panels[3].y.low > 0 && training.panels[3].y.low < 109)
  }

  @Test func percentilesAreThoseOfTheValues() {
    // The 10th percentile of 0...10 is 1, whatever the order.
    let point = Curve.Point(x: 0, (0...10).reversed().map(Double.init))
    #expect(point.range == 1...9)
    #expect(Curve.Point(x: 0, [3]).range == nil)
    #expect(Curve.Point(x: 0, [3, .infinity]).range == nil)
    let wide = Curve.Point(x: 0, [1e-300, 1, 1e300])
    #expect(wide.range!.lowerBound > 0 && wide.range!.upperBound.isFinite)
  }

  @Test func aSingleBatchHasNoBand() throws {
    let draft = try ResultsDraft()
    try draft.edit("scores.csv") { text in
      text = text.components(separatedBy: "\r\n").filter { !$0.contains(",,1,8,") }
        .joined(separator: "\r\n")
    }
    let training = try figure("training", draft)
    #expect(block(0, training)[0] == ["0", "0.5", "?", "?", "?", "1"])
    let script = GnuplotScript(training, formats: [.svg]).script
    #expect(!script.contains("data index 0 using 1:4:5"))
    #expect(script.contains("data index 3 using 1:4:5"), "imbalance still has two batches")
  }

  @Test func dampingIsLaidOutAsGivenOrByLambda() throws {
    let draft = try ResultsDraft()
    #expect(
      curves(try figure("damping", draft).panels[0]).first?.points.map(\.x) == [1e-7, 1e-3])
    try draft.edit("scores.csv") { text in
      text = text.replacingOccurrences(of: ",1e-7,1e-7,", with: ",rel:1e-5,0.25,")
    }
    let mixed = try figure("damping", draft).panels[0]
    #expect(mixed.x.label.hasPrefix("mean λ"))
    #expect(curves(mixed).first?.points.map(\.x) == [1e-3, 0.25])
  }

  @Test func smallestDampingIsTheOneOfTheLeastLambda() throws {
    let draft = try ResultsDraft()
    // As texts, "1e-3" comes before "1e-7".
    let methods = try figure("methods", draft)
    let ef = curves(methods.panels[0]).first { $0.label == "ef" }
    #expect(ef?.points.map(\.y) == [0.75, 1.5, 2.25])
    let best = curves(methods.panels[1]).first { $0.label == "ef" }
    #expect(best?.points.map(\.y) == [0.375, 0.75, 1.125])
  }

  @Test func bracketsAppearWhereAReferenceDidNotConverge() throws {
    let efficiency = try figure("efficiency", ResultsDraft())
    guard case .bars(let first, let mark) = efficiency.panels[0].content,
      case .bars(let last, _) = efficiency.panels[2].content
    else {
      Issue.record("no bars")
      return
    }
    // sgd: 1 % in both batches; 0.8 % is proved, and counts where batch 1 did not converge.
    #expect(
      first.first
        == Bar(
          label: "sgd", style: CurveStyle(color: .grey, marker: .cross, dash: .dashed), value: 1,
          low: nil))
    #expect(last.first?.value == 1)
    #expect(mark == nil && efficiency.notes.contains("The scale ends far below 100 %."))
    #expect(abs((last.first?.low ?? 0) - 0.9) < 1e-15, "mean of 1 and 0.8, rounded")
    #expect(!first.contains { $0.label == "ng" }, "the reference has no bar of its own")
  }

  @Test func referenceCurvesShowTheDistanceFromTheBound() throws {
    let reference = try figure("reference", ResultsDraft())
    #expect(reference.panels.map(\.title) == ["gamma", "gamma above its bound", "residual"])
    let excess = curves(reference.panels[1])[0].points
    // (1 + 2^-i) - 1, up to the rounding of 1 / 20 and of the subtraction.
    for (point, expected) in zip(excess, [0.5, 0.25, 0.125]) {
      #expect(abs(point.y - expected) < 1e-15 * 4)
    }
  }

  @Test func layersAreAGridInTheOrderOfTheTable() throws {
    let layers = try figure("layers-tensor", ResultsDraft())
    guard case .cells(let grid) = layers.panels[0].content else {
      Issue.record("no cells")
      return
    }
    #expect(grid.rows == ["0.weight", "0.bias"])
    #expect(grid.columns == ["ef", "ief", "sf", "kfac", "ng"])
    #expect(grid.values[0] == [0.75, 0.375, 0.625, 0.5625, 0.125])
    // The largest distance from 1 is that of ng.
    #expect(grid.reach == 8)
  }

  // MARK: - What is missing

  @Test func pointsWithoutAValueAreLeftOutAndTold() throws {
    let draft = try ResultsDraft()
    try draft.edit("scores.csv") { text in
      // ief of batch 0 at the last checkpoint.
      var lines = text.components(separatedBy: "\r\n")
      let row = lines.lastIndex { $0.contains(",0,8,ief,1e-7,") }!
      lines[row] = lines[row].replacingOccurrences(of: ",0.25,0.25,", with: ",nan,,")
      text = lines.joined(separator: "\r\n")
    }
    let training = try figure("training", draft)
    #expect(curves(training.panels[1])[0].points.map(\.x) == [0, 1])
    #expect(
      training.notes == [
        "ief against sgd: 1 point of ief left out, as a batch has no finite positive value there."
      ])
  }

  @Test func whatIsMissingIsToldAndTheRestIsDrawn() throws {
    let draft = try ResultsDraft()
    try draft.remove("scores.csv")
    try draft.remove("layers.csv")
    let set = try FigureSet(Results(folder: draft.path))
    #expect(set.figures.map(\.name) == ["training", "fit", "reference"])
    #expect(
      set.gaps.map(\.name).sorted() == ["damping", "efficiency", "layers-tensor", "methods"])
    for gap in set.gaps { #expect(gap.sentence.contains("Score"), "says how to make it") }
  }

  @Test func tablesWithoutRowsHaveNothingToDraw() throws {
    let draft = try ResultsDraft()
    for name in ["scores", "batches", "cg", "layers"] {
      try draft.edit(name + ".csv") { $0 = $0.components(separatedBy: "\r\n")[0] + "\r\n" }
    }
    let results = try Results(folder: draft.path)
    #expect {
      try FigureSet(results)
    } throws: { error in
      if case .nothingToDraw(let reasons)? = (error as? TableError)?.problem {
        reasons.count == 7
      } else {
        false
      }
    }
  }

  // MARK: - Stages

  @Test func stagesGoByEpochThenStepThenOrder() {
    func place(_ name: String, _ epoch: Double?, _ step: Double?) -> Place {
      Place(checkpoint: name, epoch: epoch, step: step, batch: "0")
    }
    let epochs = Stages([place("b", 3, 1), place("a", 1, 2)])
    #expect(epochs.stages.map(\.label) == ["epoch 1", "epoch 3"])
    // Two checkpoints of one epoch cannot share a place.
    let steps = Stages([place("b", 1, 9), place("a", 1, 2)])
    #expect(steps.stages.map(\.position) == [2, 9])
    let order = Stages([place("x/b", nil, 9), place("x/a", 1, nil)])
    #expect(order.stages.map(\.label) == ["b", "a"])
    #expect(order.axis.ticks?.map(\.label) == ["b", "a"])
  }

  @Test func selectionsKeepTheEndsOfTraining() {
    let stages = Stages((0..<40).map { Place(checkpoint: "\($0)", epoch: Double($0), batch: "0") })
    let chosen = stages.selection(6).map(\.position)
    #expect(chosen == [0, 7, 15, 23, 31, 39])
  }

  // MARK: - Axes and styles

  @Test(arguments: [(0.0, 0.1), (-7.0, -1.0), (-300.0, 300.0), (2.3, 2.31), (-0.5, 2.0)])
  func logarithmicAxesHaveLabelledTicksInOrder(_ low: Double, _ high: Double) {
    let axis = Axis.logarithmic("x", holding: [pow(10, low), pow(10, high)])
    let ticks = axis.ticks ?? []
    #expect(ticks.map(\.position) == ticks.map(\.position).sorted())
    #expect(ticks.allSatisfy { $0.position >= axis.low * 0.99 && $0.position <= axis.high * 1.01 })
    let labels = ticks.filter { !$0.label.isEmpty }
    #expect((2...10).contains(labels.count), "\(labels.map(\.label))")
    for tick in labels { #expect(Double(tick.label) == tick.position) }
  }

  /// Any number that a cell of a table can be.
  private static let extremes = [
    Double.leastNonzeroMagnitude, .leastNonzeroMagnitude * 1e10, Double.leastNormalMagnitude,
    1e-300, 1, 9.2e18, 1e300,
    Double.greatestFiniteMagnitude, .infinity, -.infinity, .nan, 0, -0.0,
    -Double.greatestFiniteMagnitude, -Double.leastNonzeroMagnitude,
  ]

  @Test func axesHaveALengthWhateverTheValues() {
    for first in Self.extremes {
      for second in Self.extremes {
        for axis in [
          Axis.logarithmic("x", holding: [first, second]), .linear("x", holding: [first, second]),
          .fromZero("x", to: first),
        ] {
          #expect(axis.low < axis.high, "\(first), \(second)")
          #expect(axis.low.isFinite && axis.high.isFinite, "\(first), \(second)")
          #expect(!axis.isLogarithmic || axis.low > 0, "\(first), \(second)")
          for tick in axis.ticks ?? [] { #expect(tick.position.isFinite, "\(first), \(second)") }
        }
      }
      #expect(!first.isFinite || Double(Axis.short(first)) != nil, "\(first)")
    }
  }

  /// Three digits of the ends would leave the axis without a length.
  @Test func axesOfNumbersThatDifferLittleHoldThem() {
    let steps = [1_000_000, 1_000_001, 1_000_007.0]
    let axis = Axis.linear("x", holding: steps)
    #expect(steps.allSatisfy { axis.low < $0 && $0 < axis.high })
    #expect(axis.high - axis.low < 10)
  }

  @Test func everyTableOfExtremesIsDrawnOrRefused() throws {
    for value in Self.extremes.map(\.description) + ["\(Int.max)", "\(Int.min)", "1e999", "1e-999"]
    {
      let draft = try ResultsDraft()
      for name in ["scores.csv", "batches.csv", "cg.csv", "layers.csv"] {
        try draft.edit(name) { text in
          // Every number of the first checkpoint, its epoch among them.
          text =
            text.split(separator: "\r\n").map { line in
              line.hasPrefix("run/a.bin")
                ? line.split(separator: ",", omittingEmptySubsequences: false).enumerated()
                  .map { $0 > 3 && Double($1) != nil || $0 == 1 ? value : String($1) }
                  .joined(separator: ",") : String(line)
            }.joined(separator: "\r\n") + "\r\n"
        }
      }
      do {
        let results = try Results(folder: draft.path)
        for figure in try FigureSet(results).figures {
          let script = GnuplotScript(figure, formats: [.svg])
          #expect(!script.script.contains("range [?") && !script.script.contains(":?]"), "\(value)")
        }
        _ = ResultsPage(results, try FigureSet(results), .none).html
      } catch {
        #expect("\(error)".contains("expected a number"), "\(value): \(error)")
      }
    }
  }

  /// Work that grew with the product of methods, dampings and checkpoints.
  @Test(.timeLimit(.minutes(1)), arguments: ["method", "damping"])
  func tablesWithoutTwoRowsOfOneKindAreDrawn(_ what: String) throws {
    let draft = try ResultsDraft()
    try draft.edit("scores.csv") { text in
      let header = text.prefix { $0 != "\r\n" }
      let rows = (0..<3000).map { row in
        let (method, damping) = what == "method" ? ("m\(row)", "1e-3") : ("ef", "\(row)e-5")
        return "c\(row),\(row),,0,8,\(method),\(damping),\(damping),1,0.5,,0.1,0.1,1,1,1,,,0.5,"
      }
      text = ([String(header)] + rows).joined(separator: "\r\n") + "\r\n"
    }
    let results = try Results(folder: draft.path)
    let set = try FigureSet(results)
    #expect(ResultsPage(results, set, .none).html.contains("c2999"))
    let methods = try #require(set.figures.first { $0.name == "methods" })
    #expect(methods.notes.contains("The first 64 of 3000 methods are shown.") == (what == "method"))
  }
}
