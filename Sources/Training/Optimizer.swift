import TensorModule

/// Turns a direction into a change of the parameters. Holds whatever it remembers between steps.
package protocol Optimizer {
  /// One step.
  ///
  /// - Parameters:
  ///   - parameters: theta `[P]`, changed in place.
  ///   - direction: The gradient or what stands for it, `[P]`; its content is used up.
  mutating func step(
    _ parameters: Vector<Double>, _ direction: Vector<Double>, learningRate: Double)
}

extension OptimizerSettings {
  /// The optimiser, at its first step.
  ///
  /// - Parameter precision: Of the engine, as the distance from 1 to the next number.
  package func makeOptimizer(
    _ layout: ParameterLayout, _ operations: VectorOperations<Double>, precision: Double
  ) -> any Optimizer {
    kind.make(self, layout, operations, precision)
  }
}

/// `theta -= learningRate d`. Neither momentum nor weight decay: the paper leaves open how exact
/// EF, iEF and SF would have them (G).
struct PlainStep: Optimizer {
  private let operations: VectorOperations<Double>

  init(_ operations: VectorOperations<Double>) { self.operations = operations }

  func step(_ parameters: Vector<Double>, _ direction: Vector<Double>, learningRate: Double) {
    operations.axpby(-learningRate, direction, 1, parameters)
  }
}
