import Foundation

/// NumPy's .npz: a zip archive of .npy arrays.
///
/// Opening reads the directory and the headers. An array is unpacked when its numbers are first
/// asked for, and kept as long as a tensor of it lives; the size that its header implies is
/// checked against the size in the directory before that. Arrays come out row-major and
/// little-endian whatever they were.
public struct NPZReader: Sendable {
  /// Arrays by name, without `.npy`.
  public let tensors: [String: StoredTensor]

  /// - Throws: `CheckpointError` naming the archive member that is wrong.
  public init(_ file: MappedFile) throws(CheckpointError) {
    try self.init(ZipArchive(file), UnpackingBudget(.max))
  }

  init(_ archive: ZipArchive, _ budget: UnpackingBudget) throws(CheckpointError) {
    var tensors: [String: StoredTensor] = [:]
    for member in archive.members {
      let location = CheckpointError.Location(file: archive.path, tensor: member.name)
      guard member.name.hasSuffix(".npy") else {
        throw CheckpointError(
          .otherFormat(found: "an archive member that is no array", expected: "a .npy member"),
          at: location)
      }
      let name = String(member.name.dropLast(4))
      let header: NPYHeader
      let beginning = try archive.prefix(NPYHeader.maximum, of: member)
      do throws(NPYHeader.Failure) {
        header = try NPYHeader(beginning)
      } catch {
        throw CheckpointError(
          error.problem, at: .init(file: archive.path, tensor: member.name, byte: error.offset))
      }
      guard let size = checkedByteCount(header.dtype, header.shape) else {
        throw CheckpointError(.impossibleShape(header.shape), at: location)
      }
      if member.size - header.dataOffset != size {
        throw CheckpointError(
          .sizeMismatch(
            found: member.size - header.dataOffset, expected: size, dtype: header.dtype,
            shape: header.shape),
          at: location)
      }
      let tensor = StoredTensor(
        name: name, dtype: header.dtype, shape: header.shape, file: archive.path,
        owner: NPZArray(archive: archive, member: member, header: header, budget: budget))
      // Names that differ in bytes may still be the same text.
      if tensors.updateValue(tensor, forKey: name) != nil {
        throw CheckpointError(.duplicateTensor, at: location)
      }
    }
    self.tensors = tensors
  }
}

/// One array, unpacked on first use.
private final class NPZArray: ByteOwner {
  private let archive: ZipArchive
  private let member: ZipArchive.Member
  private let header: NPYHeader
  private let budget: UnpackingBudget
  private let bytes = FetchedOnce()

  init(
    archive: ZipArchive, member: ZipArchive.Member, header: NPYHeader, budget: UnpackingBudget
  ) {
    self.archive = archive
    self.member = member
    self.header = header
    self.budget = budget
  }

  /// Two while a transposed array is brought into order.
  var copies: Int { header.isFortranOrder ? 2 : 1 }

  func load() throws(CheckpointError) -> UnsafeRawBufferPointer {
    try bytes.load { () throws(CheckpointError) in try unpacked() }
  }

  private func unpacked() throws(CheckpointError) -> OwnedBytes {
    let count = member.size - header.dataOffset
    let needsTranspose = header.isFortranOrder && header.shape.count > 1
    let location = CheckpointError.Location(file: archive.path, tensor: member.name)
    try budget.take(count, for: location)
    if needsTranspose { try budget.take(count, for: location) }
    let stored = try OwnedBytes(count: count) {
      buffer throws(CheckpointError) in
      try archive.read(member, from: header.dataOffset, into: buffer)
      if header.isBigEndian { swapBytes(buffer, elementSize: header.dtype.byteCount) }
    }
    let result = needsTranspose ? transposed(stored) : stored
    if needsTranspose { budget.give(back: count) }
    return result
  }

  /// A copy with the last index running fastest of an array in which the first one does.
  private func transposed(_ stored: OwnedBytes) -> OwnedBytes {
    var strides: [Int] = []
    var stride = 1
    for dimension in header.shape {
      strides.append(stride)
      stride *= dimension
    }
    defer { withExtendedLifetime(stored) {} }
    return gathered(
      stored.load(), shape: header.shape, strides: strides, elementSize: header.dtype.byteCount)
  }
}
