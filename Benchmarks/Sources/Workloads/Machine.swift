import ApproxEval
import Foundation

/// What a reader of the numbers has to know of the machine.
public func machineDescription(threads: Int) -> String {
  let date = Date().formatted(.iso8601.year().month().day())
  let load = (try? String(contentsOfFile: "/proc/loadavg", encoding: .utf8)) ?? ""
  return """
    Processor: \(processorName()), \(ProcessInfo.processInfo.activeProcessorCount) cores visible; \
    \(threads) threads. BLAS: \(EngineProbe.buildOfBLAS). \(date), load average at the start \(load.split(separator: " ").first ?? "unknown").
    """
}

private func processorName() -> String {
  let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
  let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
  let name = line?.split(separator: ":").last.map(String.init) ?? " unknown"
  return name.trimmingCharacters(in: .whitespaces)
}

public func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  let middle = sorted.count / 2
  return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

public func format(_ value: Double, _ digits: Int) -> String {
  String(format: "%.\(digits)f", value)
}
