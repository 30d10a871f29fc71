import ApproxEval
import ArgumentParser
import Checkpoints

/// The shards of a run as one.
struct Merge: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "merge",
    abstract: "Makes one results folder of the shards of a run.",
    discussion: """
      From the folders of score --shard 1/n to n/n, the tables of the run in one piece, byte for \
      byte but for seconds. Shards of other runs, twice the same and gaps are refused; what is \
      missing is told as a list for --array.

      Example: eval-cli merge part-*/ -o results/
      """)

  @Argument(help: "The folders that score --shard has written.", completion: .directory)
  var folders: [String]

  @Option(
    name: .shortAndLong, help: .init("Folder for the whole.", valueName: "dir"),
    completion: .directory)
  var output: String

  @Flag(help: "Replace results of another run.")
  var force = false

  func run() throws {
    let start = POSIXFileSystem().now
    try OutputFiles.requireWritable(folder: output)
    let merge = try shards()
    let report = try merge.write(
      to: output, force ? .replace : .new, command: CommandLine.arguments, start: start,
      names: .options)
    try Console.print(
      "written: \(printable(output)) (\(grouped(report.batchCount)) batches of "
        + "\(folders.count) shard\(folders.count == 1 ? "" : "s"))\n")
    // It is as whole as it can be; the shards have ended with an error.
    for failure in merge.failures {
      let batch = failure.batch.map { ", batch \($0)" } ?? ""
      Console.log("not scored to the end: \(printable(failure.checkpoint))\(batch)")
    }
  }

  private func shards() throws(EvaluationError) -> RunMerge {
    do throws(EvaluationError) {
      return try RunMerge(folders: folders)
    } catch {
      if case .merge(.missing(let shards, let count, _)) = error {
        Console.log(
          "missing as a job array: --array=\(MergeError.list(shards)), with --shard auto/\(count)")
      }
      throw error
    }
  }
}
