import TensorModule

/// A rewriting of a graph that leaves its inputs and parameters, values and derivatives as they are,
/// and makes them cheaper. Front ends build what a network means; what it is computed by, passes find.
package protocol LoweringPass: Sendable {
  /// Whether every linear layer is still applied to its own rows, so that they and the gradients at
  /// its outputs can be read from the passes over a batch, as K-FAC does.
  var keepsLayers: Bool { get }
  /// - Parameter trains: Whether a parameter has tangents.
  /// - Returns: `nil` where there is nothing to rewrite.
  func rewritten(_ graph: Graph, trains: (ParameterID) -> Bool) throws(GraphError) -> Graph?
}

extension LoweringPass {
  package var keepsLayers: Bool { true }
}

package enum Lowering {
  /// In the order in which they run: what is found from its pieces first, then what is left out, then
  /// what depends on sizes. Notes on nodes come last, since rewriting numbers nodes anew.
  package static let passes: [any LoweringPass] = [
    NormalizationFromPieces(), LayersFromParameters(), AttentionFromPieces(), LowRankUpdates(),
    GatedActivations(), PoolingBeforeRectifiers(), UnreadRows(), GatheredAttention(),
    PooledConvolutions(),
  ]

  /// - Returns: The graph, and whether every linear layer is applied to its own rows.
  static func run(
    _ passes: [any LoweringPass], on graph: Graph, trains: (ParameterID) -> Bool
  ) -> (graph: Graph, isLayerwise: Bool) {
    var (result, isLayerwise) = (graph, true)
    for pass in passes {
      do throws(GraphError) {
        guard let next = try pass.rewritten(result, trains: trains) else { continue }
        result = next
        isLayerwise = isLayerwise && pass.keepsLayers
      } catch {
        // What a pass applies follows from a graph that is sound.
        preconditionFailure("\(type(of: pass)): \(error)")
      }
    }
    return (result, isLayerwise)
  }
}
