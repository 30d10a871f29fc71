import Foundation

/// Something that holds bytes, at an address that stays valid as long as it lives.
package protocol ByteOwner: AnyObject, Sendable {
  /// The bytes. An owner may fetch them on the first call.
  func load() throws(CheckpointError) -> UnsafeRawBufferPointer
  /// How many times all of the bytes come to be in memory of the process once they are fetched; 0
  /// where the system reads the pages of a file that are looked at.
  var copies: Int { get }
}

extension ByteOwner {
  package var copies: Int { 1 }
}

/// The bytes of a file, read-only: a memory map of a regular file, a copy of what a pipe carries.
///
/// Pages of a map are read when they are touched, so a large file costs nothing until its tensors
/// are read. The file must not be shortened while it is open: the system answers a read beyond
/// the new end with SIGBUS.
public final class MappedFile: @unchecked Sendable {
  /// The path as it was given.
  public let path: String
  /// The content of the file.
  public let bytes: UnsafeRawBufferPointer
  private let isMapped: Bool

  /// - Throws: `CheckpointError` if nothing is there, if it is a directory or a device, or if it
  ///   cannot be read.
  public init(path: String) throws(CheckpointError) {
    let location = CheckpointError.Location(file: path)
    // Without O_NONBLOCK, opening a pipe waits for its writer, as it should.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 {
      let code = errno
      throw CheckpointError(
        code == ENOENT || code == ENOTDIR ? .fileMissing : .cannotOpen(code: code), at: location)
    }
    defer { close(descriptor) }
    var status = stat()
    if fstat(descriptor, &status) != 0 {
      throw CheckpointError(.cannotRead(code: errno), at: location)
    }
    self.path = path
    switch status.st_mode & S_IFMT {
    case S_IFREG:
      bytes = try Self.map(descriptor, Int(status.st_size), location)
      isMapped = true
    case S_IFIFO, S_IFSOCK:
      bytes = try Self.drain(descriptor, location)
      isMapped = false
    case S_IFDIR:
      throw CheckpointError(.isDirectory, at: location)
    default:
      throw CheckpointError(.isDevice, at: location)
    }
  }

  deinit {
    if !isMapped {
      bytes.deallocate()
    } else if let base = bytes.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
    }
  }

  private static func map(
    _ descriptor: Int32, _ count: Int, _ location: CheckpointError.Location
  ) throws(CheckpointError) -> UnsafeRawBufferPointer {
    // A map of no bytes is an error to the system.
    if count == 0 { return UnsafeRawBufferPointer(start: nil, count: 0) }
    let address = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0)
    guard let address, address != MAP_FAILED else {
      throw CheckpointError(.cannotRead(code: errno), at: location)
    }
    return UnsafeRawBufferPointer(start: address, count: count)
  }

  private static func drain(
    _ descriptor: Int32, _ location: CheckpointError.Location
  ) throws(CheckpointError) -> UnsafeRawBufferPointer {
    var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    var count = 0
    while true {
      if count == buffer.count {
        let larger = UnsafeMutableRawBufferPointer.allocate(
          byteCount: 2 * buffer.count, alignment: 16)
        larger.copyMemory(from: UnsafeRawBufferPointer(buffer))
        buffer.deallocate()
        buffer = larger
      }
      let received = Foundation.read(
        descriptor, buffer.baseAddress! + count, buffer.count - count)
      if received == 0 { break }
      if received < 0 {
        if errno == EINTR { continue }
        let code = errno
        buffer.deallocate()
        throw CheckpointError(.cannotRead(code: code), at: location)
      }
      count += received
    }
    return UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count])
  }
}

extension MappedFile: ByteOwner {
  package func load() throws(CheckpointError) -> UnsafeRawBufferPointer { bytes }
  package var copies: Int { isMapped ? 0 : 1 }
}

/// Bytes of our own.
package final class OwnedBytes: ByteOwner, @unchecked Sendable {
  private let buffer: UnsafeMutableRawBufferPointer

  /// Room for `count` bytes, handed to `fill` once to be written in full.
  package init<E: Error>(
    count: Int, fill: (UnsafeMutableRawBufferPointer) throws(E) -> Void
  ) throws(E) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
    do {
      try fill(buffer)
    } catch {
      buffer.deallocate()
      throw error
    }
    self.buffer = buffer
  }

  package convenience init(_ data: Data) {
    self.init(count: data.count) { _ = data.copyBytes(to: $0) }
  }

  deinit { buffer.deallocate() }

  package func load() -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(buffer) }
}
