// Times every step of the engine on every workload and prints a markdown table.
//
//     report [--threads N] [--rounds N] [--only WORKLOAD] [--step STEP]
//
// Machines drift, and neighbours come and go: each round times square matrix products first and
// then every step, so that a step is compared with what the machine could do at that moment.

import ApproxEval
import Foundation
import Workloads

struct Settings {
  var threads = ProcessInfo.processInfo.activeProcessorCount
  var rounds = 15
  var only: String?
  var steps = EngineProbe.Step.allCases
}

func settings(_ arguments: [String]) -> Settings? {
  var settings = Settings()
  var rest = arguments[...]
  while let option = rest.popFirst() {
    guard let value = rest.popFirst() else { return nil }
    switch option {
    case "--threads":
      guard let threads = Int(value), threads > 0 else { return nil }
      settings.threads = threads
    case "--rounds":
      guard let rounds = Int(value), rounds > 0 else { return nil }
      settings.rounds = rounds
    case "--only": settings.only = value
    case "--step":
      guard let step = EngineProbe.Step(rawValue: value) else { return nil }
      settings.steps = [step]
    default: return nil
    }
  }
  return settings
}

guard let settings = settings(Array(CommandLine.arguments.dropFirst())) else {
  FileHandle.standardError.write(
    Data(
      """
      usage: report [--threads N] [--rounds N] [--only W1|W2] [--step STEP]
      STEP: \(EngineProbe.Step.allCases.map(\.rawValue).joined(separator: ", "))

      """.utf8))
  exit(64)
}

let workloads = Workload.all.filter { settings.only == nil || settings.only == $0.name }
print(machineDescription(threads: settings.threads))
for workload in workloads {
  let probe = try workload.probe(threads: settings.threads)
  print(
    try Report(workload: workload, probe: probe, steps: settings.steps, rounds: settings.rounds)
      .run())
}
