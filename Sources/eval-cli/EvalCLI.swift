import ApproxEval
import ArgumentParser
import CStartUp
import Checkpoints
import Foundation

/// The command and its subcommands.
struct EvalCLI: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval-cli",
    abstract: "Measures how well approximate natural-gradient updates work at a checkpoint.",
    discussion: """
      For each update method the indicator gamma says how much of the loss it could take away per \
      step: smaller is better, and the natural gradient has the least.

      Example: eval-cli score checkpoint.bin

      Exit codes: 0 done, 1 a check failed, numbers differ, training diverged, or with --strict a reference did not \
      converge, 64 wrong usage, 65 bad input data, 66 an input is missing, 69 gnuplot is missing, \
      70 a bug of ours, 73 an output cannot be written, 74 an I/O error, 130 interrupted.
      """,
    version: packageVersion,
    subcommands: [
      Score.self, Inspect.self, Reference.self, Check.self, Pack.self, Init.self, Train.self,
      Prune.self,
      Plot.self, ReportPage.self, Merge.self, Diff.self,
    ])
}

@main
enum Main {
  static func main() {
    endIdleThreadsOfOpenBLAS()
    // By `ulimit -s` it may be too little for a dense factorisation, or more than there is.
    cs_set_thread_stack(4 << 20)
    endWhereMemoryIsExhausted()
    // Beyond a limit on the size of files, writing fails as on a full disk.
    signal(SIGXFSZ, SIG_IGN)
    POSIXFileSystem.endProcessOnLostFiles(
      prefix: (Console.errorIsTerminal ? Console.erasing : "") + "error: ",
      status: ExitStatus.inputOutput.rawValue, names: .options)
    do {
      let arguments = Array(CommandLine.arguments.dropFirst())
      try requireCommand(arguments)
      try RepeatedOptions.check(arguments)
      var command = try EvalCLI.parseAsRoot()
      try command.run()
    } catch {
      let status = ExitStatus(error)
      // Help and version are thrown as well; they are results.
      if status == .done { exit(printed(EvalCLI.fullMessage(for: error)).rawValue) }
      if let text = message(for: error) { Console.log("error: " + text) }
      exit(status.rawValue)
    }
  }

  /// ArgumentParser calls an unknown command an unexpected argument, and knows none that is near.
  private static func requireCommand(_ arguments: [String]) throws(UsageError) {
    let known = EvalCLI.configuration.subcommands.map { $0._commandName } + ["help"]
    guard let word = arguments.first, !word.hasPrefix("-"), !known.contains(word) else { return }
    throw UsageError(
      "there is no command \"\(printable(word))\"", at: "eval-cli \(printable(word))",
      OptionValues.advice(on: word, known: known))
  }

  /// Prints a text that is the result of a command.
  private static func printed(_ text: String) -> ExitStatus {
    do {
      try Console.print(text.isEmpty ? "" : text + "\n")
      return .done
    } catch {
      Console.log("error: " + error.message.text(.options))
      return ExitStatus(error)
    }
  }
}
