import ApproxEval
import Foundation
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

    /// What bash offers behind a line, by the script that `make install` puts in place.
    @Test(arguments: [
      ("score --methods kf", ["kfac", "kfac@exact", "kfac@reduce", "kfac@exact@reduce"]),
      ("score --methods sgd,pa", ["sgd,paper"]),
      ("score --reference d", ["dense"]),
      ("train --optimizer adamw", ["adamw"]),
    ])
    func bashCompletes(_ line: String, _ offered: [String]) throws {
      let folder = try TemporaryFolder()
      try """
      PATH="$(dirname "$1"):$PATH"
      . <(eval-cli --generate-completion-script bash)
      COMP_LINE='eval-cli \(line)' COMP_WORDS=(eval-cli \(line))
      COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_POINT=${#COMP_LINE}
      _eval-cli eval-cli "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
      printf '%s\\n' "${COMPREPLY[@]}"
      """.write(toFile: folder.path("tab"), atomically: true, encoding: .utf8)
      let result = try Command.start([], shell: "bash '\(folder.path("tab"))' \"$0\"").result()
      #expect(result.output.split(separator: "\n").map(String.init) == offered, "\(result.error)")
    }
  }
}
