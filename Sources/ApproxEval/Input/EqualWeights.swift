import Checkpoints
import Foundation
import GraphModule

/// Weights of a sequential model that stand in the file under different names with the same numbers.
/// After any training they are one layer that the network uses several times and that was copied to
/// be saved; scored as it stands, each copy trains on its own.
public struct EqualWeights: Sendable, Equatable, Codable {
  /// In the order of the model.
  public var names: [String]

  /// All groups in which something trains.
  ///
  /// Vectors and weights of one number repeated, as initialisations make them, say nothing. Bytes are
  /// compared up to the first difference, and only those of weights that begin and end alike.
  static func all(
    in program: Program, _ source: CheckpointSource
  ) throws(CheckpointError) -> [EqualWeights] {
    var groups: [(names: [String], tensor: StoredTensor, trains: Bool)] = []
    var alike: [Likeness: [Int]] = [:]
    for (spec, offset) in zip(program.graph.parameters, program.offsets)
    where spec.shape.count > 1 && spec.count > 1 {
      // What is missing or has another shape is told where all tensors are checked.
      guard let tensor = source.parameters[spec.name], tensor.shape == spec.shape,
        try !isConstant(tensor)
      else { continue }
      let likeness = try Likeness(tensor)
      var place: Int?
      for index in alike[likeness, default: []] where try groups[index].tensor.isCopy(of: tensor) {
        place = index
        break
      }
      if let place {
        groups[place].names.append(spec.name)
        groups[place].trains = groups[place].trains || offset != nil
      } else {
        alike[likeness, default: []].append(groups.count)
        groups.append(([spec.name], tensor, offset != nil))
      }
    }
    return groups.filter { $0.names.count > 1 && $0.trains }.map { EqualWeights(names: $0.names) }
  }

  /// What weights must have in common before all of them is compared.
  private struct Likeness: Hashable {
    let dtype: DType
    let shape: [Int]
    let ends: [UInt8]

    init(_ tensor: StoredTensor) throws(CheckpointError) {
      dtype = tensor.dtype
      shape = tensor.shape
      ends = try tensor.withBytes { Array($0.prefix(64)) + Array($0.suffix(64)) }
    }
  }

  private static func isConstant(_ tensor: StoredTensor) throws(CheckpointError) -> Bool {
    let size = tensor.dtype.byteCount
    return try tensor.withBytes { bytes in
      memcmp(bytes.baseAddress!, bytes.baseAddress! + size, bytes.count - size) == 0
    }
  }
}
