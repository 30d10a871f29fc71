import Checkpoints
import Foundation
import GraphModule

/// Weights of a sequential model that stand in the file under different names with the same numbers.
/// After any training they are one layer that the network uses several times and that was copied to
/// be saved; scored as it stands, each copy trains on its own.
public struct EqualWeights: Sendable, Equatable {
  /// In the order of the model.
  public var names: [String]

  /// All groups in which something trains.
  ///
  /// Vectors and weights of one number repeated, as initialisations make them, say nothing. Bytes are
  /// compared up to the first difference.
  static func all(
    in program: Program, _ source: CheckpointSource
  ) throws(CheckpointError) -> [EqualWeights] {
    var groups: [(names: [String], tensor: StoredTensor, trains: Bool)] = []
    for (spec, offset) in zip(program.graph.parameters, program.offsets)
    where spec.shape.count > 1 && spec.count > 1 {
      let tensor = try source.parameter(spec.name)
      if try isConstant(tensor) { continue }
      var place: Int?
      for index in groups.indices where try areEqual(groups[index].tensor, tensor) {
        place = index
        break
      }
      if let place {
        groups[place].names.append(spec.name)
        groups[place].trains = groups[place].trains || offset != nil
      } else {
        groups.append(([spec.name], tensor, offset != nil))
      }
    }
    return groups.filter { $0.names.count > 1 && $0.trains }.map { EqualWeights(names: $0.names) }
  }

  private static func areEqual(
    _ a: StoredTensor, _ b: StoredTensor
  ) throws(CheckpointError) -> Bool {
    guard a.shape == b.shape, a.dtype == b.dtype else { return false }
    return try a.withBytes { first throws(CheckpointError) in
      try b.withBytes { memcmp(first.baseAddress!, $0.baseAddress!, first.count) == 0 }
    }
  }

  private static func isConstant(_ tensor: StoredTensor) throws(CheckpointError) -> Bool {
    let size = tensor.dtype.byteCount
    return try tensor.withBytes { bytes in
      memcmp(bytes.baseAddress!, bytes.baseAddress! + size, bytes.count - size) == 0
    }
  }
}
