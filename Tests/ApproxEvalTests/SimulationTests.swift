import Foundation
import Simulation
import Testing

/// `make simulate` lives more of them. `SIMULATION_SEED=N` lives one again.
@Suite struct SimulationTests {
  @Test func whateverFailsARunCanBeResumed() throws {
    let simulation = try RunSimulation()
    let chosen = ProcessInfo.processInfo.environment["SIMULATION_SEED"].flatMap { UInt64($0) }
    var outcomes = RunSimulation.Outcomes()
    for seed in chosen.map({ $0..<$0 + 1 }) ?? 0..<300 {
      do {
        outcomes += try simulation.live(seed: seed)
      } catch {
        Issue.record("\(error)\nagain: SIMULATION_SEED=\(seed) swift test --filter Simulation")
      }
    }
    if chosen == nil {
      // That it is a simulation of something.
      #expect(
        min(outcomes.finished, outcomes.died, outcomes.failed) > 50 && outcomes.foundChanged > 5
          && outcomes.refused > 5, "\(outcomes.description)")
    }
  }
}
