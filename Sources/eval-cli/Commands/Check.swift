import ApproxEval
import ArgumentParser

/// Self-check on a given model and batch.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Checks derivatives and curvature on a given model and batch.",
    discussion: """
      Compares what the engine computes with what must hold on any model: finite differences, \
      duality, symmetry. Exit code 1 if a check fails.

      Example: eval-cli check checkpoint.bin --precision float64
      """)

  @Argument(help: "The checkpoint.", completion: .file())
  var checkpoint: String

  @OptionGroup(title: "Data") var data: DataOptions

  @OptionGroup(title: "Data") var adapter: AdapterOption

  @OptionGroup(title: "Batch") var batch: BatchOptions

  @OptionGroup(title: "Computation") var engine: EngineOptions

  func run() throws {
    var options = EvaluationOptions()
    data.apply(to: &options)
    try adapter.apply(to: &options)
    try batch.apply(to: &options)
    try engine.apply(to: &options)
    let items = try Evaluation(options).selfCheck(checkpoint: checkpoint)
    try Console.print(Self.text(items))
    if items.contains(where: { !$0.passed }) { throw CheckFailure() }
  }

  private static func text(_ items: [SelfCheckItem]) -> String {
    var table = TextTable([
      ("check", .left), ("measured", .right), ("limit", .right), ("result", .left),
    ])
    for item in items {
      table.append([
        item.name, item.isApplicable ? shortened(item.measured, digits: 2) : "",
        shortened(item.limit, digits: 2),
        !item.isApplicable ? "not applicable" : item.passed ? "ok" : "FAILED",
      ])
    }
    let applicable = items.count { $0.isApplicable }
    let failed = items.filter { !$0.passed }
    let verdict =
      failed.isEmpty
      ? "all \(applicable) checks passed\n" : "\(failed.count) of \(applicable) checks failed\n"
    let remarks = items.filter { !$0.passed || !$0.isApplicable }.map {
      wrapped("\($0.name): \($0.explanation)") + "\n"
    }
    return table.text(Console.outputStyle) + verdict + remarks.joined()
  }
}
