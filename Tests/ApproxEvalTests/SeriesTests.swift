import Checkpoints
import Foundation
import TestSupport
import Testing

@testable import ApproxEval

/// What tells the checkpoints of a series apart.
@Suite struct SeriesTests {
  @Test(arguments: [
    ("run/epoch-03.pt", 3, nil, "run"),
    ("run/epoch_12/model.safetensors", 12, nil, "run"),
    ("/data/a/epoch=3-step=500.ckpt", 3, 500, "/data/a"),
    ("run/checkpoint-500", nil, nil, "run"),
    ("run/checkpoint-500/", nil, nil, "run"),
    ("a/b/run-7/step-20/adapter.pt", nil, 20, "a/b/run-7"),
    ("./last.pt", nil, nil, nil),
    ("last.pt", nil, nil, nil),
    ("epochs/last.pt", nil, nil, "epochs"),
    ("epoch-1/a/b/last.pt", nil, nil, "epoch-1/a/b"),
    ("epoch-99999999999999999999.pt", nil, nil, nil),
  ])
  func namesTellThePlace(_ path: String, _ epoch: Int?, _ step: Int?, _ run: String?) throws {
    let place = try TrainingPlace(path: path, files: InputFiles())
    #expect(place.epoch == epoch && place.step == step)
    #expect(TrainingPlace.run(of: path) == run)
  }

  @Test func patternsAreFilledAsTheCheckpointSpellsThem() throws {
    struct Untold: Error {}
    func paths(_ pattern: String, _ checkpoint: String, _ epoch: Int?, _ step: Int? = nil) throws
      -> [String]
    {
      try SeriesPattern(pattern).paths(checkpoint: checkpoint, epoch: epoch, step: step) { _ in
        Untold()
      }
    }
    #expect(try paths("s/{epoch}.pt", "run/epoch-03.pt", 3) == ["s/03.pt", "s/3.pt"])
    #expect(try paths("s/{epoch}.pt", "run/last.pt", 3) == ["s/3.pt"])
    #expect(try paths("s/{epoch}.pt", "run/epoch-3.pt", 3) == ["s/3.pt"])
    #expect(try paths("{checkpoint}/o.pt", "run/checkpoint-5", nil) == ["run/checkpoint-5/o.pt"])
    #expect(try paths("o/{name}-{step}.pt", "run/m.tar.pt", nil, 7) == ["o/m.tar-7.pt"])
    #expect(throws: Untold.self) { try paths("{epoch}", "run/last.pt", nil) }
    #expect(!SeriesPattern("adam.pt").hasPlaces && !SeriesPattern("{other}.pt").hasPlaces)
  }

  @Test func directionsAreNamedByWhatTheirFilesShare() {
    #expect(SeriesPattern("d/adam-{epoch}.safetensors").commonName == "adam")
    #expect(SeriesPattern("adam/{epoch}.safetensors").commonName == "adam")
    #expect(SeriesPattern("{name}.safetensors").commonName == "direction")
    #expect(SeriesPattern.commonName(of: ["a/adam-01.st", "a/adam-02.st"]) == "adam")
    #expect(SeriesPattern.commonName(of: ["a/adam.st", "b/adam.st"]) == "adam")
    #expect(SeriesPattern.commonName(of: ["1.st", "2.st"]) == "direction")
  }

  /// A fraction of an epoch is no epoch.
  @Test func aTrainerTellsEpochAndStep() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    func state(_ text: String) throws -> TrainerState? {
      try text.write(
        to: folder.appendingPathComponent("trainer_state.json"), atomically: true, encoding: .utf8)
      return try TrainerState.open(folder.path)
    }
    #expect(try TrainerState.open(folder.path) == nil)
    let whole = try #require(try state(#"{"epoch": 3.0, "global_step": 1500}"#))
    #expect(whole.epoch == 3 && whole.step == 1500)
    let half = try #require(try state(#"{"epoch": 2.5, "global_step": 1250}"#))
    #expect(half.epoch == nil && half.step == 1250)
    let empty = try #require(try state("{}"))
    #expect(empty.epoch == nil && empty.step == nil)
    #expect(throws: CheckpointError.self) { try state("{") }
    #expect(throws: CheckpointError.self) { try state(#"{"epoch": "x"}"#) }
  }

  @Test func checkpointsWithTheirOwnModelAreNoParametersOfAnother() throws {
    for path in ["golden/mlp_tanh.bin", "golden/exported/resnet/model.pt2"] {
      let error = try #require(throws: CheckpointError.self) {
        _ = try CheckpointSource(
          path: fixture(path), model: fixture("golden/exported/resnet/model.pt2"))
      }
      #expect(error.hint?.description == "Leave out model.")
    }
  }
}
