import TestSupport
import Testing

@testable import Figures

/// Curves of several runs, in one folder or in several.
@Suite struct SeveralRunsTests {
  /// The same checkpoints in two folders: each is a run, and nothing is mixed.
  @Test func foldersAreRunsBesideEachOther() throws {
    let (a, b) = (try ResultsDraft(), try ResultsDraft())
    let one = try Results(folder: a.path)
    let both = try Results(folders: [a.path, b.path])
    #expect(both.scores?.count == 2 * (one.scores?.count ?? 0))
    #expect(both.records.map(\.folder) == [a.path, b.path])
    let stages = Stages((both.scores ?? []).map(\.place)).stages
    #expect(stages.map(\.position) == [0, 0, 1, 1, 2, 2], "epochs of each run")
    #expect(Set(stages.map(\.checkpoint)).count == 6)
    #expect(Set(stages.map(\.label)).count == 6, "labels tell the run")
    func curves(_ results: Results) throws -> [Curve] {
      let figure = try MethodsFigure.make(results)
      guard case .curves(let curves, _) = figure.panels[0].content else { return [] }
      return curves
    }
    let single = try curves(one)
    let several = try curves(both)
    #expect(several.count == 2 * single.count)
    #expect(Set(several.map(\.label)).count == several.count)
    for curve in single {
      let own = several.filter { $0.label.hasPrefix(curve.label + ", ") }
      #expect(own.count == 2)
      #expect(own.allSatisfy { $0.points == curve.points })
      #expect(own[0].style != own[1].style)
    }
    #expect(try Results(folders: [a.path]).scores?.count == one.scores?.count)
  }

  /// The column of one table, and names without what they have in common.
  @Test func runsOfOneTableAreCurves() throws {
    let names = RunNames(
      ["study/adam/x", "study/sgd", ""].map { Place(checkpoint: $0, batch: "0", run: $0) })
    #expect(names.label("study/sgd") == "study/sgd")
    let alike = RunNames(
      ["study/adam", "study/sgd"].map { Place(checkpoint: $0, batch: "0", run: $0) })
    #expect(alike.label("study/sgd") == "sgd" && alike.label("study/adam") == "adam")
    let alone = RunNames([Place(checkpoint: "a", batch: "0", run: "study")])
    #expect(alone.label("study") == nil)
    let stages = Stages(
      [("a", "r", 1.0), ("b", "r", 2), ("c", "s", 1)].map {
        Place(checkpoint: $0.0, epoch: $0.2, batch: "0", run: $0.1)
      })
    #expect(stages.stages.map(\.label) == ["epoch 1, r", "epoch 1, s", "epoch 2, r"])
  }

  /// What lies in a folder and its record does not tell of is another run's.
  @Test func tablesOfOthersAreNotRead() throws {
    let draft = try ResultsDraft()
    #expect(try Results(folder: draft.path).layers != nil)
    try draft.write("run.json", [#"{"tables": ["scores", "batches"]}"#])
    let results = try Results(folder: draft.path)
    #expect(results.layers == nil && results.iterates == nil)
    #expect(results.scores != nil && results.batches != nil)
  }
}
