import ApproxEval
import Foundation
import Workloads

/// Measures one workload.
struct Report {
  let workload: Workload
  let probe: EngineProbe
  let steps: [EngineProbe.Step]
  let rounds: Int

  func run() throws -> String {
    let products = SquareProducts(threads: probe.options.threads)
    var rates: [Double] = []
    var times: [EngineProbe.Step: [Double]] = [:]
    // The first round only warms up: pages, caches, the clock of the processor.
    for round in 0...rounds {
      let rate = products.rate()
      if round > 0 { rates.append(rate) }
      for step in steps {
        let seconds = try time { try probe.run(step) }
        if round > 0 { times[step, default: []].append(seconds) }
      }
    }
    return table(rates: rates, times: times)
  }

  private func time(_ body: () throws -> Void) rethrows -> Double {
    let (seconds, attoseconds) = try ContinuousClock().measure(body).components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }

  private func table(rates: [Double], times: [EngineProbe.Step: [Double]]) -> String {
    let (rate, best) = (median(rates), rates.max()!)
    var lines = [
      "",
      "## \(workload.name): \(workload.title)",
      "P = \(probe.description.trainableParameters), N = \(probe.samples), C = "
        + "\(probe.description.classes), float32. sgemm 1024 in the same rounds: median "
        + "\(format(rate / 1e9, 0)) GFLOP/s, best \(format(best / 1e9, 0)).",
      "",
      "| step | median s | best s | products, GFLOP | median x products at sgemm | best x |",
      "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for step in steps {
      let (middle, least) = (median(times[step]!), times[step]!.min()!)
      let operations = probe.productOperations(step)
      let columns = [
        step.rawValue, format(middle, 4), format(least, 4),
        operations.map { format($0 / 1e9, 2) } ?? "",
        operations.map { format(middle * rate / $0, 2) } ?? "",
        operations.map { format(least * best / $0, 2) } ?? "",
      ]
      lines.append("| " + columns.joined(separator: " | ") + " |")
    }
    return lines.joined(separator: "\n")
  }
}
