import TensorModule

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
