import Checkpoints
import Foundation
import Testing

extension CommandLineTests {
  @Suite struct PruneTests {
    private let checkpoint = Fixture.path("digits/epoch-40.bin")
    private let data = ["--data", Fixture.path("digits/digits.safetensors")]

    private func prune(_ arguments: [String]) throws -> Command.Result {
      try Command.run(["prune"] + arguments)
    }

    @Test func modelsAreWrittenAndScored() throws {
      let temporary = try TemporaryFolder()
      let folder = temporary.path("pruned")
      let arguments =
        [checkpoint, "--sparsity", "0.5,0.9", "--batch-size", "200", "--block-size", "500"] + data
        + ["-o", folder]
      let result = try prune(arguments)
      #expect(result.status == 0, "\(result.error)")
      #expect(result.error.contains("3,392 of 3,466 parameters may go"))
      #expect(result.output.hasSuffix("written: \(folder)\n"))
      let names = ["ef", "ief", "magnitude"].flatMap { ["\($0)-0.5.bin", "\($0)-0.9.bin"] }
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
          == names + ["prune.json", "pruning.csv"])
      let rows = try csvRows(folder + "/pruning.csv")
      #expect(rows.map { $0["checkpoint"] } == [""] + names)
      #expect(
        rows.map { $0["removed"] } == ["0"] + ["1696", "3053", "1696", "3053", "1696", "3053"])
      #expect(
        rows.map { $0["damping"] } == [""] + [String](repeating: "rel:1e-2", count: 4) + ["", ""])
      for row in rows { #expect(try #require(Double(row["loss"] ?? "")) > 0.06) }
      // The file is read as any other, and has the samples that it is scored on.
      let score = try Command.run(["score", folder + "/ief-0.5.bin", "--reference", "none"])
      #expect(score.status == 0 && score.output.contains("N = 160"), "\(score.error)")
      // What is there stays, unless it is to be replaced.
      let again = try prune(arguments)
      #expect(again.status == 73 && again.error.contains("pruning.csv"))
      #expect(try prune(arguments + ["--force", "--quiet"]).error == "")
    }

    /// Dampings are tried side by side, and told apart in the names of files.
    @Test func dampingsAreCompared() throws {
      let temporary = try TemporaryFolder()
      let folder = temporary.path("pruned")
      let result = try prune(
        [checkpoint, "--sparsity", "0.5", "--methods", "ief", "--damping", "1e-2,rel:1e-3"]
          + ["--block-size", "100", "--quiet", "-o", folder])
      #expect(result.status == 0 && result.error == "", "\(result.error)")
      #expect(result.output.contains("damping"))
      let rows = try csvRows(folder + "/pruning.csv")
      #expect(
        rows.map { $0["checkpoint"] } == ["", "ief-1e-2-0.5.bin", "ief-rel1e-3-0.5.bin"])
      #expect(Double(rows[1]["lambda"] ?? "") == 0.01)
    }

    /// The vectors that there are at the worst moment are those that were planned.
    @Test(arguments: ["sum", "joint"], ["1", "2"])
    func memoryIsAsPlanned(_ update: String, _ threads: String) throws {
      let temporary = try TemporaryFolder()
      let folder = temporary.path("pruned")
      let result = try prune(
        [checkpoint, "--sparsity", "0.5,0.8", "--batch-size", "700", "--block-size", "600"] + data
          + ["--update", update, "--threads", threads, "--quiet", "-o", folder])
      #expect(result.status == 0, "\(result.error)")
      let record = try JSONSerialization.jsonObject(
        with: Data(contentsOf: URL(fileURLWithPath: folder + "/prune.json")))
      let fields = try #require(record as? [String: Any])
      let planned = try #require(fields["planned_memory"] as? Double)
      let allocated = try #require(fields["allocated_memory"] as? Double)
      // Pages of files are planned for, and no vectors.
      #expect(allocated <= planned && allocated > 0.95 * planned, "\(allocated) of \(planned)")
    }

    static let mistakes: [(name: String, status: Int32, options: [String])] = [
      ("sparsity-one", 64, ["--sparsity", "0.5,1"]),
      ("sparsity-negative", 64, ["--sparsity", "-0.1"]),
      ("sparsity-in-words", 64, ["--sparsity", "half"]),
      ("no-sparsity", 64, []),
      ("unknown-method", 64, ["--sparsity", "0.5", "--methods", "ef,iefs"]),
      ("unlike-any-method", 64, ["--sparsity", "0.5", "--methods", "obd-like"]),
      ("no-damping", 64, ["--sparsity", "0.5", "--damping", "rel:0"]),
      ("negative-damping", 64, ["--sparsity", "0.5", "--damping", "-1"]),
      ("empty-block", 64, ["--sparsity", "0.5", "--block-size", "0"]),
      ("unknown-update", 64, ["--sparsity", "0.5", "--update", "single"]),
      ("batch-too-large", 64, ["--sparsity", "0.5", "--batch-size", "161"]),
      ("unknown-weights", 64, ["--sparsity", "0.5", "--weights", "fc1.wieght"]),
      ("nothing-to-prune", 64, ["--sparsity", "0.5", "--trainable", "*.bias"]),
      (
        "frozen-weights", 64,
        ["--sparsity", "0.5", "--trainable", "*.bias", "--weights", "fc1.weight"]
      ),
    ]

    @Test(arguments: mistakes.indices)
    func mistakeIsNamedAndNothingIsWritten(_ index: Int) throws {
      let (name, status, options) = Self.mistakes[index]
      let temporary = try TemporaryFolder()
      let result = try prune([checkpoint, "-o", temporary.path("pruned")] + options)
      #expect(result.status == status, "\(result.error)")
      #expect(result.output == "")
      #expect(try temporary.content == [])
      try expectSnapshot(
        result.error.replacingOccurrences(of: Fixture.root.path, with: "fixtures"),
        "prune-" + name)
    }

    @Test func littleMemoryIsRefused() throws {
      let result = try prune([checkpoint, "--sparsity", "0.5", "--memory", "5kB"])
      #expect(result.output == "" && [64, 65].contains(result.status))
      #expect(result.error.contains("the inverse Fisher matrix of a batch of"), "\(result.error)")
    }
  }
}
