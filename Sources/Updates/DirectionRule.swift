import Curvature
import GraphModule
import HessianFree
import TensorModule

/// How the directions of a method are made.
package protocol DirectionRule: Sendable {
  /// One direction for each damping, or the only one of a method without.
  ///
  /// - Parameter dampings: Whose lambdas are numbers.
  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>]

  /// Memory that it takes on the way to them, beside what the method's `needs` tell.
  func workspace<S: EngineScalar>(_ sizes: MethodSizes<S>) -> MethodWorkspace?
}

extension DirectionRule {
  package func workspace<S: EngineScalar>(_ sizes: MethodSizes<S>) -> MethodWorkspace? { nil }
}

/// What the memory of a method depends on.
package struct MethodSizes<S: EngineScalar> {
  package let batch: BatchNeeds<S>
  /// With every linear layer applied to its own rows.
  package let layerProgram: Program
  /// Monte-Carlo labels per sample; 0 for a method that has none.
  package let draws: Int
  package let workers: Int
  /// Of solves of blocks by iterations.
  package let blockLimits: SolveLimits

  package init(
    batch: BatchNeeds<S>, layerProgram: Program, draws: Int, workers: Int, blockLimits: SolveLimits
  ) {
    self.batch = batch
    self.layerProgram = layerProgram
    self.draws = draws
    self.workers = workers
    self.blockLimits = blockLimits
  }

  /// How blocks of the Fisher matrix are solved with.
  package func blockSolver(_ groups: [[ParameterID]]) -> BlockSolver {
    BlockSolver(batch, groups, iterations: blockLimits.maxIterations)
  }
}

/// Memory by the name that a plan gives it.
package typealias MethodWorkspace = (name: String, bytes: ByteCount)
