import Foundation
import Simulation

// simulate [RUNS] [FIRST SEED]: lives of an output folder on a simulated disk (`RunSimulation`).
let arguments = CommandLine.arguments.dropFirst().compactMap { UInt64($0) }
let runs = arguments.first ?? 10_000
let first = arguments.dropFirst().first ?? 0
let simulation = try RunSimulation()
var outcomes = RunSimulation.Outcomes()
var broken = 0
for seed in first..<first + runs {
  do {
    outcomes += try simulation.live(seed: seed)
  } catch {
    broken += 1
    print(error)
    print("  again: make simulate RUNS=1 SEED=\(seed)")
  }
}
print("\(runs) simulated folders, \(broken) broken; of their runs \(outcomes.description)")
exit(broken == 0 ? 0 : 1)
