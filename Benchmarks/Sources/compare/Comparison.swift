import Foundation
import Workloads

/// One task on one workload, both sides.
struct Comparison: Codable {
  let workload: String
  let task: ComparedTask
  var ours: [OurSide.Measurement] = []
  /// Several of each variant: they alternate with ours.
  var peers: [Peer.Measurement] = []

  var seconds: Double { median(ours.map(\.seconds)) }
  var peakMemory: Int { ours.map(\.peakMemory).max() ?? 0 }

  /// The fastest variant by its median.
  var bestPeer: (variant: String, seconds: Double, memory: Int)? {
    Dictionary(grouping: peers.filter { $0.seconds != nil }, by: \.variant).map { variant, runs in
      (variant, median(runs.map { $0.seconds! }), runs.compactMap(\.peakMemory).max() ?? 0)
    }.min { ($0.1, $0.0) < ($1.1, $1.0) }
  }

  var ratio: Double? { bestPeer.map { $0.seconds / seconds } }
}

/// Everything of one run.
struct ComparisonRun: Codable {
  var machine: String
  var date: String
  /// GFLOP/s of square products of 1024 on every thread, before each round.
  var productRates: [Double] = []
  var comparisons: [Comparison] = []
  /// Share of that rate that products of a Fisher-vector product reach, by workload.
  var productShares: [String: Double] = [:]

  var json: Data {
    get throws {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      return try encoder.encode(self)
    }
  }

  /// The table of ratios, then every measurement.
  var markdown: String {
    let tasks = ComparedTask.allCases.filter { task in comparisons.contains { $0.task == task } }
    let workloads = comparisons.map(\.workload).reduce(into: [String]()) { names, name in
      if names.last != name { names.append(name) }
    }
    var lines = [
      machine,
      "",
      "sgemm 1024 on every thread in the same run: median \(format(median(productRates), 0)), best "
        + "\(format(productRates.max() ?? .nan, 0)) GFLOP/s.",
      "",
      "| best peer / ours | " + tasks.map(\.rawValue).joined(separator: " | ")
        + " | memory of alg4 | products' share of sgemm | gradients per F v |",
      "| --- |" + String(repeating: " ---: |", count: tasks.count + 3),
    ]
    for workload in workloads {
      let row = tasks.map { task -> String in
        guard let found = comparison(workload, task) else { return "" }
        return found.ratio.map { format($0, 2) } ?? "\(format(found.seconds, 3)) s"
      }
      let memory = comparison(workload, .alg4).map { "\($0.peakMemory >> 20) MB" } ?? ""
      let share = productShares[workload].map { format($0, 2) } ?? ""
      let gradients = gradientsPerProduct(workload).map { format($0, 2) } ?? ""
      let cells = [workload] + row + [memory, share, gradients]
      lines.append("| " + cells.joined(separator: " | ") + " |")
    }
    lines += [
      "", "| workload | task | ours, s | MB | best peer, s | MB | variant | all variants, s |",
      "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for found in comparisons {
      let best = found.bestPeer
      let cells = [
        found.workload, found.task.rawValue, format(found.seconds, 4),
        String(found.peakMemory >> 20), best.map { format($0.seconds, 4) } ?? "",
        best.map { String($0.memory >> 20) } ?? "", best?.variant ?? "", variants(found),
      ]
      lines.append("| " + cells.joined(separator: " | ") + " |")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// Ours: the unit that travels between machines.
  private func gradientsPerProduct(_ workload: String) -> Double? {
    guard let product = comparison(workload, .fvp), let gradient = comparison(workload, .grad)
    else { return nil }
    return product.seconds / gradient.seconds
  }

  private func comparison(_ workload: String, _ task: ComparedTask) -> Comparison? {
    comparisons.first { $0.workload == workload && $0.task == task }
  }

  private func variants(_ comparison: Comparison) -> String {
    comparison.peers.map { peer in
      "\(peer.variant) " + (peer.seconds.map { format($0, 4) } ?? peer.error ?? "no result")
    }.joined(separator: ", ")
  }
}
