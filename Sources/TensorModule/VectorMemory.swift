#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Memory of one vector, 64-byte aligned. Where the system has none left, `MemoryExhaustion` is told.
final class VectorMemory {
  let pointer: UnsafeMutableRawPointer
  private let block: LargeBlocks.Block?
  private let bytes: Int

  /// From here on memory comes from `LargeBlocks`.
  private static let large = 1 << 20

  /// - Parameter zeroed: Whether all bytes are zero; otherwise they are whatever was there.
  init(bytes: Int, zeroed: Bool) {
    self.bytes = Self.taken(by: ByteCount(bytes)).value
    MemoryMeter.add(self.bytes)
    if bytes >= Self.large {
      guard let (block, isZero) = LargeBlocks.take(bytes) else { MemoryExhaustion.end(bytes) }
      self.block = block
      pointer = block.start
      if zeroed && !isZero { pointer.initializeMemory(as: UInt8.self, repeating: 0, count: bytes) }
      return
    }
    block = nil
    guard let address = Self.aligned(bytes) ?? Self.alignedWithoutKeptBlocks(bytes) else {
      MemoryExhaustion.end(bytes)
    }
    pointer = address
    if zeroed { pointer.initializeMemory(as: UInt8.self, repeating: 0, count: bytes) }
  }

  private static func aligned(_ bytes: Int) -> UnsafeMutableRawPointer? {
    var address: UnsafeMutableRawPointer?
    return posix_memalign(&address, 64, bytes) == 0 ? address : nil
  }

  private static func alignedWithoutKeptBlocks(_ bytes: Int) -> UnsafeMutableRawPointer? {
    LargeBlocks.releaseKept()
    return aligned(bytes)
  }

  /// What the system gives for memory that is written from end to end.
  static func taken(by bytes: ByteCount) -> ByteCount {
    #if os(Linux)
      if bytes.value >= large { return max(bytes, ByteCount(1 << 21)) }
    #endif
    return bytes
  }

  deinit {
    MemoryMeter.subtract(bytes)
    if let block { LargeBlocks.giveBack(block) } else { free(pointer) }
  }
}
