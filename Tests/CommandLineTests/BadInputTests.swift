import Checkpoints
import Foundation
import Testing

extension CommandLineTests {
  /// Files that are missing, damaged or wrong: the exit code, the text, and nothing written.
  @Suite struct BadInputTests {
    struct Case: CustomTestStringConvertible, Sendable {
      var name: String
      var status: Int32 = 65
      var options: [String] = []
      /// Makes `checkpoint.bin` in the folder.
      var make: @Sendable (TemporaryFolder) throws -> Void
      var testDescription: String { name }

      /// The golden checkpoint with a change.
      static func changed(
        _ name: String, status: Int32 = 65, options: [String] = [],
        _ change: @escaping @Sendable (inout CheckpointDraft) -> Void
      ) -> Case {
        Case(name: name, status: status, options: options) { folder in
          var draft = try CheckpointDraft()
          change(&draft)
          try draft.write(to: folder.path("checkpoint.bin"))
        }
      }

      static func model(_ name: String, _ old: String, _ new: String) -> Case {
        changed(name) {
          $0.metadata["model"] = $0.metadata["model"]!.replacingOccurrences(of: old, with: new)
        }
      }

      static func bytes(_ name: String, _ make: @escaping @Sendable (Data) throws -> Data) -> Case {
        Case(name: name) { folder in
          let whole = try Data(
            contentsOf: URL(fileURLWithPath: Fixture.path("golden/mlp_tanh.bin")))
          try make(whole).write(to: folder.url.appendingPathComponent("checkpoint.bin"))
        }
      }
    }

