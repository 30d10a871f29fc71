import ApproxEval
import ArgumentParser
import Checkpoints
import Figures

/// Two results folders beside each other.
struct Diff: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff",
    abstract: "Lists the scores in which two results folders differ.",
    discussion: """
      A row differs where its gamma moved by more than --tolerance and by more than the rounding \
      errors that both folders tell (gamma_error), or where one folder lacks it. Exit code 1 if \
      any does: a test of numbers for a continuous integration.

      Example: eval-cli diff expected/ results/ --tolerance 1e-3
      """)

  @Argument(help: "The folder with what is expected.", completion: .directory)
  var before: String

  @Argument(help: "The folder to compare with it.", completion: .directory)
  var after: String

  @Option(
    parsing: .unconditional,
    help: .init("How far gamma may move, relative to itself.", valueName: "x"))
  var tolerance = 1e-3

  @Flag(help: "List all rows that differ, and not the worst 20.")
  var all = false

  func run() throws {
    _ = try OptionValues.notNegative(tolerance, "--tolerance")
    let difference = try ResultsDifference(
      Results(folder: before), Results(folder: after), tolerance: tolerance)
    try Console.print(text(difference))
    if !difference.isEmpty { throw CheckFailure() }
  }

  private func text(_ difference: ResultsDifference) -> String {
    var text = ""
    let limit = all ? Int.max : 20
    if !difference.moved.isEmpty {
      var table = TextTable([
        ("checkpoint", .left), ("batch", .right), ("method", .left), ("damping", .left),
        ("before", .right), ("after", .right), ("moved %", .right), ("allowed %", .right),
      ])
      for row in difference.moved.prefix(limit) {
        table.append([
          row.key.checkpoint, row.key.batch, Self.method(row.key),
          row.key.damping ?? "", shortened(row.before), shortened(row.after),
          shortened(100 * row.change, digits: 2), shortened(100 * row.allowed, digits: 2),
        ])
      }
      text += table.text(Console.outputStyle) + Self.rest(difference.moved.count, limit) + "\n"
    }
    for (keys, folder) in [(difference.onlyBefore, before), (difference.onlyAfter, after)]
    where !keys.isEmpty {
      text += "only in \(printable(folder)):\n"
      for key in keys.prefix(limit) {
        text += "  \(printable(key.checkpoint)), batch \(key.batch), \(Self.method(key))"
        text += (key.damping.map { " at \($0)" } ?? "") + "\n"
      }
      text += Self.rest(keys.count, limit) + "\n"
    }
    let moved = difference.moved.count
    return text
      + wrapped(
        "\(grouped(moved)) of \(grouped(difference.compared)) rows moved by more than "
          + "\(shortened(100 * tolerance, digits: 2)) % and their errors; the largest change is "
          + "\(shortened(100 * difference.largestChange, digits: 2)) %.") + "\n"
  }

  private static func method(_ key: ResultsDifference.Key) -> String {
    key.method + (key.draws.map { $0 > 1 ? " (\($0) draws)" : "" } ?? "")
  }

  private static func rest(_ count: Int, _ limit: Int) -> String {
    count > limit ? "... and \(grouped(count - limit)) more: --all\n" : ""
  }
}
