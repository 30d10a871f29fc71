import GraphModule
import TensorModule

/// A direction restricted to one tensor: one whose numbers stay where they were read is a vector then.
package enum TensorForm<S: EngineScalar> {
  case explicit(ScaledVector<S>)
  case combination(Combination<S>)

  package var form: DirectionForm<S> {
    switch self {
    case .explicit(let vector): .explicit(vector)
    case .combination(let combination): .combination(combination)
    }
  }
}

extension DirectionForm {
  /// Some directions restricted to a trainable tensor, as the linearization in it alone has them: nothing is
  /// copied or formed. Combinations of one basis are combinations of one basis.
  package static func restricted(
    _ forms: [DirectionForm], to parameter: ParameterID, of whole: Program,
    on own: Linearization<S>
  ) -> [TensorForm<S>] {
    var bases: [(basis: PerSampleGradients<S>, own: PerSampleGradients<S>)] = []
    func restricted(_ basis: PerSampleGradients<S>) -> PerSampleGradients<S> {
      if let known = bases.first(where: { $0.basis === basis }) { return known.own }
      let made = basis.restricted(to: [parameter], of: own)
      bases.append((basis, made))
      return made
    }
    return forms.map { form in
      switch form {
      case .explicit(let scaled):
        let part = Vector(
          reading: scaled.vector.pointer + whole.offsets[parameter.index]!,
          count: own.parameterCount, owner: scaled.vector)
        return .explicit(ScaledVector(vector: part, scale: scaled.scale))
      case .stored(let stored):
        let place = stored.program.trainable.firstIndex(of: parameter)!
        return .explicit(ScaledVector(vector: stored.tensors[place], scale: 1))
      case .combination(let combination):
        return .combination(combination.restricted(restricted(combination.basis)))
      }
    }
  }
}