    static let cases: [Case] = [
      Case(name: "missing", status: 66) { _ in },
      Case(name: "directory", status: 66) { folder in
        try FileManager.default.createDirectory(
          atPath: folder.path("checkpoint.bin"), withIntermediateDirectories: false)
      },
      .bytes("empty") { _ in Data() },
      .bytes("truncated-header") { $0.prefix(200) },
      .bytes("truncated-data") { $0.prefix(2000) },
      .bytes("text") { _ in Data("layers: 3\n".utf8) },
      .bytes("network") { _ in
        try Data(contentsOf: URL(fileURLWithPath: Fixture.path("data/exported/mixing.pt2")))
      },
      .changed("nan-weight") { $0.set("params.2.weight", 3, Double.nan) },
      .changed("infinite-input") { $0.set("batch.inputs", 9, -Double.infinity) },
      .changed("beyond-float32", options: ["--precision", "float32"]) {
        $0.set("params.2.weight", 3, 1e300)
      },
      .changed("overflowing-logits", options: ["--precision", "float32"]) {
        for index in 0..<5 { $0.set("params.4.weight", index, 3e38) }
      },
      .model("unknown-layer", "\"tanh\"", "\"tahn\""),
      .model("unknown-option", "\"in_features\": 8,", "\"in_features\": 8, \"baias\": true,"),
      .model("layers-do-not-fit", "\"out_features\": 6", "\"out_features\": 7"),
      .model("model-is-no-json", "[8]", "[8"),
      .changed("unknown-model") { $0.metadata["model"] = "{\"type\": \"mlp\"}" },
      .changed("unknown-loss") { $0.metadata["loss"] = "cross-entropy" },
      .changed("other-format") { $0.metadata["format"] = "pt" },
      .changed("extra-parameter") { $0.tensors["params.6.bias"] = $0.tensors["params.4.bias"] },
      .changed("missing-parameter") { $0.tensors["params.2.bias"] = nil },
      .changed("wrong-shape") { $0.tensors["params.0.weight"]!.shape = [8, 6] },
      .changed("integer-parameter") { $0.tensors["params.0.bias"]!.dtype = .i64 },
      .changed("label-out-of-range") { $0.set("batch.labels", 7, Int64(4)) },
      .changed("nothing-scored") {
        for index in 0..<12 { $0.set("batch.labels", index, Int64(-100)) }
      },
      .changed("real-labels") { $0.tensors["batch.labels"]!.dtype = .f64 },
      .changed("smoothing-of-one") { $0.metadata["label_smoothing"] = "1" },
      .changed("negative-smoothing") { $0.metadata["label_smoothing"] = "-0.1" },
      .changed("smoothing-in-words") { $0.metadata["label_smoothing"] = "some" },
      .changed("smoothing-of-mse") {
        $0.metadata["label_smoothing"] = "0.1"
        $0.metadata["loss"] = "mse"
      },
      .changed("too-few-class-weights") { $0.metadata["class_weights"] = "[1, 2, 3]" },
      .changed("negative-class-weight") { $0.metadata["class_weights"] = "[1, 2, -3, 4]" },
      .changed("infinite-class-weight") {
        $0.tensors["class_weights"] = doubles([1, 2, .infinity, 4], [4])
      },
      .changed("class-weights-twice") {
        $0.metadata["class_weights"] = "[1, 2, 3, 4]"
        $0.tensors["batch.class_weights"] = doubles([1, 2, 3, 5], [4])
      },
      .changed("only-zero-class-weights") { $0.metadata["class_weights"] = "[0, 0, 0, 0]" },
      .changed("positive-weights-of-classes") { $0.metadata["pos_weight"] = "[1, 2, 3, 4]" },
      .changed("unknown-reduction") { $0.metadata["reduction"] = "none" },
      .changed("other-ignore-index") { $0.metadata["ignore_index"] = "0" },
      .changed("loss-by-another-name") { $0.metadata["problem_type"] = "regression" },
      .changed("sample-weight") { $0.tensors["batch.sample_weight"] = doubles(ones, [12]) },
      .changed("too-few-weights") { $0.tensors["batch.weights"] = doubles([1, 1], [2]) },
      .changed("weights-of-classes") {
        $0.tensors["batch.weights"] = doubles([Double](repeating: 1, count: 48), [12, 4])
      },
      .changed("negative-weight") {
        $0.tensors["batch.weights"] = doubles(ones.dropLast() + [-1], [12])
      },
      .changed("nan-weight-of-a-sample") {
        $0.tensors["batch.weights"] = doubles([.nan] + ones.dropLast(), [12])
      },
      .changed("only-zero-weights") {
        $0.tensors["batch.weights"] = doubles(ones.map { _ in 0 }, [12])
      },
      .changed("soft-labels-above-one") {
        $0.tensors["batch.labels"] = softLabels { $0[5] = 0.5 }
      },
      .changed("negative-soft-label") {
        $0.tensors["batch.labels"] = softLabels { ($0[5], $0[6]) = (-0.25, 0.75) }
      },
      .changed("nan-soft-label") { $0.tensors["batch.labels"] = softLabels { $0[5] = .nan } },
      .changed("soft-labels-of-three-classes") {
        $0.tensors["batch.labels"] = doubles([Double](repeating: 0.25, count: 36), [12, 3])
      },
      Case(name: "data-with-a-loss-of-its-own", options: ["--data", "DIR/data.npz"]) { folder in
        try CheckpointDraft().write(to: folder.path("checkpoint.bin"))
        var writer = data(samples: 5)
        writer.add("loss_weights", dtype: .f64, shape: [5], data: Data(count: 40))
        try writer.write(to: folder.path("data.npz"))
      },
      Case(name: "data-for-another-loss", options: ["--data", "DIR/data.npz"]) { folder in
        try CheckpointDraft().write(to: folder.path("checkpoint.bin"))
        try data(samples: 5, metadata: ["loss": "mse"]).write(to: folder.path("data.npz"))
      },
      .changed("zero-samples") {
        $0.tensors["batch.inputs"] = (.f64, [0, 8], Data())
        $0.tensors["batch.labels"] = (.i64, [0], Data())
        $0.tensors["batch.sampled_labels"] = nil
      },
      .changed("too-few-labels") {
        $0.tensors["batch.labels"] = (.i64, [11], $0.tensors["batch.labels"]!.data.prefix(88))
        $0.tensors["batch.sampled_labels"] = nil
      },
      .changed("no-batch", status: 66) {
        for name in $0.tensors.keys where name.hasPrefix("batch.") { $0.tensors[name] = nil }
      },
      .changed("no-such-data", status: 66, options: ["--data", "/nowhere/train.npz"]) { _ in },
      Case(name: "data-of-zero-bytes", options: ["--data", "DIR/data.npz"]) { folder in
        try CheckpointDraft().write(to: folder.path("checkpoint.bin"))
        try Data().write(to: folder.url.appendingPathComponent("data.npz"))
      },
      Case(name: "data-without-samples", options: ["--data", "DIR/data.npz"]) { folder in
        try CheckpointDraft().write(to: folder.path("checkpoint.bin"))
        try data(samples: 0).write(to: folder.path("data.npz"))
      },
      Case(
        name: "batch-larger-than-data", status: 64,
        options: ["--data", "DIR/data.npz", "--batch-size", "6"]
      ) { folder in
        try CheckpointDraft().write(to: folder.path("checkpoint.bin"))
        try data(samples: 5).write(to: folder.path("data.npz"))
      },
      .changed("batch-too-large", status: 64, options: ["--batch-size", "13"]) { _ in },
      .changed("too-many-draws", status: 64, options: ["--mc-samples", "2"]) { _ in },
      .changed("unknown-update", status: 64, options: ["--methods", "update:mine"]) { _ in },
      .changed("nothing-trainable", status: 64, options: ["--trainable", "5.*"]) { _ in },
      .changed("nearly-trainable", status: 64, options: ["--trainable", "0.wieght"]) { _ in },
      .changed("nothing-trainable-in-file") { $0.metadata["trainable"] = "[\"5.*\"]" },
      .changed("integer-update") {
        for (name, tensor) in $0.tensors where name.hasPrefix("params.") {
          $0.tensors["updates.mine." + name.dropFirst(7)] = tensor
        }
        $0.tensors["updates.mine.0.bias"]!.dtype = .i64
      },
      .changed("too-little-memory", status: 65, options: ["--memory", "1KB"]) { _ in },
      .changed("no-such-update", status: 66, options: ["--updates", "/nowhere/ng.bin"]) { _ in },
      .changed("partial-update") {
        $0.tensors["updates.mine.0.bias"] = $0.tensors["params.0.bias"]
      },
    ]

