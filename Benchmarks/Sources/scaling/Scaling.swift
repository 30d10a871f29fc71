import ApproxEval
import ArgumentParser
import Foundation
import Workloads

/// Measures how time and memory of a batch of Algorithm 4 grow with each size of a problem, beside
/// the operations that the cost model predicts.
@main
struct Scaling: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract:
      "Time and memory of 'eval-cli score' against N, P, T, C, dampings, iterations, threads.",
    discussion: "Run from the root of the checkout, after 'make build'.")

  @Option(help: "The command to measure.") var cli = ".build/release/eval-cli"
  @Option(help: "Runs of each; the median is printed.") var rounds = 3
  @Option(help: "Only tables whose titles begin so.") var only = ""

  /// One line of a table.
  struct Case {
    var value: String
    var workload: Workload
    var options: [String]
  }

  static func main() {
    endIdleThreadsOfOpenBLAS()
    ChildProcess.superviseIfAsked()
    main(nil)
  }

  func run() throws {
    print(machineDescription(threads: ProcessInfo.processInfo.activeProcessorCount))
    let none = ["--reference", "none"]
    let base = [784, 1024, 1024, 10]
    try table(
      "Samples N", "MLP 784-1024-1024-10",
      [40, 80, 160, 320, 640].map {
        Case(value: "\($0)", workload: .mlp(base, samples: $0), options: none)
      })
    try table(
      "Trainable parameters P", "MLP 784-w-w-10, N = 160; w",
      [256, 512, 1024, 2048, 4096].map {
        Case(value: "\($0)", workload: .mlp([784, $0, $0, 10], samples: 160), options: none)
      })
    try table(
      "Positions T", "MLP 128-256-64 at T scored positions, N = 32",
      [1, 4, 16, 64].map {
        Case(value: "\($0)", workload: .positions($0, [128, 256, 64], samples: 32), options: none)
      })
    try table(
      "Classes C", "MLP 784-1024-C, N = 160",
      [10, 100, 1000, 10000].map {
        Case(value: "\($0)", workload: .mlp([784, 1024, $0], samples: 160), options: none)
      })
    try table(
      "Dampings", "MLP 784-1024-1024-10, N = 160; EF, iEF and SF at each",
      [1, 4, 16, 64].map { count in
        let dampings = (0..<count).map { "\(pow(0.75, Double($0)))" }
        return Case(
          value: "\(count)", workload: .mlp(base, samples: 160),
          options: none + ["--damping", dampings.joined(separator: ",")])
      })
    try table(
      "Iterations of conjugate gradients", "MLP 784-1024-1024-10, N = 160; SGD and the reference",
      [10, 20, 40, 80].map {
        Case(
          value: "\($0)", workload: .mlp(base, samples: 160),
          options: [
            "--methods", "sgd", "--cg-iterations", "\($0)", "--cg-tolerance", "1e-30", "--cg-gap",
            "0",
          ])
      })
    try table(
      "Threads", "MLP 3072-2048-2048-10, N = 160",
      Array(1...ProcessInfo.processInfo.activeProcessorCount).map {
        Case(value: "\($0)", workload: .w1, options: none + ["--threads", "\($0)"])
      })
  }

  private func table(_ title: String, _ what: String, _ cases: [Case]) throws {
    guard title.hasPrefix(only) else { return }
    print(
      "\n## \(title)\n\(what).\n\n| value | P | seconds | peak MB |\n| ---: | ---: | ---: | ---: |")
    let folder = NSTemporaryDirectory() + "scaling-\(getpid())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for item in cases {
      let path = folder + "/checkpoint.bin"
      try item.workload.write(to: path)
      let parameters = try Evaluation().describe(checkpoint: path).trainableParameters
      let runs = try (0...rounds).map { _ in
        let child = try ChildProcess([cli, "score", path, "--quiet"] + item.options)
        _ = try child.requireSuccess("\(title) \(item.value)")
        return child
      }.dropFirst()
      print(
        "| \(item.value) | \(parameters) | \(format(median(runs.map(\.seconds)), 3)) "
          + "| \(runs.map(\.peakMemory).max()! >> 20) |")
    }
  }
}
