import Foundation
import TensorModule

/// The storages of a file by PyTorch, and tensors that are views of them.
struct TorchStorages {
  /// The bytes of a storage: in the file as they are, or packed in a member of the archive.
  struct Region {
    var archive: ZipArchive?
    var member: ZipArchive.Member?
    /// Where in the file, if they are not packed.
    var range: Range<Int>?

    var byteCount: Int { range?.count ?? member?.size ?? 0 }
  }

  /// PyTorch's own limit on dimensions.
  private static let maximumDimensions = 64
  /// Overlapping strides make a tensor larger than its storage. So large, all of them together, is
  /// never a mistake.
  private static let harmlessByteCount = 1 << 24

  private let file: MappedFile
  private let regions: [String: Region]
  /// What precedes a key in the archive, for messages.
  private let prefix: String
  private let isBigEndian: Bool
  private let budget: UnpackingBudget
  /// What writes such files, for messages.
  private let writer: String
  /// Storages that cannot be used in place, by key and element size.
  private var fetched: [String: FetchedStorage] = [:]
  /// Bytes of tensors beyond those of their storages.
  private var repeatedBytes = 0

  init(
    file: MappedFile, regions: [String: Region], prefix: String, isBigEndian: Bool,
    budget: UnpackingBudget, writer: String = "torch.save"
  ) {
    self.file = file
    self.regions = regions
    self.prefix = prefix
    self.isBigEndian = isBigEndian
    self.budget = budget
    self.writer = writer
  }
}

extension TorchStorages {
  /// The tensor over the bytes of its storage, once it is certain that it stays inside them.
  mutating func stored(
    _ tensor: TorchTensor, _ name: String
  ) throws(CheckpointError) -> StoredTensor {
    let (storage, shape) = (tensor.storage, tensor.shape)
    let location = CheckpointError.Location(file: file.path, tensor: name)
    guard let region = regions[storage.key] else {
      throw CheckpointError(
        .missingStorage(prefix + storage.key), at: location,
        hint: "The file was not written completely; save it again.")
    }
    guard let storageSize = checkedByteCount(storage.dtype, [storage.count]) else {
      throw CheckpointError(.impossibleShape([storage.count]), at: location, hint: remedy)
    }
    if region.byteCount != storageSize {
      throw CheckpointError(
        .sizeMismatch(
          found: region.byteCount, expected: storageSize, dtype: storage.dtype,
          shape: [storage.count]), at: location, hint: remedy)
    }
    guard shape.count <= Self.maximumDimensions, let size = checkedByteCount(storage.dtype, shape)
    else {
      throw CheckpointError(.impossibleShape(shape), at: location, hint: remedy)
    }
    guard let end = Self.end(tensor), end <= storage.count else {
      throw CheckpointError(
        .viewOutOfBounds(
          offset: tensor.offset, shape: shape, strides: tensor.strides, count: storage.count),
        at: location, hint: remedy)
    }
    repeatedBytes = checkedSum(repeatedBytes, max(size - storageSize, 0)) ?? .max
    if repeatedBytes > Self.harmlessByteCount {
      throw CheckpointError(
        .implausibleSize(declared: UInt64(size), stored: UInt64(storageSize)), at: location,
        hint: "Its strides repeat the same numbers; call contiguous() on it before saving.")
    }
    let (owner, start) = bytes(of: storage, region)
    // An empty tensor has no place; its offset may lie anywhere.
    let offset = size == 0 ? 0 : start + tensor.offset * storage.dtype.byteCount
    if size == 0 || isRowMajor(shape, tensor.strides) {
      return StoredTensor(
        name: name, dtype: storage.dtype, shape: shape, file: file.path, owner: owner,
        offset: offset)
    }
    return StoredTensor(
      name: name, dtype: storage.dtype, shape: shape, file: file.path,
      owner: GatheredBytes(
        source: owner, offset: offset, shape: shape, strides: tensor.strides,
        elementSize: storage.dtype.byteCount, budget: budget, location: location))
  }

  private var remedy: String { "The file was not written correctly; save it again with \(writer)." }

