import Foundation
import Testing

extension CommandLineTests {
  /// Wrong usage: exit code 64 before anything is read, and a text that says what, where and how.
  @Suite struct UsageTests {
    struct Case: CustomTestStringConvertible, Sendable {
      var name: String
      var arguments: [String]
      var testDescription: String { name }
    }

    static let cases = [
      Case(name: "no-command-of-this-name", arguments: ["scores"]),
      Case(name: "unlike-any-command", arguments: ["x.bin", "y.bin"]),
      Case(name: "no-checkpoint", arguments: ["score"]),
      Case(
        name: "method-among-checkpoints", arguments: ["score", "x.bin", "--methods", "sgd", "ief"]),
      Case(name: "scores-to-a-dash", arguments: ["score", "x.bin", "--csv", "-"]),
      Case(name: "unknown-option", arguments: ["score", "x.bin", "--treads", "2"]),
      Case(name: "unknown-method", arguments: ["score", "x.bin", "--methods", "sgd,iefs"]),
      Case(name: "unlike-any-method", arguments: ["score", "x.bin", "--methods", "quasi-newton"]),
      Case(name: "empty-method", arguments: ["score", "x.bin", "--methods", "sgd,,ef"]),
      Case(name: "negative-damping", arguments: ["score", "x.bin", "--damping", "-1e-3"]),
      Case(name: "no-damping", arguments: ["score", "x.bin", "--damping", "rel:"]),
      Case(name: "infinite-damping", arguments: ["score", "x.bin", "--damping", "1,inf"]),
      Case(name: "zero-batch-size", arguments: ["score", "x.bin", "--batch-size", "0"]),
      Case(name: "zero-batches", arguments: ["score", "x.bin", "--batches", "0"]),
      Case(name: "negative-first-batch", arguments: ["score", "x.bin", "--first-batch", "-1"]),
      Case(name: "too-many-batches", arguments: ["score", "x.bin", "--batches", "9999999999"]),
      Case(name: "resume-nothing", arguments: ["score", "x.bin", "--resume"]),
      Case(
        name: "strict-about-nothing",
        arguments: ["score", "x.bin", "--strict", "--reference", "none"]),
      Case(name: "zero-threads", arguments: ["score", "x.bin", "--threads", "0"]),
      Case(name: "too-many-threads", arguments: ["check", "x.bin", "--threads", "5000"]),
      Case(name: "negative-threads", arguments: ["score", "x.bin", "--threads", "-2"]),
      Case(name: "too-many-draws", arguments: ["score", "x.bin", "--mc-samples", "9999999999"]),
      Case(name: "no-iteration", arguments: ["score", "x.bin", "--methods", "ng@0"]),
      Case(name: "draws-by-name", arguments: ["score", "x.bin", "--mc-samples", "1,many"]),
      Case(name: "zero-draws", arguments: ["score", "x.bin", "--mc-samples", "0"]),
      Case(
        name: "zero-iterations", arguments: ["reference", "x", "-o", "y", "--cg-iterations", "0"]),
      Case(
        name: "too-many-iterations",
        arguments: ["reference", "x", "-o", "y", "--cg-iterations", "\(Int.max)"]),
      Case(
        name: "too-many-truncated-iterations",
        arguments: ["score", "x.bin", "--methods", "ng@\(Int.max)"]),
      Case(
        name: "too-many-epochs",
        arguments: ["train", "x.bin", "--data", "y", "-o", "z", "--epochs", "\(Int.max)"]),
      Case(name: "negative-tolerance", arguments: ["score", "x.bin", "--cg-tolerance", "-1"]),
      Case(name: "nan-gap", arguments: ["score", "x.bin", "--cg-gap", "nan"]),
      Case(name: "infinite-cg-damping", arguments: ["score", "x.bin", "--cg-damping", "inf"]),
      Case(name: "cosine-above-one", arguments: ["score", "x.bin", "--drop-duplicates", "1.5"]),
      Case(name: "unknown-unit", arguments: ["score", "x.bin", "--memory", "8XB"]),
      Case(name: "no-amount", arguments: ["score", "x.bin", "--memory", "GB"]),
      Case(name: "zero-memory", arguments: ["score", "x.bin", "--memory", "0"]),
      Case(name: "negative-memory", arguments: ["score", "x.bin", "--memory", "-1GB"]),
      Case(name: "endless-memory", arguments: ["score", "x.bin", "--memory", "9999999999TB"]),
      Case(name: "unknown-precision", arguments: ["score", "x.bin", "--precision", "half"]),
      Case(name: "unknown-reference", arguments: ["score", "x.bin", "--reference", "exact"]),
      Case(name: "no-solver", arguments: ["reference", "x", "-o", "y", "--reference", "none"]),
      Case(
        name: "preconditioned-lsqr",
        arguments: ["score", "x", "--reference", "lsqr", "--cg-preconditioner", "sf"]),
      Case(
        name: "unknown-preconditioner",
        arguments: ["reference", "x", "-o", "y", "--cg-preconditioner", "ilu"]),
      Case(name: "quiet-and-verbose", arguments: ["score", "x.bin", "--quiet", "--verbose"]),
      Case(name: "trace-over-direction", arguments: ["reference", "x.bin", "-o", "y.csv"]),
      Case(name: "no-output", arguments: ["reference", "x.bin"]),
      Case(name: "no-number", arguments: ["score", "x.bin", "--batch-size", "many"]),
      Case(name: "unknown-format", arguments: ["plot", "x", "--format", "svg,jpeg"]),
      Case(name: "repeated-option", arguments: ["score", "x.bin", "--seed", "1", "--seed=2"]),
      Case(
        name: "repeated-short-option", arguments: ["reference", "x", "-o", "y", "--output", "z"]),
      Case(name: "order-of-nothing", arguments: ["score", "x.bin", "--parameter-order", "y.txt"]),
      Case(name: "negative-seed", arguments: ["score", "x.bin", "--seed", "-1"]),
    ]

