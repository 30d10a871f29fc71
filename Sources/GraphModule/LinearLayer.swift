import TensorModule

/// A parameter gradient that is a sum of outer products over the positions of a sample:
/// `dW_n = sum_t b_nt a_nt^T` with `a` the rows of layer inputs and `b` those of output
/// cotangents. Then gradients, per-sample gradients and Gram matrices follow from the rows alone,
/// and nothing of the weight's size has to exist per sample (method.md 3).
package struct Factorization: Sendable {
  package enum Rows: Sendable, Equatable {
    /// `a` is the value of input 0: `[T, in]`.
    case input
    /// `a` is what the operation makes of the value of input 0 (`writeRows`): `[T, in]`.
    case unfolded
    /// `a` is a one-hot row: input 0 holds the index, `[T]`.
    case oneHot
  }
  /// Positions at which the layer is applied to one sample.
  package let positions: Int
  /// Columns of `a` and of `b`; the weight is `[out, in]`, for one-hot rows `[in, out]`.
  package let inputs: Int
  package let outputs: Int
  package let rows: Rows
  package let weightSlot: Int
  /// A bias of `out` entries: one more input, always 1.
  package let biasSlot: Int?
}

/// An operation that is one linear layer `c_t = W a_t + b` at every position t of a sample, as
/// K-FAC sees it: W [out, in], a the rows that the weight multiplies. A convolution is the linear
/// layer of its unfolded input. A table that is looked up is none.
package struct LinearLayer: Sendable, Equatable {
  package enum Rows: Sendable, Equatable {
    /// `a` is the value of this input: `[T, in]`.
    case input(Int)
    /// `a` is what the operation makes of the value of input 0 (`writeRows`): `[T, in]`.
    case unfolded
  }
  package let positions: Int
  package let inputs: Int
  package let outputs: Int
  package let rows: Rows
  /// What the rows are multiplied by: `a = scale` times what is stored.
  package let scale: Double
  package let weightSlot: Int
  package let biasSlot: Int?
}

extension Factorization {
  /// `nil` for one-hot rows.
  package var linearLayer: LinearLayer? {
    let place: LinearLayer.Rows
    switch rows {
    case .input: place = .input(0)
    case .unfolded: place = .unfolded
    case .oneHot: return nil
    }
    return LinearLayer(
      positions: positions, inputs: inputs, outputs: outputs, rows: place, scale: 1,
      weightSlot: weightSlot, biasSlot: biasSlot)
  }
}

/// What a parameter is to the operation that reads it.
package enum ParameterRole: Sendable {
  /// The weight of a layer or a convolution: as a matrix, its first axis by all others.
  case weight
  /// A table that indices choose rows of.
  case table
}
