import TensorModule

/// A direction that is never formed: a weighted sum of per-sample gradients,
/// `d = scale sum_rows weights[row] g_row = J^T y`.
///
/// SGD, EF, iEF and SF directions and the iterates of conjugate gradients are of this kind. Of a
/// linear layer with inputs A and output cotangents B the block of d would be `B^T W A`; its part
/// of a jvp is `(A A^T) W B` and needs no vector of length P (`PerSampleGradients.jvp`).
package struct Combination<S: EngineScalar> {
  package let basis: PerSampleGradients<S>
  /// `[R N]`, the largest row that it makes of the order of 1.
  package let weights: [Double]
  package let scale: Double
  private let formedCotangent: FormedCotangent
  /// `|d|_2`
  package let norm: Double
  /// Whether little is left of the rows, so that a sum in single precision would keep few digits.
  package let cancels: Bool

  /// - Parameter cotangent: Forms what is said of `cotangent`; not called where nobody asks for it.
  package init(
    basis: PerSampleGradients<S>, weights: [Double], scale: Double,
    cotangent: @escaping () -> Vector<Double>, norm: Double, cancels: Bool = false
  ) {
    self.init(
      basis: basis, weights: weights, scale: scale, FormedCotangent(cotangent), norm: norm,
      cancels: cancels)
  }

  private init(
    basis: PerSampleGradients<S>, weights: [Double], scale: Double, _ cotangent: FormedCotangent,
    norm: Double, cancels: Bool
  ) {
    self.basis = basis
    self.weights = weights
    self.scale = scale
    formedCotangent = cotangent
    self.norm = norm
    self.cancels = cancels
  }

  /// `y / scale`, `[N, O C]`: `<d, x> = y . J x` for every x. Formed when it is first asked for, and kept:
  /// of a language model it is as long as a vector of its weights.
  package var cotangent: Vector<Double> { formedCotangent.vector }

  /// The same rows restricted to some tensors: `own` are those of the basis. What is then known of the norm is
  /// that it is no larger.
  func restricted(_ own: PerSampleGradients<S>) -> Combination {
    Combination(
      basis: own, weights: weights, scale: scale, formedCotangent, norm: norm, cancels: cancels)
  }

  /// `[P]`: one product per layer.
  package func vector() -> ScaledVector<S> {
    let sum = basis.weightedSums([weights], inDouble: cancels)[0]
    return ScaledVector(vector: sum.vector, scale: sum.scale * scale)
  }
}

/// One for all that stand for the same direction.
private final class FormedCotangent {
  private var form: (() -> Vector<Double>)?
  private(set) lazy var vector: Vector<Double> = {
    defer { form = nil }
    return form!()
  }()

  init(_ form: @escaping () -> Vector<Double>) { self.form = form }
}

/// A direction as whoever asks for it gets it: in the form that costs less.
package enum DirectionForm<S: EngineScalar> {
  case explicit(ScaledVector<S>)
  case stored(StoredDirection<S>)
  case combination(Combination<S>)

  /// What the vector, the weights and the cotangent are to be multiplied by.
  package var scale: Double {
    switch self {
    case .explicit(let vector): vector.scale
    case .stored: 1
    case .combination(let combination): combination.scale
    }
  }

  /// The vector itself, formed where it is not kept.
  package func vector() -> ScaledVector<S> {
    switch self {
    case .explicit(let vector): return vector
    case .stored(let stored): return stored.vector()
    case .combination(let combination): return combination.vector()
    }
  }
}
