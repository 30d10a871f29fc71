import Checkpoints
import Curvature
import GraphModule

/// What counts as one sample: of what the gradients are that Gram matrices, draws and factors are made of.
public enum SampleKind: String, Sendable, CaseIterable, Codable {
  /// A sample of the data with all of its scored positions, whose losses are added.
  case sequence
  /// Every scored position by itself: the batch in which each sequence stands once for each of them, with
  /// all other labels left out.
  case token
}

/// The network at one position of a sample, and how many positions are scored: what it takes to make every
/// one of them a sample of its own.
package struct TokenSamples: Sendable {
  package let program: Program
  /// As of a checkpoint.
  package let layerProgram: Program?
  /// Scored positions of the samples that have most, added up: of none, one, two, ...; `nil` without data.
  private let totals: [Int]?
  private let positions: Int

  /// - Parameters:
  ///   - graph: Of whole samples, as it was built.
  ///   - program: Of that graph, whose choice of parameters it is.
  /// - Returns: `nil` where samples have one scored position each: they are the tokens.
  init?(
    _ graph: Graph, _ program: Program, _ reader: BatchReader?
  ) throws(CheckpointError) {
    positions = program.graph.positions
    let counts = try reader?.scoredPositions()
    if counts?.allSatisfy({ $0 == 1 }) ?? (positions == 1) { return nil }
    totals = counts.map { counts in
      counts.sorted(by: >).reduce(into: [0]) { $0.append($0.last! + $1) }
    }
    let single: Graph
    do throws(GraphError) { single = try graph.atOnePosition("scored_position") } catch {
      // Rows of what a sound graph computes.
      preconditionFailure("TokenSamples: \(error)")
    }
    let trained = Set(program.trainable.map { program.graph.parameters[$0.index].name })
    self.program = Program(graph: single) { trained.contains($0.name) }
    layerProgram = self.program.isLayerwise ? nil : self.program.layerwise
  }

  /// Tokens of so many samples, whichever these are: at the most, and at least one.
  func most(of samples: Int) -> Int {
    guard let totals else { return samples * positions }
    return max(1, totals[min(samples, totals.count - 1)])
  }
}