    @Test(arguments: cases) func wrongUsageIsToldApart(_ test: Case) throws {
      let result = try Command.run(test.arguments)
      #expect(result.status == 64, "\(result.error)")
      #expect(result.output == "")
      #expect(result.error.hasPrefix("error: "))
      try expectSnapshot(result.error, "usage-" + test.name)
    }

    /// What follows an option is its value, and what collects may be repeated.
    @Test func whatMayBeRepeatedIs() throws {
      let result = try Command.run([
        "score", Fixture.path("golden/toy_logistic.bin"), "--trainable", "*.weight", "--trainable",
        "*.bias", "--quiet", "--quiet", "--damping", "--damping",
      ])
      #expect(result.status == 64)
      #expect(result.error.hasPrefix("error: damping \"--damping\" is not a number"))
    }

    @Test(arguments: [
      ("8GB", 8_000_000_000), ("8G", 8_000_000_000), ("512mb", 512_000_000), ("1 GiB", 1 << 30),
      ("16777216", 1 << 24), ("33554432B", 1 << 25),
    ])
    func memoryIsReadInEveryForm(_ text: String, _ bytes: Int) throws {
      let result = try Command.run([
        "score", Fixture.path("golden/toy_logistic.bin"), "--memory", text, "--format", "json",
        "--threads", "1", "--reference", "none",
      ])
      #expect(result.status == 0, "\(result.error)")
      #expect(result.output.contains("\"memory\": \(bytes),"))
    }

    /// An amount that is understood and not enough is refused with what would be enough.
    @Test(arguments: [("1.5KiB", "1.54 kB"), ("7B", "7 bytes"), ("1", "1 byte")])
    func littleMemoryIsRefusedWithWhatIsNeeded(_ text: String, _ allowed: String) throws {
      let result = try Command.run([
        "score", Fixture.path("golden/mlp_tanh.bin"), "--memory", text, "--threads", "1",
        "--reference", "none",
      ])
      #expect(result.status == 65 && result.output.isEmpty)
      #expect(result.error.contains("\(allowed) are allowed (--memory)"), "\(result.error)")
      #expect(result.error.contains("--memory "), "\(result.error)")
    }
  }
}
