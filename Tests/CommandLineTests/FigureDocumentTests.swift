import Foundation
import Testing

/// A Python that has pandas and seaborn, if there is one: the one that `PLOT_PYTHON` names, or
/// `python3`.
private enum PlotPython {
  static let path: String? = {
    let names = [ProcessInfo.processInfo.environment["PLOT_PYTHON"], "python3"].compactMap { $0 }
    return names.first { (try? run($0, "import pandas, seaborn", in: nil))?.status == 0 }
  }()

  static func run(
    _ name: String, _ script: String, in folder: TemporaryFolder?
  ) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [name, "-W", "error::UserWarning", "-c", script]
    process.currentDirectoryURL = folder?.url
    // Without a screen, and without a cache at home.
    process.environment = ProcessInfo.processInfo.environment.merging(["MPLBACKEND": "agg"]) { $1 }
    let output = Pipe()
    (process.standardOutput, process.standardError) = (output, output)
    try process.run()
    let said = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: said, as: UTF8.self))
  }
}

extension CommandLineTests {
  /// The blocks of Documentation/figures.md for Python, with dampings of every kind.
  @Suite(
    .enabled(
      if: PlotPython.path != nil, "no Python with pandas and seaborn; PLOT_PYTHON names one"))
  struct FigureDocumentTests {
    private static let blocks: [String] = {
      let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      let page =
        (try? String(
          contentsOf: root.appendingPathComponent("Documentation/figures.md"), encoding: .utf8))
        ?? ""
      return page.components(separatedBy: "```python\n").dropFirst().map {
        $0.components(separatedBy: "```")[0]
      }
    }()

    @Test(arguments: ["1e-7,1e-3", "rel:1e-7,rel:1e-3", "rel:1e-7,1e-2"])
    func blocksDrawEveryMethod(_ dampings: String) throws {
      #expect(Self.blocks.count == 2)
      let folder = try TemporaryFolder()
      let score = try Command.run([
        "score", Fixture.path("digits/epoch-00.bin"), Fixture.path("digits/epoch-03.bin"),
        "--data", Fixture.path("digits/digits.safetensors"), "--batch-size", "16", "--batches",
        "3", "--damping", dampings, "--methods", "sgd,ef,ief,sf,kfac", "--quiet", "--output",
        folder.path("results"),
      ])
      #expect(score.status == 0, "\(score.error)")
      // Every method is in the legend, at every damping, and in the table of every epoch.
      let check = """

        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == ["ef", "ief", "kfac", "sf"], labels
        assert set(last.groupby("method").mean_lambda.nunique()) == {2}
        for line in axes.get_legend().get_lines():
            assert line.get_linestyle() != "None", "a line in the legend"
        table = near_zero.pivot_table(index="epoch", columns="method", values="gamma_rel_sgd")
        assert sorted(table.columns) == ["ef", "ief", "kfac", "ng", "sf", "sgd"], table
        assert not table.isna().any().any(), table
        assert set(near_zero.groupby(["epoch", "method"]).size()) == {3}, "batches of one damping"
        """
      let result = try PlotPython.run(
        PlotPython.path!, Self.blocks.joined() + check, in: folder)
      #expect(result.status == 0, "\(result.output)")
      #expect(FileManager.default.fileExists(atPath: folder.path("damping.png")))
    }
  }
}
