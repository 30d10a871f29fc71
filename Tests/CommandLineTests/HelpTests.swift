import ApproxEval
import Testing

extension CommandLineTests {
  @Suite struct HelpTests {
    @Test(arguments: [
      "", "score", "inspect", "reference", "check", "pack", "init", "train", "prune", "plot",
      "report", "merge", "diff",
    ])
    func helpIsAsRecorded(_ command: String) throws {
      let result = try Command.run((command.isEmpty ? [] : [command]) + ["--help"])
      #expect(result.status == 0)
      #expect(result.error == "")
      #expect(result.output.contains("Example"), "each help shows an example")
      try expectSnapshot(result.output, "help" + (command.isEmpty ? "" : "-" + command))
    }

    @Test func versionIsThatOfReports() throws {
      let result = try Command.run(["--version"])
      #expect(result.status == 0)
      #expect(result.output == packageVersion + "\n")
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func completionsAreOffered(_ shell: String) throws {
      let result = try Command.run(["--generate-completion-script", shell])
      #expect(result.status == 0)
      #expect(result.output.contains("drop-duplicates"))
    }
  }
}