  /// The number of elements of the storage up to the last one that the tensor touches; nil if a
  /// number is negative or does not fit.
  private static func end(_ tensor: TorchTensor) -> Int? {
    if tensor.strides.count != tensor.shape.count { return nil }
    if tensor.shape.contains(0) { return 0 }
    var end = checkedSum(tensor.offset, 1)
    // The stride of a dimension of one element is multiplied by zero, but no writer makes a
    // negative one.
    for (dimension, stride) in zip(tensor.shape, tensor.strides) {
      guard let last = end, let distance = checkedProduct(dimension - 1, stride) else { return nil }
      end = checkedSum(last, distance)
    }
    return end
  }

  /// Who holds the bytes of a storage, and where they begin there.
  private mutating func bytes(
    of storage: TorchStorage, _ region: Region
  ) -> (any ByteOwner, Int) {
    let size = storage.dtype.byteCount
    let swaps = isBigEndian && size > 1
    if let range = region.range, !swaps { return (file, range.lowerBound) }
    let key = "\(swaps ? size : 1) \(storage.key)"
    if let known = fetched[key] { return (known, 0) }
    let owner = FetchedStorage(
      file: file, region: region, swapped: swaps ? size : nil, budget: budget,
      location: .init(file: file.path, tensor: prefix + storage.key))
    fetched[key] = owner
    return (owner, 0)
  }
}

// MARK: - Bytes

/// The bytes of a storage after unpacking and bringing them into order, on first use.
private final class FetchedStorage: ByteOwner {
  private let file: MappedFile
  private let region: TorchStorages.Region
  private let swapped: Int?
  private let budget: UnpackingBudget
  private let location: CheckpointError.Location
  private let bytes = FetchedOnce()

  /// - Parameter swapped: The size of the elements, if their bytes are to be reversed.
  init(
    file: MappedFile, region: TorchStorages.Region, swapped: Int?, budget: UnpackingBudget,
    location: CheckpointError.Location
  ) {
    self.file = file
    self.region = region
    self.swapped = swapped
    self.budget = budget
    self.location = location
  }

  func load() throws(CheckpointError) -> UnsafeRawBufferPointer {
    try bytes.load { () throws(CheckpointError) in try fetched() }
  }

  private func fetched() throws(CheckpointError) -> OwnedBytes {
    try budget.take(region.byteCount, for: location)
    return try OwnedBytes(count: region.byteCount) { buffer throws(CheckpointError) in
      if let range = region.range {
        buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: file.bytes[range]))
      } else if let archive = region.archive, let member = region.member {
        try archive.read(member, from: 0, into: buffer)
      }
      if let swapped { swapBytes(buffer, elementSize: swapped) }
    }
  }
}

/// The elements of a strided view in row-major order, gathered on first use.
private final class GatheredBytes: ByteOwner {
  private let source: any ByteOwner
  private let offset: Int
  private let shape: [Int]
  private let strides: [Int]
  private let elementSize: Int
  private let budget: UnpackingBudget
  private let location: CheckpointError.Location
  private let bytes = FetchedOnce()

  init(
    source: any ByteOwner, offset: Int, shape: [Int], strides: [Int], elementSize: Int,
    budget: UnpackingBudget, location: CheckpointError.Location
  ) {
    self.source = source
    self.offset = offset
    self.shape = shape
    self.strides = strides
    self.elementSize = elementSize
    self.budget = budget
    self.location = location
  }

  var copies: Int { source.copies + 1 }

  func load() throws(CheckpointError) -> UnsafeRawBufferPointer {
    try bytes.load { () throws(CheckpointError) in try inOrder() }
  }

  private func inOrder() throws(CheckpointError) -> OwnedBytes {
    let all = try source.load()
    try budget.take(shape.reduce(elementSize, *), for: location)
    let result = gathered(
      UnsafeRawBufferPointer(rebasing: all[offset...]), shape: shape, strides: strides,
      elementSize: elementSize)
    withExtendedLifetime(source) {}
    return result
  }
}
