import GraphModule
import TensorModule

/// The trainable parameters in double, and their rounded copy that the engine reads. Steps that
/// are smaller than the rounding of single precision add up here instead of being lost.
package struct MasterParameters<S: EngineScalar> {
  package let store: ParameterStore<S>
  /// theta, `[P]`
  package let values: Vector<Double>
  private let places: [(parameter: Int, offset: Int)]

  /// - Parameter store: Its trainable vectors are written by `publish`.
  package init(_ program: Program, _ store: ParameterStore<S>) {
    self.store = store
    values = Vector(count: program.parameterCount)
    places = program.trainable.map { ($0.index, program.offsets[$0.index]!) }
    for place in places {
      let vector = store.vector(place.parameter)
      Kernels.toDouble(vector.pointer, values.pointer + place.offset, count: vector.count)
    }
  }

  /// Gives the engine the present values.
  package func publish() {
    for place in places {
      let vector = store.vector(place.parameter)
      Kernels.fromDouble(values.pointer + place.offset, vector.pointer, count: vector.count)
    }
  }
}
