import ApproxEval
import Benchmark
import Foundation
import Workloads

// Wall time only: allocation counts need the interposer, which is switched off (Package.swift).
let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: [.wallClock, .cpuTotal, .peakMemoryResident], warmupIterations: 1,
    maxDuration: .seconds(5), maxIterations: 50)
  let threads = ProcessInfo.processInfo.activeProcessorCount
  for workload in Workload.all {
    for step in EngineProbe.Step.allCases {
      Benchmark("\(workload.name) \(step.rawValue)") { benchmark, probe in
        for _ in benchmark.scaledIterations { try probe.run(step) }
      } setup: {
        try workload.probe(threads: threads)
      }
    }
  }
  // What the machine can do, to set the times above against.
  Benchmark("sgemm 1024 on every thread") { benchmark, products in
    for _ in benchmark.scaledIterations { _ = products.rate(products: 1) }
  } setup: {
    SquareProducts(threads: threads)
  }
}
