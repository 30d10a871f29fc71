import TestSupport
import Testing

@testable import Figures

/// Made-up tables of which the answer is known.
@Suite struct VerdictTests {
  typealias Method = VerdictDraft.Method

  /// 2^-9 for ten batches on one side, times three stages.
  private let sure = "Sure at all 3 stages: in all 10 batches (p = 0.0059)."

  @Test func whatFallsBehindIsSaid() throws {
    let text = try VerdictDraft([
      Method("ef") { stage, _ in [0.5, 0.75, 2][stage] }, Method("ief") { _, _ in 0.25 },
      Method("ng", role: "reference") { _, _ in 0.125 },
    ]).text
    #expect(text.headline == "Best: ief at all 3 stages. Worse than sgd: ef at epoch 2.")
    #expect(
      text.sentence("ef")
        == "falls behind sgd at epoch 2, the last stage: γ / γ(sgd) 0.500 (epoch 0) to 2.000 (epoch 2). "
        + sure)
    #expect(text.sentence("ief") == "ahead of sgd at all 3 stages: γ / γ(sgd) 0.250. " + sure)
    #expect(text.sentence("ng") == nil, "with the reference nothing competes")
    let cells = text.views[0].table.rows.map { $0.map(\.whole) }
    #expect(
      cells == [
        ["epoch 0", "0.500", "[0.250]", "0.125", "2.000", "10.0"],
        ["epoch 1", "0.750", "[0.250]", "0.125", "1.000", "20.0"],
        ["epoch 2", "2.000!", "[0.250]", "0.125", "0.6667", "30.0"],
      ])
    #expect(text.legend == "[ ] best of the stage; ! worse than sgd.")
    #expect(text.views.map(\.name) == ["γ / γ(sgd)", "efficiency"])
  }

  @Test(arguments: [
    ([0.5, 2, 2], "falls behind sgd at epoch 1 and stays behind"),
    ([2, 2, 0.5], "behind sgd at epochs 0 and 1, ahead from epoch 2 on"),
    ([0.5, 2, 0.5], "ahead of sgd at epochs 0 and 2, behind at epoch 1"),
    ([2, 2, 2], "behind sgd at all 3 stages"),
    ([1, 0.5, 1], "ahead of sgd at epoch 1, level elsewhere"),
    ([1, 1, 1], "level with sgd at all 3 stages"),
  ])
  func coursesAreToldApart(_ ratios: [Double], _ course: String) throws {
    let text = try VerdictDraft([Method("ef") { stage, _ in ratios[stage] }]).text
    #expect(text.sentence("ef")?.hasPrefix(course + ": γ / γ(sgd) ") == true, "\(text.methods)")
  }

  /// 97 of 100: 2 (1 + 100 + 4950 + 161700) / 2^100.
  @Test func pairsAreCountedByBatch() throws {
    let draft = try VerdictDraft(
      stages: 1, batches: 100,
      [
        Method("ief") { _, _ in 0.5 }, Method("sf") { _, batch in batch < 97 ? 0.6 : 0.4 },
      ])
    let winner = try #require(try Verdict.all(draft.results)[0].winners[0])
    #expect(winner.methods == [0] && winner.isSure)
    let comparison = try #require(winner.rival).comparison
    #expect((comparison.wins, comparison.losses, comparison.ties) == (97, 3, 0))
    #expect(abs(try #require(comparison.p) / 2.630866896130179e-25 - 1) < 1e-12)
    let row = try #require(draft.text.evidence?.rows[0].map(\.whole))
    #expect(row == ["epoch 0", "ief", "sf", "97 of 100 batches, p < 0.001", "yes"])
    #expect(
      try draft.text.headline.hasPrefix("Best: ief, 0.500 of sgd's γ. No method's mean is worse"))
  }

  /// The smallest damping is not sure because another one is: every table is marked by its own comparisons.
  @Test func eachTableHasMarksOfItsOwn() throws {
    /// As often the one as the other.
    func mixed(_ batch: Int) -> Double { batch % 2 == 0 ? 0.5 : 0.7 }
    let verdict = try #require(
      try Verdict.all(
        VerdictDraft([
          Method("a", damping: "1e-1") { _, _ in 0.2 },
          Method("a", damping: "1e-7") { _, batch in mixed(batch) },
          Method("b", damping: "1e-1") { _, _ in 0.4 },
          Method("b", damping: "1e-7") { _, batch in mixed(batch + 1) * 1.0001 },
        ]).results
      ).first)
    let views = VerdictTables(verdict).views
    #expect(views[0].table.rows[0][1].whole == "[0.200]")
    #expect(views[1].table.rows[0][1].whole == "[0.600]?")
  }

  /// What rounding alone puts above sgd is not worse than it.
  @Test func roundingMakesNoMethodWorse() throws {
    let text = try VerdictDraft(stages: 2, error: 1e-7, [Method("own") { _, _ in 1 + 1e-9 }]).text
    #expect(text.headline.contains("Its mean is never worse than sgd's."), "\(text.headline)")
    #expect(!text.views[0].table.rows[0][1].whole.contains("!"))
  }

  /// Where there is no mean, there is nothing to be said of it.
  @Test func gapsAreNamedWhereNothingIsWorse() throws {
    let text = try VerdictDraft([
      Method("ief") { stage, batch in stage == 2 && batch == 0 ? .nan : 0.5 }
    ]).text
    #expect(
      text.headline.hasSuffix("where it has one: in some batches there is no γ."),
      "\(text.headline)")
  }

  /// A mean that one batch makes is no reason to believe in it.
  @Test func meansThatBatchesDoNotBearOutAreDoubted() throws {
    let text = try VerdictDraft(
      stages: 1,
      [Method("a") { _, batch in batch == 0 ? 0.01 : 0.6 }, Method("b") { _, _ in 0.58 }]
    ).text
    // (0.01 + 9 * 0.6) / 10 = 0.541
    #expect(
      text.headline
        == "Best: a, 0.541 of sgd's γ. That is not sure. No method's mean is worse than sgd's at any stage."
    )
    #expect(
      text.evidence?.rows[0].map(\.whole) == [
        "epoch 0", "a", "b", "1 of 10 batches, p = 0.021", "no",
      ])
    #expect(text.views[0].table.rows[0].map(\.whole).prefix(3) == ["epoch 0", "[0.541]?", "0.580"])
    #expect(text.legend.contains("? not sure"))
  }

  // MARK: - Too few batches

  @Test func threeBatchesAreNoTest() throws {
    let text = try VerdictDraft(stages: 1, batches: 3, [Method("ef") { _, _ in 0.5 }]).text
    #expect(
      text.sentence("ef")
        == "ahead of sgd at epoch 0: γ / γ(sgd) 0.500. Not sure: ahead in 3 of 3 batches, too few for a "
        + "test at 5 %.")
    #expect(text.headline.contains("There are too few batches to be sure which is best."))
    // 2^(1 - 3)
    #expect(
      text.confidence.contains { $0.contains("the least p of 3 batches is 0.25") },
      "\(text.confidence)")
    #expect(!text.views[0].table.rows.joined().contains { $0.after.contains("?") })
  }

  @Test func oneBatchIsOne() throws {
    let text = try VerdictDraft(stages: 2, batches: 1, [Method("ef") { _, _ in 2 }]).text
    #expect(
      text.sentence("ef")
        == "behind sgd at all 2 stages: γ / γ(sgd) 2.000. Not sure: at all 2 stages, ahead in 0 of 1 batch."
    )
    #expect(text.confidence.contains { $0.hasSuffix("What other batches would say is not known.") })
    #expect(!text.confidence.contains { $0.contains("sign test") })
  }

  /// All samples in every batch: ten times the same.
  @Test func oneBatchOverAndOverIsOne() throws {
    let methods = [
      Method("ef") { _, batch in 0.5 + 1e-12 * Double(batch) },
      Method("sf", draws: "1") { _, batch in batch < 9 ? 0.4 : 1.2 },
    ]
    // gamma(sgd) would differ; so the draft's batches are made alike by a division.
    let draft = try VerdictDraft(stages: 1, data: 8, methods)
    try draft.draft.edit("scores.csv") { text in
      text = text.split(separator: "\r\n", omittingEmptySubsequences: false).enumerated().map {
        line, row in
        var cells = row.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        if line > 0 && cells.count > 8 { cells[7] = cells[8] }
        return cells.joined(separator: ",")
      }.joined(separator: "\r\n")
    }
    let text = try draft.text
    #expect(
      text.sentence("ef")?.hasSuffix("Not sure: ahead in 1 of 1 batch, taken 10 times.") == true,
      "\(text.methods)")
    // Drawn labels do differ: 2 (1 + 10) / 2^10.
    #expect(
      text.sentence("sf")?.contains("Sure: in 9 of 10 draws of labels (p = 0.021).") == true,
      "\(text.methods)")
    #expect(text.confidence.contains { $0.hasPrefix("Every batch has all samples of the data") })
  }

  // MARK: - Ties and errors

  @Test func equalMethodsAreBestTogether() throws {
    // Late in training no sampled label differs, and sf is ef up to rounding.
    let text = try VerdictDraft(
      stages: 2,
      [
        Method("ef") { _, _ in 0.5 }, Method("sf") { _, _ in 0.5 * (1 + 1e-12) },
        Method("x") { _, _ in 0.7 },
      ]
    ).text
    #expect(text.headline.hasPrefix("Best: ef and sf at all 2 stages. No method"))
    #expect(
      text.evidence?.rows[0].map(\.whole) == [
        "epoch 0", "ef and sf", "x", "10 of 10 batches, p = 0.0039", "yes",
      ])
  }

  @Test func marksOfRoundingReachTheCells() throws {
    let text = try VerdictDraft(stages: 1, error: 0.02, [Method("ef") { _, _ in 0.99 }]).text
    // Within both errors of sgd's: nothing is decided.
    #expect(
      text.sentence("ef")?.hasSuffix("Not sure: ahead in 0 of 10 batches (10 equal).") == true,
      "\(text.methods)")
    #expect(text.views[0].table.rows[0][1].whole.hasSuffix("*"))
    #expect(text.confidence.contains { $0.contains("may be off by up to 2 %") })
  }

  // MARK: - What is missing

  @Test func noNumberAndNoDescentAreSaid() throws {
    let text = try VerdictDraft([
      Method("a") { stage, batch in stage == 1 && batch == 0 ? .nan : 0.5 },
      Method("b") { stage, batch in stage == 1 && batch == 0 ? .infinity : 0.5 },
      Method("c") { stage, _ in stage == 1 ? nil : 0.5 },
    ]).text
    #expect(text.views[0].table.rows[1].prefix(4).map(\.whole) == ["epoch 1", "none", "inf!?", ""])
    #expect(
      text.sentence("a")?.hasSuffix(
        "No number in 1 of 10 batches at epoch 1, and so no mean there.") == true)
    #expect(text.sentence("b")?.contains("inf (epoch 1)") == true, "\(text.methods)")
    #expect(
      text.sentence("b")?.contains("at epoch 1, ahead in 9 of 10 batches, p = ") == true,
      "\(text.methods)")
    #expect(text.sentence("c")?.hasSuffix("Not scored at epoch 1.") == true)
    #expect(text.sentence("c")?.hasPrefix("ahead of sgd wherever it was scored") == true)
    #expect(text.legend.contains("none: a batch has no number"))
  }

  @Test func withoutSGDGammasAreCompared() throws {
    let text = try VerdictDraft(
      hasBaseline: false, [Method("ef") { _, _ in 0.5 }, Method("ief") { _, _ in 0.25 }]
    ).text
    #expect(
      text.headline
        == "Best: ief at all 3 stages. Without sgd there is nothing that methods could fail against."
    )
    #expect(text.views[0].name == "γ (1/√nats)")
    // 0.5 times the mean of 1 to 10.
    #expect(text.sentence("ef") == "γ 2.750.")
    #expect(!text.views[0].table.rows.joined().contains { $0.after.contains("!") })
  }

  @Test func sgdAloneHasNoVerdict() throws {
    #expect(try VerdictText.all(VerdictDraft([]).results).isEmpty)
    #expect(try VerdictMarkdown(VerdictDraft([]).results).text.contains("there is no verdict"))
    let alone = try VerdictDraft([Method("ng", role: "reference") { _, _ in 0.5 }]).text
    #expect(alone.headline == "No method beside the reference has a number to be judged by.")
  }

  /// What is worse than sgd at a stage is not best there.
  @Test func sgdCanBeBest() throws {
    let text = try VerdictDraft([Method("ef") { stage, _ in stage == 2 ? 2 : 0.5 }]).text
    #expect(
      text.headline == "Best: ef at epochs 0 and 1; sgd at epoch 2. Worse than sgd: ef at epoch 2.")
    #expect(text.views[0].table.rows[2][1].whole == "2.000!")
  }

  // MARK: - Dampings

  @Test func dampingIsChosenAndCounted() throws {
    let text = try VerdictDraft([
      Method("ef", damping: "1e-7") { stage, _ in [0.5, 6, 30][stage] },
      Method("ef", damping: "1e-1") { stage, _ in [0.6, 0.9, 0.5][stage] },
    ]).text
    #expect(
      text.sentence("ef")
        // Six tests: three stages, two dampings.
        == "ahead of sgd at all 3 stages: γ / γ(sgd) 0.500 (epoch 0) to 0.900 (epoch 1). Sure at all 3 "
        + "stages: in all 10 batches (p = 0.012). Its damping moves it by a factor of up to 60 (at epoch "
        + "2). With its smallest damping: falls behind sgd at epoch 1 and stays behind.")
    #expect(
      text.headline
        == "Best: ef at all 3 stages. Worse than sgd: ef with its smallest damping at epochs 1 and 2."
    )
    #expect(
      text.views.map(\.name) == ["γ / γ(sgd), best damping", "smallest damping", "efficiency"])
    #expect(text.views[1].table.rows.map { $0[1].whole } == ["[0.500]", "6.000!", "30.000!"])
  }

  /// Ten batches for 30 tests: 30 / 512 is more than 5 %.
  @Test func manyTestsNeedMoreBatches() throws {
    let text = try VerdictDraft(stages: 30, [Method("ef") { _, _ in 0.5 }]).text
    #expect(
      text.sentence("ef")?.contains(
        "Not sure: at all 30 stages, ahead in 10 of 10 batches, too few for a test at 5 %.") == true
    )
    let more = try VerdictDraft(stages: 30, batches: 12, [Method("ef") { _, _ in 0.5 }]).text
    #expect(
      more.sentence("ef")?.contains("Sure at all 30 stages: in all 12 batches (p = 0.015).") == true
    )
  }

  // MARK: - References

  @Test func referencesThatDidNotConvergeConcernEfficiency() throws {
    let text = try VerdictDraft(
      isConverged: { stage, batch in stage < 2 || batch > 0 }, [Method("ef") { _, _ in 0.5 }]
    ).text
    #expect(
      text.confidence.contains {
        $0.hasPrefix(
          "The reference did not converge in 1 of 30 batches (its γ is at most 25 % above")
      }, "\(text.confidence)")
    let rows = try #require(text.views.last?.table.rows)
    // 1 % / 0.25; one of ten batches has 0.8 of it for sure.
    #expect(rows[0].map(\.whole) == ["epoch 0", "1.0", "[4.0]"])
    #expect(rows[2].map(\.whole) == ["epoch 2", "1.0 (≥ 1.0)", "[4.0] (≥ 3.9)"])
  }
}
