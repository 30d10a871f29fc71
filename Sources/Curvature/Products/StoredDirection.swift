import GraphModule
import TensorModule

/// A direction whose numbers stay where they were read: forming one vector of those of a file would
/// cost as much as reading it.
package struct StoredDirection<S: EngineScalar> {
  package let program: Program
  /// Per trainable parameter, in the program's order.
  package let tensors: [Vector<S>]
  /// `|d|_2`
  package let norm: Double

  package init(program: Program, tensors: [Vector<S>], norm: Double) {
    self.program = program
    self.tensors = tensors
    self.norm = norm
  }

  /// Per parameter of the graph.
  package var pointers: [UnsafePointer<S>?] {
    var pointers = [UnsafePointer<S>?](repeating: nil, count: program.graph.parameters.count)
    for (parameter, tensor) in zip(program.trainable, tensors) {
      pointers[parameter.index] = UnsafePointer(tensor.pointer)
    }
    return pointers
  }

  /// `<d, x>`, x `[P]`.
  package func dot(_ x: Vector<S>) -> Double {
    zip(program.trainable, tensors).reduce(0) { sum, part in
      let place = UnsafePointer(x.pointer + program.offsets[part.0.index]!)
      return sum + Kernels.dot(UnsafePointer(part.1.pointer), place, count: part.1.count)
    }
  }

  /// `[P]`
  package func vector() -> ScaledVector<S> {
    let vector = Vector<S>(count: program.parameterCount)
    for (parameter, tensor) in zip(program.trainable, tensors) {
      Kernels.copy(
        UnsafePointer(tensor.pointer), vector.pointer + program.offsets[parameter.index]!,
        count: tensor.count)
    }
    return ScaledVector(vector: vector, scale: 1)
  }
}