    private static let ones = [Double](repeating: 1, count: 12)

    private static func doubles(_ values: [Double], _ shape: [Int]) -> (DType, [Int], Data) {
      (.f64, shape, values.withUnsafeBytes { Data($0) })
    }

    /// For the golden checkpoint: all classes alike, but for a change.
    private static func softLabels(
      _ change: (inout [Double]) -> Void
    ) -> (DType, [Int], Data) {
      var values = [Double](repeating: 0.25, count: 48)
      change(&values)
      return doubles(values, [12, 4])
    }

    /// For the golden checkpoint.
    private static func data(
      samples: Int, metadata: [String: String] = [:]
    ) -> SafetensorsWriter {
      var writer = SafetensorsWriter(metadata: metadata)
      writer.add(
        "inputs", dtype: .f64, shape: [samples, 8], data: Data(count: samples * 8 * 8))
      writer.add("labels", dtype: .i64, shape: [samples], data: Data(count: samples * 8))
      return writer
    }

    @Test(arguments: cases) func badInputIsNamedAndNothingIsWritten(_ test: Case) throws {
      let folder = try TemporaryFolder()
      try test.make(folder)
      let before = try folder.content
      let result = try Command.run(
        ["score", folder.path("checkpoint.bin"), "--threads", "1", "--quiet"]
          + test.options.map { $0.replacingOccurrences(of: "DIR", with: folder.url.path) }
          + ["--output", folder.path("report/deep"), "--csv", folder.path("scores.csv")])
      #expect(result.status == test.status, "\(result.error)")
      #expect(result.output == "")
      #expect(try folder.content == before, "nothing is written when a run fails")
      let text = result.error.replacingOccurrences(of: folder.url.path, with: "DIR")
      #expect(text.hasPrefix("error: "))
      try expectSnapshot(text, "input-" + test.name)
    }

