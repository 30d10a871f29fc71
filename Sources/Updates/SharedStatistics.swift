import Curvature
import GraphModule
import TensorModule

/// What is kept from one method for those after it, where several of a batch need it and it is small: by shapes
/// and methods alone, as memory is planned before.
package struct SharedStatistics: Sendable {
  package typealias Kind = MethodNeeds.Shared

  /// Kept up to here.
  private static var mostBytes: ByteCount { ByteCount(1 << 27) }

  let kinds: Set<Kind>
  package let bytes: ByteCount

  /// Nothing.
  package static var none: SharedStatistics { SharedStatistics(kinds: [], bytes: 0) }

  private init(kinds: Set<Kind>, bytes: ByteCount) {
    self.kinds = kinds
    self.bytes = bytes
  }

  package init<S: EngineScalar>(
    _ methods: [UpdateMethod], _ needs: BatchNeeds<S>, layerProgram: Program
  ) {
    var kinds: Set<Kind> = []
    var bytes: ByteCount = 0
    for kind in [Kind.matrices, .layers] where methods.count(where: { $0.needs.shares == kind }) > 1
    {
      let own =
        kind == .matrices
        ? needs.preparedWeights(layerProgram) : needs.layerStatistics(layerProgram)
      if own > Self.mostBytes { continue }
      kinds.insert(kind)
      bytes = bytes + own
    }
    self.init(kinds: kinds, bytes: bytes)
  }
}

extension BatchNeeds {
  fileprivate func preparedWeights(_ layerProgram: Program) -> ByteCount {
    layerProgram.weightRoles.total { parameter, role in
      switch role {
      case .matrix(let rows, let columns), .head(let rows, let columns):
        prepared(of: parameter, rows: rows, columns: columns)
      case .vector(let count): prepared(of: parameter, rows: count, columns: 1)
      case .embedding: 0
      }
    }
  }

  fileprivate func layerStatistics(_ layerProgram: Program) -> ByteCount {
    KroneckerPlan(layerProgram).layers.total { layer in
      let columns = layer.linear.inputs + (layer.bias == nil ? 0 : 1)
      return doubles(min(samples * layer.linear.positions, columns) + 1, columns)
        + doubles(layer.linear.outputs, columns)
    }
  }
}
