import TensorModule

/// Nodes, one behind the other, whose tangents are formed at once: only that of the last one's output
/// is written. The other passes see the nodes as they are.
package protocol TangentFusion: Sendable {
  /// In their order.
  var nodes: [Int] { get }
  /// The node whose inputs' tangents are read, until the last node.
  var reader: Int { get }
  /// Of the reader's outputs, the share of which tangents are needed.
  var share: Double { get }
  func isAvailable<S: EngineScalar>(_: S.Type) -> Bool
  func jvp<S: EngineScalar>(_ graph: Graph, _ frame: Frame<S>)
}

extension Program {
  /// Per node the share of its outputs of which single precision needs the tangents, where processors
  /// have wide vectors.
  package var tangentShares: [Double] {
    var shares = [Double](repeating: 1, count: graph.nodes.count)
    for fusion in graph.tangentFusions { shares[fusion.reader] = fusion.share }
    return shares
  }
}
