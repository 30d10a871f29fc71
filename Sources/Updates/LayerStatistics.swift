import Curvature
import TensorModule

/// What several methods need of a linear layer whatever labels they draw: the eigenvectors of its inputs, and its
/// gradient.
struct LayerStatistics: Sendable {
  /// Of `sum_i a_i a_i^T`.
  let inputs: RowSpectrum
  /// `[out, in + 1]`, and the norms of the rows that it is the sum of, added in squares.
  let gradient: (g: Vector<Double>, size: Double)
  /// N T
  let rowCount: Int

  /// - Parameter weights: What rows are multiplied by in the gradient.
  init<S: EngineScalar>(
    _ rows: LayerRows<S>, _ weights: RowWeights
  ) throws(LinearAlgebraError) {
    inputs = try RowSpectrum(rows: rows.count, columns: rows.inputColumns) {
      rows.writeInputs($0, to: $1)
    }
    gradient = rows.gradient(weights)
    rowCount = rows.count
  }
}

/// Those of all layers of a plan, kept for the methods that come after the first. Several layers may be asked for
/// at the same time.
final class SharedLayers: @unchecked Sendable {
  private let known: UnsafeMutableBufferPointer<LayerStatistics?>

  init(layers: Int) {
    known = .allocate(capacity: layers)
    known.initialize(repeating: nil)
  }

  deinit {
    known.deinitialize()
    known.deallocate()
  }

  /// Whether the rows of no layer need to be collected.
  var isComplete: Bool { known.allSatisfy { $0 != nil } }

  /// Of a layer, by its number in the plan.
  subscript(layer: Int) -> LayerStatistics? { known[layer] }

  /// - Parameter weights: The same for all methods.
  func value<S: EngineScalar>(
    _ layer: Int, _ rows: LayerRows<S>, _ weights: RowWeights
  ) throws(LinearAlgebraError) -> LayerStatistics {
    if let own = known[layer] { return own }
    let made = try LayerStatistics(rows, weights)
    known[layer] = made
    return made
  }
}
