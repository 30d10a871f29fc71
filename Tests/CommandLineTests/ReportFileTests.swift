import Checkpoints
import Foundation
import Testing

extension CommandLineTests {
  @Suite struct ReportFileTests {
    /// The columns of formats.md, "Reports".
    static let columns = [
      "scores": """
      checkpoint,epoch,step,batch,samples,method,damping,lambda,gamma,gamma_rel_sgd,\
      gamma_rel_reference,efficiency,efficiency_low,fisher_quadratic,gradient_dot,update_norm,\
      cosine_gradient,cosine_reference,seconds,mc_samples,gamma_error,precision,no_gamma,\
      family,role,marked,sharpness,fisher_within_layers,fisher_across_layers,run,sample
      """,
      "batches": """
      checkpoint,epoch,step,batch,samples,loss,gradient_norm,gradient_norm_ratio,\
      logit_gradient_norm_ratio,gamma_bound,reference_gamma,reference_iterations,\
      reference_residual,reference_stop,seconds,reference_solver,reference_excess_bound,\
      reference_excess_estimate,precision,mean_loss,reference_status,sampled_labels,\
      sampled_labels_changed,data_samples,duplicates,sampled_duplicates,reference_converged,\
      run,sequences,reference_excess_short
      """,
      "summary": """
      checkpoint,epoch,step,method,damping,mc_samples,batches,gamma_mean,gamma_std,gamma_rel_sgd_mean,\
      gamma_rel_sgd_std,gamma_rel_reference_mean,gamma_rel_reference_std,efficiency_mean,\
      efficiency_std,gamma_stderr,gamma_min,gamma_median,gamma_max,gamma_rel_sgd_stderr,\
      gamma_rel_sgd_min,gamma_rel_sgd_median,gamma_rel_sgd_max,gamma_rel_reference_stderr,\
      gamma_rel_reference_min,gamma_rel_reference_median,gamma_rel_reference_max,\
      efficiency_stderr,efficiency_min,efficiency_median,efficiency_max,\
      batches_reference_not_converged,batches_without_gamma,role,run
      """,
      "cg": "checkpoint,batch,iteration,relative_residual,gamma,seconds,run",
    ]

