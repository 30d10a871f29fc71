import ApproxEval
import ArgumentParser
import Foundation
import Workloads

/// Measures our side of every workload and task and, where a Python with the peers is given,
/// theirs in turn, and prints the ratios.
@main
struct Compare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Times the whole evaluation beside its peers.",
    discussion: """
      From the root of the checkout:
        make compare PEER_PYTHON=venv/bin/python ARGUMENTS='--workloads W1,W2'
      """)

  @Option(help: "Workloads, separated by commas.") var workloads = "W1,W2,W3,W4,W5,W6,W7"
  @Option(help: "Tasks, separated by commas.")
  var tasks = ComparedTask.allCases.map(\.rawValue).joined(separator: ",")
  @Option(help: "A Python that has the peers; without it, only our side is measured.")
  var peerPython: String?
  @Option(help: "Folder of the peers' scripts.") var peers = "Benchmarks/peers"
  @Option(help: "The command to measure.") var cli = ".build/release/eval-cli"
  @Option(help: "Folder of the configurations of the large models.")
  var configurations = "fixtures/configs"
  @Option(help: "Runs of our side before and after each of the peers'.") var rounds = 2
  @Option(help: "Runs of each peer's process.") var peerRounds = 1
  @Option(help: "Seconds of timed runs inside a peer's process.") var budget = 6.0
  @Option var threads = ProcessInfo.processInfo.activeProcessorCount
  @Option(help: "Folder for the models; kept, and used again, where given.")
  var workspace: String?
  @Option(name: .shortAndLong, help: "Name of the files to write, without .md and .json.")
  var output: String?

  // Inside the child (OurSide).
  @Option(help: .hidden) var step: String?
  @Option(help: .hidden) var checkpoint: String?
  @Option(help: .hidden) var adapter: String?
  @Option(help: .hidden) var data: String?
  @Option(help: .hidden) var batch: Int?

  static func main() {
    endIdleThreadsOfOpenBLAS()
    ChildProcess.superviseIfAsked()
    startAnewWithoutForeignSettings()
    main(nil)
  }

  /// What is measured is OpenBLAS with the kernels that it picks itself, whatever has been set for
  /// other programs. It looks at these variables when it is loaded.
  private static func startAnewWithoutForeignSettings() {
    let names = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]
    guard names.contains(where: { getenv($0) != nil }) else { return }
    for name in names { unsetenv(name) }
    var arguments = CommandLine.arguments.map { strdup($0) } + [nil]
    execv("/proc/self/exe", &arguments)
  }

  func run() throws {
    if let step = step.flatMap(ComparedTask.init), let checkpoint {
      return try OurSide.run(step, childOptions, checkpoint: checkpoint)
    }
    let tasks = try tasks.split(separator: ",").map { name in
      guard let task = ComparedTask(rawValue: String(name)) else {
        throw ValidationError("unknown task \(name)")
      }
      return task
    }
    let products = SquareProducts(threads: threads)
    let folder = workspace ?? NSTemporaryDirectory() + "compare-\(getpid())"
    defer { if workspace == nil { try? FileManager.default.removeItem(atPath: folder) } }
    var result = ComparisonRun(
      machine: machineDescription(threads: threads),
      date: Date().formatted(.iso8601.year().month().day()))
    for name in workloads.split(separator: ",").map(String.init) {
      let model = try PreparedModel(name, in: folder, configurations: configurations)
      for task in tasks {
        let comparison = try compare(task, model, products, rates: &result.productRates)
        result.comparisons.append(comparison)
        log(
          "\(name) \(task.rawValue): \(format(comparison.seconds, 4)) s"
            + (comparison.ratio.map { ", best peer / ours \(format($0, 2))" } ?? ""))
      }
      result.productShares[name] = try productShare(model, products)
      // A long run that is cut short leaves what it has.
      try write(result)
    }
    print(result.markdown)
  }

  /// Ours, a peer, ours, the next peer, ours: the machine's drift is on both sides.
  private func compare(
    _ task: ComparedTask, _ model: PreparedModel, _ products: SquareProducts,
    rates: inout [Double]
  ) throws -> Comparison {
    let side = OurSide(command: cli, threads: threads, program: CommandLine.arguments[0])
    var comparison = Comparison(workload: model.name, task: task)
    func measureOurs() throws {
      rates.append(products.rate() / 1e9)
      for _ in 0..<rounds { comparison.ours.append(try side.measure(task, model)) }
    }
    _ = try side.measure(task, model)  // files into the page cache
    try measureOurs()
    guard let peerPython else { return comparison }
    let peer = Peer(python: peerPython, scripts: peers, budget: budget)
    for _ in 0..<peerRounds {
      for variant in task.peers(model.name) {
        comparison.peers.append(try peer.measure(task, model.name, variant: variant))
        try measureOurs()
      }
    }
    return comparison
  }

  /// Time that the matrix products of a Fisher-vector product would take at the rate of sgemm,
  /// over the time that it takes: median of several rounds.
  private func productShare(_ model: PreparedModel, _ products: SquareProducts) throws -> Double {
    var options = model.options
    options.threads = threads
    let probe = try EngineProbe(checkpoint: model.checkpoint, options: options)
    let shares = try (0..<4).map { _ in
      let rate = products.rate()
      let (seconds, work) = try probe.measure(.fisherVectorProduct)
      return work.operations / rate / seconds
    }
    return median(Array(shares.dropFirst()))
  }

  private var childOptions: EvaluationOptions {
    var options = EvaluationOptions()
    options.threads = threads
    options.adapter = adapter
    options.dataFile = data
    if data != nil { (options.batchSize, options.batches) = (batch, 1) }
    options.reference = .none
    return options
  }

  private func write(_ result: ComparisonRun) throws {
    guard let output else { return }
    try result.json.write(to: URL(fileURLWithPath: output + ".json"), options: .atomic)
    try Data(result.markdown.utf8).write(
      to: URL(fileURLWithPath: output + ".md"), options: .atomic)
  }

  private func log(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
}