    /// Of an optimiser that nobody knows, of another model, of one of several checkpoints, two of them.
    @Test(arguments: [
      (["golden/mlp_tanh"], ["adamax"], 65, "the optimiser is one with the settings (betas,"),
      (
        ["golden/mlp_tanh"], ["adam"], 65,
        "the optimiser's state is one for 4 parameters, expected 6"
      ),
      (["data/optimizer/checkpoint"], ["two"], 65, "the file is the states of 2 optimisers"),
      (
        ["data/optimizer/checkpoint", "data/optimizer/checkpoint"], ["adam"], 64,
        "one file for 2 checkpoints"
      ),
      (
        ["data/optimizer/checkpoint"], ["adam", "adam"], 64,
        "2 files for 1 checkpoint"
      ),
    ])
    func statesThatDoNotFitAreRefused(
      _ checkpoints: [String], _ states: [String], _ status: Int32, _ message: String
    ) throws {
      let result = try Command.run(
        ["score"] + checkpoints.map { Fixture.path($0 + ".bin") }
          + states.flatMap { ["--optimizer-state", Fixture.path("data/optimizer/\($0).pt")] })
      #expect(result.status == status)
      #expect(result.output == "")
      #expect(result.error.hasPrefix("error: " + message), "\(result.error)")
      // Where, in a line of its own.
      #expect(result.error.contains("\n  at "))
    }

    /// The second checkpoint is bad, which its header tells: the first is not scored either.
    @Test func oneBadHeaderFailsTheRunBeforeItBegins() throws {
      let folder = try TemporaryFolder()
      var draft = try CheckpointDraft()
      draft.tensors["params.2.bias"] = nil
      try draft.write(to: folder.path("bad.bin"))
      let result = try Command.run([
        "score", Fixture.path("golden/mlp_tanh.bin"), folder.path("bad.bin"), "--verbose",
      ])
      #expect(result.status == 65)
      #expect(result.output == "")
      #expect(result.error.hasPrefix("error: there is no tensor params.2.bias"))
    }

    /// What an option asks for is checked against every checkpoint first: updates were opened, and
    /// draws counted, when their checkpoint's turn came.
    @Test(arguments: [
      ["--updates", "bad"], ["--methods", "update:mine"], ["--mc-samples", "2"],
    ])
    func optionsAreCheckedBeforeTheRun(_ options: [String]) throws {
      let folder = try TemporaryFolder()
      try CheckpointDraft().write(to: folder.path("second.bin"))
      var draft = try CheckpointDraft()
      draft.tensors["batch.sampled_labels"] = nil
      for (name, tensor) in draft.tensors where name.hasPrefix("params.") {
        draft.tensors["updates.mine." + name.dropFirst(7)] = tensor
      }
      try draft.write(to: folder.path("first.bin"))
      let result = try Command.run(
        ["score", folder.path("first.bin"), folder.path("second.bin"), "--verbose"]
          + options.map { $0 == "bad" ? folder.path("second.bin") : $0 })
      #expect(result.status == 64)
      #expect(result.output == "")
      #expect(result.error.hasPrefix("error: "), "no batch was scored: \(result.error)")
    }

    @Test(arguments: [
      ["inspect"], ["check"], ["reference", "-o", "/tmp/never-written.safetensors"],
      ["pack", "-o", "/tmp/never-written.bin"],
    ])
    func everyCommandSaysWhatIsMissing(_ arguments: [String]) throws {
      let result = try Command.run(arguments + ["/nowhere/checkpoint.bin"])
      #expect(result.status == 66)
      #expect(result.output == "")
      #expect(result.error.hasPrefix("error: no such file\n  at /nowhere/checkpoint.bin\n"))
    }
  }

  @Suite struct OutputTests {
    /// Below a file there can be no folder, not even for root.
    @Test(arguments: ["--output", "--csv"])
    func unwritableOutputIsFoundBeforeTheComputation(_ option: String) throws {
      let folder = try TemporaryFolder()
      try Data().write(to: folder.url.appendingPathComponent("file"))
      let result = try Command.run([
        "score", Fixture.path("golden/mlp_tanh.bin"), option, folder.path("file/report"),
        "--verbose",
      ])
      #expect(result.status == 73)
      #expect(result.output == "")
      let text = result.error.replacingOccurrences(of: folder.url.path, with: "DIR")
      try expectSnapshot(text, "output-below-a-file")
      #expect(try folder.content == ["file"])
    }

    #if os(Linux)
      @Test func fullStandardOutputIsAnError() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = [
          "-c", "\"$0\" inspect \"$1\" > /dev/full 2> /dev/null", Command.path,
          Fixture.path("golden/mlp_tanh.bin"),
        ]
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 73)
      }
    #endif
  }
}