    @Test func columnsAreThoseOfTheFormat() throws {
      let folder = try TemporaryFolder()
      let result = try Command.run([
        "score", Fixture.path("golden/mlp_tanh.bin"), "--output", folder.path("report"), "--quiet",
      ])
      #expect(result.status == 0)
      #expect(result.error == "")
      for (name, columns) in Self.columns {
        let text = try String(contentsOfFile: folder.path("report/\(name).csv"), encoding: .utf8)
        #expect(text.components(separatedBy: "\r\n").first == columns, "\(name)")
      }
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder.path("report")).sorted()
          == ["batches.csv", "cg.csv", "journal.jsonl", "run.json", "scores.csv", "summary.csv"])
    }

    @Test func perLayerWritesLayers() throws {
      let folder = try TemporaryFolder()
      let result = try Command.run([
        "score", Fixture.path("golden/tokens_ignore.bin"), "--output", folder.path("report"),
        "--per-layer", "--methods", "sgd,kfac,adam,ng@2", "--mc-samples", "1", "--precision",
        "float64", "--reference", "dense",
      ])
      #expect(result.status == 0, "\(result.error)")
      // The model: an embedding, a layer norm, two linear layers.
      #expect(
        result.output.contains(
          "kfac: Kronecker products for 4 of 7 tensors; exact blocks for "), "\(result.output)")
      #expect(result.output.contains("Each direction restricted to one block"))
      let text = try String(contentsOfFile: folder.path("report/layers.csv"), encoding: .utf8)
      #expect(
        text.components(separatedBy: "\r\n").first == """
          checkpoint,epoch,step,batch,method,damping,mc_samples,layer,kind,parameters,status,gamma,\
          gamma_rel_sgd,efficiency,fisher_quadratic,gradient_dot,update_norm,family,role,\
          gamma_error,sharpness,fisher_share,run
          """)
      let record = try String(contentsOfFile: folder.path("report/run.json"), encoding: .utf8)
      #expect(record.contains(#""kfac_block": "embedding""#))
      #expect(record.contains(#""kfac_block": "kronecker""#))
    }

    @Test(arguments: ["mlp_tanh", "cnn_small", "mse_mlp", "tokens_ignore"])
    func numbersAreThoseOfTheGoldenCase(_ name: String) throws {
      let folder = try TemporaryFolder()
      let golden = try Fixture.json("golden/\(name).json")
      let scores = try #require(golden["scores"] as? [[String: Any]])
      let dampings = Set(scores.compactMap { $0["damping"] as? Double }).sorted()
      let result = try Command.run([
        "score", Fixture.path("golden/\(name).bin"), "--reference", "dense", "--precision",
        "float64", "--methods", "sgd,ef,ief,sf,ng", "--damping",
        dampings.map { "\($0)" }.joined(separator: ","), "--output",
        folder.path("report"),
      ])
      #expect(result.status == 0, "\(result.error)")
      let rows = try csvRows(folder.path("report/scores.csv"))
      var compared = 0
      for score in scores {
        let method = try #require(score["method"] as? String)
        let damping = score["damping"] as? Double
        let row = try #require(
          rows.first { $0["method"] == method && $0["damping"].flatMap(Double.init) == damping },
          "no row \(method) at \(String(describing: damping))")
        let gamma = try #require(Double(row["gamma"]!))
        let expected = try #require(score["gamma"] as? Double)
        let tolerance = try #require(score["rtol64"] as? Double)
        // Above this the case itself does not determine the number.
        guard tolerance < 0.05 else { continue }
        compared += 1
        #expect(
          abs(gamma - expected) <= tolerance * expected, "\(method) at \(damping ?? 0): \(gamma)")
      }
      #expect(compared > 5)
      let reference = try #require(golden["reference"] as? [String: Any])
      let best = try #require(reference["gamma"] as? Double)
      let row = try #require(rows.last { $0["method"] == "ng" && $0["damping"] == "" })
      #expect(
        abs(Double(row["gamma"]!)! - best) <= (reference["rtol64"] as? Double ?? 0) * best)
      let batch = try #require(try csvRows(folder.path("report/batches.csv")).first)
      let loss = try #require(golden["loss"] as? Double)
      // Sums of a few dozen terms in double.
      #expect(abs(Double(batch["loss"]!)! - loss) <= 1e-12 * loss)
    }

    @Test func bytesDependNeitherOnThreadsNorOnTheRun() throws {
      let folder = try TemporaryFolder()
      let runs = [("a", "1"), ("b", "2"), ("c", "1")]
      for (name, threads) in runs {
        let result = try Command.run([
          "score", Fixture.path("digits/epoch-03.bin"), Fixture.path("digits/epoch-00.bin"),
          "--data", Fixture.path("digits/digits.safetensors"), "--batch-size", "24", "--batches",
          "2", "--reference", "cg", "--cg-iterations", "5", "--threads", threads, "--output",
          folder.path(name),
        ])
        #expect(result.status == 0, "\(result.error)")
      }
      for table in ["scores", "batches", "cg", "summary"] {
        let texts = try runs.map { try csvWithoutSeconds(folder.path("\($0.0)/\(table).csv")) }
        #expect(texts[0] == texts[1], "\(table): 1 and 2 threads")
        #expect(texts[0] == texts[2], "\(table): two runs")
      }
    }

    @Test func summaryHasMeanAndDeviationOfTheScores() throws {
      let folder = try TemporaryFolder()
      let result = try Command.run([
        "score", Fixture.path("digits/epoch-03.bin"), "--data",
        Fixture.path("digits/digits.safetensors"), "--batch-size", "16", "--batches", "3",
        "--methods", "ief", "--reference", "none", "--output", folder.path("r"), "--csv",
        folder.path("s.csv"), "--format", "csv",
      ])
      #expect(result.status == 0, "\(result.error)")
      // The same rows in all three places.
      #expect(result.output == (try String(contentsOfFile: folder.path("s.csv"), encoding: .utf8)))
      let gammas = try csvRows(folder.path("r/scores.csv")).map { Double($0["gamma"]!)! }
      #expect(gammas.count == 3)
      let mean = gammas.reduce(0, +) / 3
      let deviation = (gammas.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 2).squareRoot()
      let row = try #require(try csvRows(folder.path("r/summary.csv")).first)
      // Another order of additions: a few ulps.
      #expect(abs(Double(row["gamma_mean"]!)! - mean) <= 1e-14 * mean)
      #expect(abs(Double(row["gamma_std"]!)! - deviation) <= 1e-12 * mean)
      #expect(row["batches"] == "3")
      #expect(row["efficiency_mean"] == "", "without a reference there is none")
    }

    @Test func runRecordTracesTheNumbers() throws {
      let folder = try TemporaryFolder()
      let checkpoint = Fixture.path("golden/mlp_tanh.bin")
      let result = try Command.run([
        "score", checkpoint, "--reference", "cg", "--cg-iterations", "2", "--output",
        folder.path("r"), "--format",
        "json",
      ])
      #expect(result.status == 0)
      let printed = try #require(
        try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
      let file = try Data(contentsOf: folder.url.appendingPathComponent("r/run.json"))
      let run = try #require(try JSONSerialization.jsonObject(with: file) as? [String: Any])
      let records = try [printed["run"]!, run].map {
        try JSONSerialization.data(withJSONObject: $0, options: .sortedKeys)
      }
      #expect(records[0] == records[1])
      #expect(
        Set(printed.keys) == ["run", "scores", "batches", "cg", "summary"])
      #expect((printed["scores"] as? [[String: Any]])?.count == 5)
      #expect((run["command"] as? [String])?[2] == checkpoint)
      let files = try #require(run["files"] as? [[String: Any]])
      #expect(files.count == 1)
      #expect(files[0]["bytes"] as? Int == 2984)
      // sha256sum fixtures/golden/mlp_tanh.bin
      #expect(
        files[0]["sha256"] as? String
          == "6add7f9c653730d99dad9158edc2053c3ebac547d8bd270122d2a05961dc9448")
      let notes = try #require(run["notes"] as? [String])
      #expect(notes.contains { $0.contains("the reference did not converge") })
      let start = try #require(run["start"] as? String)
      let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
      #expect(try abs(style.parse(start).timeIntervalSinceNow) < 600)
    }

    @Test func anOldReportIsReplacedAsAWhole() throws {
      let folder = try TemporaryFolder()
      let base = ["score", Fixture.path("golden/mlp_tanh.bin"), "--output", folder.path("r")]
      #expect(try Command.run(base).status == 0)
      #expect(try !csvRows(folder.path("r/cg.csv")).isEmpty)
      #expect(try Command.run(base + ["--reference", "none", "--force"]).status == 0)
      #expect(try csvRows(folder.path("r/cg.csv")).isEmpty, "no trace of the earlier run is left")
    }
  }

  @Suite struct ReferenceTests {
    @Test(arguments: ["cg", "dense"], ["float32", "float64"])
    func writtenDirectionScoresLikeTheReference(_ kind: String, _ precision: String) throws {
      // A convolution: its order in the file is not that of the engine.
      let checkpoint = Fixture.path("golden/cnn_small.bin")
      let folder = try TemporaryFolder()
      let direction = folder.path("mine.safetensors")
      let common = ["--precision", precision, "--reference", kind]
      let written = try Command.run(["reference", checkpoint, "-o", direction] + common)
      #expect(written.status == 0, "\(written.error)")
      let archive = try TensorArchive.open(direction)
      #expect(archive.tensors["c2.weight"]?.shape == [6, 4, 3, 3])
      #expect(archive.tensors["c2.weight"]?.dtype == (precision == "float32" ? .f32 : .f64))
      #expect(archive.metadata["reference"] == kind)
      #expect(try folder.content.contains("mine.csv") == (kind == "cg"))

      let scored = try Command.run(
        ["score", checkpoint, "--updates", direction, "--output", folder.path("r")] + common)
      #expect(scored.status == 0, "\(scored.error)")
      let rows = try csvRows(folder.path("r/scores.csv"))
      let mine = try #require(rows.first { $0["method"] == "update:mine" })
      let reference = try #require(rows.first { $0["method"] == "ng" })
      let (found, expected) = (Double(mine["gamma"]!)!, Double(reference["gamma"]!)!)
      // The dense reference is scored in double, its file in single precision.
      #expect(abs(found - expected) <= (precision == "float32" ? 1e-6 : 1e-14) * expected)
      // Rounding of the cosine itself.
      #expect(abs(Double(mine["cosine_reference"]!)! - 1) < 1e-6)
    }

    @Test func traceIsThatOfTheReport() throws {
      let folder = try TemporaryFolder()
      let checkpoint = Fixture.path("golden/mlp_tanh.bin")
      #expect(try Command.run(["reference", checkpoint, "-o", folder.path("ng.bin")]).status == 0)
      #expect(try Command.run(["score", checkpoint, "--output", folder.path("r")]).status == 0)
      let traces = try [folder.path("ng.csv"), folder.path("r/cg.csv")].map { path in
        try csvRows(path).map { row in row.filter { $0.key != "seconds" } }
      }
      #expect(!traces[0].isEmpty)
      #expect(traces[0] == traces[1])
    }
  }

  @Suite struct InspectAndCheckTests {
    @Test func inspectTellsEveryParameter() throws {
      let text = try Command.run([
        "inspect", Fixture.path("golden/cnn_small.bin"), "--trainable", "c*.weight",
        "--threads", "2",
      ])
      #expect(text.status == 0)
      try expectSnapshot(
        text.output.replacingOccurrences(of: Fixture.root.path, with: "FIXTURES"), "inspect")
      let json = try Command.run([
        "inspect", Fixture.path("golden/cnn_small.bin"), "--trainable", "c*.weight", "--json",
        "--threads", "2",
      ])
      try expectSnapshot(
        json.output.replacingOccurrences(of: Fixture.root.path, with: "FIXTURES"), "inspect-json")
    }

    /// Names of a Hugging Face model are longer than most terminals are wide.
    @Test(arguments: [60, 100]) func inspectFitsTheTerminal(_ width: Int) throws {
      let folder = Fixture.path("hf/vit_lora") + "/"
      let result = try Command.run(
        [
          "inspect", folder + "base", "--adapter", folder + "adapter", "--data",
          folder + "data.safetensors",
        ], environment: ["COLUMNS": String(width)])
      #expect(result.status == 0, "\(result.error)")
      // The first line is the path.
      for line in result.output.split(separator: "\n").dropFirst() {
        #expect(line.count <= width, "\(line)")
      }
      #expect(result.output.contains("weight, bias"), "without the name of the layer")
      let whole = try Command.run(
        ["inspect", folder + "base"], environment: ["COLUMNS": "", "LINES": ""])
      #expect(
        whole.output.contains("\nvit.encoder.layer.0.attention.attention.query.weight  [16, 16]"))
    }

    /// Of every checkpoint's layers no more than a screen, and where the rest is.
    @Test(arguments: [20, 50]) func layersFitTheScreen(_ height: Int) throws {
      let result = try Command.run(
        ["score", Fixture.path("digits/epoch-01.bin"), "--per-layer", "--methods", "paper"]
          + ["--reference", "none", "--quiet"], environment: ["LINES": String(height)])
      #expect(result.status == 0, "\(result.error)")
      let start = try #require(result.output.range(of: "Each direction restricted")).lowerBound
      let lines = result.output[start...].split(separator: "\n", omittingEmptySubsequences: false)
        .dropLast(2)
      // Between two empty lines, and with a prompt below.
      #expect(lines.count + 3 <= height, "\(lines.count)")
      let rest = "... and 14 of 21 rows more: --verbose, or layers.csv in the folder of --output"
      #expect(lines.contains { $0 == rest } == (height == 20), "\(result.output)")
      #expect(height == 20 || lines.count == 2 + 2 + 21)
    }

    /// As the table of scores does.
    @Test func inspectTellsWhatNothingReads() throws {
      let folder = Fixture.path("hf_double/t5_saves_shared") + "/"
      let arguments = [
        folder + "base", "--adapter", folder + "adapter", "--data", folder + "data.safetensors",
      ]
      let text = try Command.run(["inspect"] + arguments)
      #expect(text.status == 0, "\(text.error)")
      #expect(
        text.output.contains("\n\nPEFT trains 104 of the P parameters without reading them\n"))
      let scores = try Command.run(["score"] + arguments + ["--reference", "none"])
      #expect(
        scores.output.contains("\nPEFT trains 104 of the P parameters without reading them\n"))
      // Of four samples there is one batch.
      #expect(scores.output.contains("N = 4, mean loss"))
    }

    /// The batch of --batch-size, not that of the file.
    @Test func inspectEstimatesForTheBatchThatIsAskedFor() throws {
      let path = Fixture.path("golden/cnn_small.bin")
      let result = try Command.run(["inspect", path, "--batch-size", "3"])
      #expect(result.status == 0, "\(result.error)")
      #expect(result.output.contains("estimate for a batch of 3:"))
      #expect(try Command.run(["inspect", path, "--batch-size", "9"]).status == 64)
    }

    /// 12 samples through 98 weights; what the engine has counted is what the shapes predict.
    @Test func verboseComparesOperationsWithTheirPrediction() throws {
      let result = try Command.run([
        "score", Fixture.path("golden/mlp_tanh.bin"), "--verbose", "--threads", "1",
      ])
      #expect(result.status == 0, "\(result.error)")
      func operations(_ phase: String) throws -> [Substring] {
        let row = try #require(result.error.split(separator: "\n").first { $0.hasPrefix(phase) })
        let words = row.dropFirst(phase.count).split(separator: " ")
        // seconds, then number and unit of what was counted and of what was predicted
        try #require(words.count >= 5)
        return Array(words[1...4])
      }
      #expect(try operations("forward pass") == ["2.35", "kFLOP", "2.35", "kFLOP"])
      for phase in ["Gram matrices", "jvp and scores"] {
        let words = try operations(phase)
        #expect(words[0...1] == words[2...3], "\(phase)")
      }
    }

    @Test func checkPassesOnAGoldenCheckpoint() throws {
      let result = try Command.run([
        "check", Fixture.path("golden/cnn_small.bin"), "--precision", "float64",
      ])
      #expect(result.status == 0, "\(result.output)")
      #expect(result.output.contains("all 7 checks passed"))
    }
  }

  @Suite struct TableTests {
    @Test(arguments: [
      ("one-batch", ["--reference", "dense", "--batch-size", "16"]),
      ("not-converged", ["--reference", "cg", "--cg-iterations", "3"]),
      (
        "several-batches",
        [
          "--batch-size", "8", "--batches", "3", "--reference", "cg", "--cg-iterations", "2",
        ]
      ),
      ("no-reference", ["--reference", "none", "--methods", "ief,ef"]),
      (
        "marked",
        [
          Fixture.path("digits/epoch-40.bin"), "--data", Fixture.path("digits/digits.safetensors"),
          "--batch-size", "32", "--batches", "3", "--damping", "0,0.1", "--methods", "block-ef",
          "--reference", "none", "--precision", "float32",
        ]
      ),
    ])
    func tableReadsAsRecorded(_ name: String, _ options: [String]) throws {
      let result = try Command.run(
        ["score", Fixture.path("digits/epoch-20.bin"), "--quiet"] + options)
      #expect(result.status == 0, "\(result.error)")
      #expect(result.error == "")
      let lines = result.output.components(separatedBy: "\n")
      // A path is as long as it is.
      #expect(
        lines.allSatisfy { $0.count <= 80 || $0.hasSuffix(".bin") }, "\(result.output)")
      var text = Self.withoutNumbers(result.output)
      if name == "marked" {
        // How far off a marked gamma may be depends on how a processor's kernels round, and so does which
        // number is the widest, beside which a star has no space.
        let shares = result.output.replacing(/\s+/, with: " ").matches(
          of: /off by (?:up to ([0-9.e-]+) %|100 % or more)/)
        #expect(shares.count == 2)
        for share in shares {
          if let own = share.output.1.map(String.init) {
            #expect(try #require(Double(own)) < 100, "\(own)")
          }
        }
        text = text.replacing("off by # % or more", with: "off by up to # %").replacing(
          " *", with: "*")
      }
      try expectSnapshot(text, "table-" + name)
    }

    /// Words and columns only: numbers are `#`, and what depends on their widths, spaces and the
    /// ends of wrapped lines, is one space.
    private static func withoutNumbers(_ text: String) -> String {
      text.replacingOccurrences(of: Fixture.root.path, with: "FIXTURES")
        .replacing(/[0-9]+([.,][0-9]+)*(e[-+][0-9]+)?/, with: "#")
        .replacing(/\n?[ ]+/, with: " ").replacing(/-{2,}/, with: "--")
    }
  }
}
