import Checkpoints
import TensorModule

/// What commands do with the tensors of an archive, whatever its format: every number is read, in
/// every way there is, and stays until the archive goes.
enum ArchiveExamination {
  static func run(_ archive: TensorArchive) throws {
    for tensor in archive.tensors.values {
      expectTypedErrors {
        try tensor.withBytes { bytes throws(CheckpointError) in
          precondition(bytes.count == tensor.byteCount, "\(tensor.name) has other bytes")
          precondition(bytes.reduce(0) { $0 &+ Int($1) } >= 0)
        }
        if tensor.dtype.isFloatingPoint {
          _ = try tensor.vector(of: Float.self)
          _ = try tensor.vector(of: Double.self)
          _ = try tensor.inPlace(as: Float.self)
        } else {
          let count = try tensor.integers().count
          precondition(count == tensor.count, "\(tensor.name) has \(count) integers")
        }
      }
    }
    expectTypedErrors { _ = try CheckpointFile(archive).batchData() }
    expectTypedErrors {
      let data = try DataFile(path: archive.path, arrays: archive.tensors)
      _ = try data.inputs(["inputs"])
      _ = try data.inputs(["input_ids", "attention_mask"])
    }
    expectTypedErrors { _ = try archive.tensor("weihgt") }
  }
}
