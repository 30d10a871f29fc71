import Foundation

/// Something that holds bytes, at an address that stays valid as long as it lives.
package protocol ByteOwner: AnyObject, Sendable {
  /// The bytes. An owner may fetch them on the first call.
  func load() throws(CheckpointError) -> UnsafeRawBufferPointer
  /// How many times all of the bytes come to be in memory of the process once they are fetched; 0
  /// where the system reads the pages of a file that are looked at.
  var copies: Int { get }
  /// These bytes will be read soon.
  func fetch(_ bytes: Range<Int>)
  /// These bytes need not stay in memory, where they can be read again.
  func release(_ bytes: Range<Int>)
}

extension ByteOwner {
  package var copies: Int { 1 }
  package func fetch(_ bytes: Range<Int>) {}
  package func release(_ bytes: Range<Int>) {}
}

/// The bytes of a file, read-only: a memory map of a regular file, a copy of what a pipe carries.
///
/// Pages of a map are read when they are touched, so a large file costs nothing until its tensors
/// are read. Whether the file stayed as it was meanwhile, `requireUnchanged` tells; one that is cut
/// short while it is read ends the process (see `POSIXFileSystem.endProcessOnLostFiles`).
public final class MappedFile: Sendable {
  /// The path as it was given.
  public let path: String
  /// The content of the file.
  public var bytes: UnsafeRawBufferPointer { map.bytes }
  /// When it was opened; `nil` for a pipe, whose bytes are our own.
  package let status: FileStatus?
  private let map: FileMap
  private let system: any FileSystem
  /// Whose bytes these are, where they are part of another file.
  private let container: (any ByteOwner)?

  /// - Parameter acceptsPipes: Whether the path may be a pipe, which is read to its end.
  /// - Throws: `CheckpointError` if nothing is there, if it is a directory or a device, or if it
  ///   cannot be read.
  public init(
    path: String, system: any FileSystem = POSIXFileSystem(), acceptsPipes: Bool = true
  ) throws(CheckpointError) {
    let location = CheckpointError.Location(file: path)
    let descriptor: Int32
    do throws(SystemError) {
      descriptor = try system.untilDone { () throws(SystemError) in
        try system.open(path, for: .reading(waiting: acceptsPipes))
      }
    } catch {
      throw CheckpointError(
        error.code == ENOENT || error.code == ENOTDIR
          ? .fileMissing : .cannotOpen(code: error.code), at: location)
    }
    defer { try? system.close(descriptor) }
    self.path = path
    self.system = system
    container = nil
    do throws(SystemError) {
      let status = try system.untilDone { () throws(SystemError) in try system.status(descriptor) }
      switch status.kind {
      case .file:
        map = try system.untilDone { () throws(SystemError) in
          try system.map(descriptor, count: status.size, path: path)
        }
        self.status = status
        return
      case .pipe where acceptsPipes:
        map = FileMap(bytes: try Self.drain(descriptor, system))
        self.status = nil
        return
      default:
        map = FileMap(bytes: UnsafeRawBufferPointer(start: nil, count: 0))
        self.status = status
      }
    } catch {
      throw CheckpointError(.cannotRead(code: error.code), at: location)
    }
    switch status?.kind {
    case .folder: throw CheckpointError(.isDirectory, at: location)
    case .pipe: throw CheckpointError(.isPipe, at: location)
    default: throw CheckpointError(.isDevice, at: location)
    }
  }

  /// A file inside a file: what a member of an archive holds, under a path for messages.
  package init(inside container: any ByteOwner, path: String) throws(CheckpointError) {
    self.path = path
    self.container = container
    map = FileMap(bytes: try container.load())
    system = POSIXFileSystem()
    status = nil
  }

  deinit {
    if container != nil { return }
    guard let status else { return bytes.deallocate() }
    if status.kind == .file { system.unmap(map) }
  }

  private static func drain(
    _ descriptor: Int32, _ system: any FileSystem
  ) throws(SystemError) -> UnsafeRawBufferPointer {
    var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    var count = 0
    do throws(SystemError) {
      while true {
        if count == buffer.count {
          let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: 2 * buffer.count, alignment: 16)
          larger.copyMemory(from: UnsafeRawBufferPointer(buffer))
          buffer.deallocate()
          buffer = larger
        }
        let received = try system.untilDone { () throws(SystemError) in
          try system.read(
            descriptor, into: UnsafeMutableRawBufferPointer(rebasing: buffer[count...]))
        }
        if received == 0 { break }
        count += received
      }
    } catch {
      buffer.deallocate()
      throw error
    }
    return UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count])
  }
}

extension MappedFile {
  /// - Throws: `changed` if the file at the path is no longer the one that was opened, with the
  ///   content that it had.
  package func requireUnchanged() throws(CheckpointError) {
    guard let status else { return }
    let location = CheckpointError.Location(file: path)
    let now: FileStatus?
    do throws(SystemError) {
      now = try system.found(path)
    } catch {
      throw CheckpointError(.cannotRead(code: error.code), at: location)
    }
    guard let now else { throw CheckpointError(.changed(.removed), at: location) }
    // The map keeps the file alive, so no other one can have its number.
    if !now.isSameFile(as: status) { throw CheckpointError(.changed(.replaced), at: location) }
    if now.size != status.size {
      throw CheckpointError(.changed(.resized(from: status.size, to: now.size)), at: location)
    }
    if (now.seconds, now.nanoseconds) != (status.seconds, status.nanoseconds) {
      throw CheckpointError(.changed(.rewritten), at: location)
    }
  }

  /// The pages that have been read need not stay in memory.
  package func release() { release(0..<bytes.count) }

  private var isMapped: Bool { container == nil && status?.kind == .file }
}

extension MappedFile: ByteOwner {
  package func load() throws(CheckpointError) -> UnsafeRawBufferPointer { bytes }
  package var copies: Int { container?.copies ?? (isMapped ? 0 : 1) }
  package func fetch(_ bytes: Range<Int>) { if isMapped { system.fetch(map, bytes) } }
  package func release(_ bytes: Range<Int>) { if isMapped { system.release(map, bytes) } }
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
