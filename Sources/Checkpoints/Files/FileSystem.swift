import Foundation

/// Everything that the package asks about files, and the time: the one seam between it and the
/// operating system. `POSIXFileSystem` is the real one; tests bring one that fails on purpose.
///
/// Calls are those of POSIX, and as unforgiving: a call may be interrupted (`EINTR`), a read or write
/// may move fewer bytes than asked for, and nothing is on the disk before `synchronize`, a name not
/// before its folder is synchronized.
public protocol FileSystem: Sendable {
  // MARK: Looking

  /// What is at a path; with `followingLinks` what a link at its end leads to.
  func status(of path: String, followingLinks: Bool) throws(SystemError) -> FileStatus
  /// Without `.` and `..`, in no order.
  func names(in folder: String) throws(SystemError) -> [String]
  /// - Throws: If the process may not write to what is there.
  func requireWritable(_ path: String) throws(SystemError)

  // MARK: Names

  /// Makes one folder; what it lies in has to be there.
  func makeFolder(_ path: String) throws(SystemError)
  /// Replaces what has the new name; a link is replaced, not followed.
  func rename(_ path: String, to new: String) throws(SystemError)
  /// Removes the name of a file; a link, not what it leads to.
  func remove(_ path: String) throws(SystemError)

  // MARK: Open files

  /// - Returns: A descriptor, which the caller closes.
  func open(_ path: String, for access: FileAccess) throws(SystemError) -> Int32
  /// Closes the descriptor, also where that fails.
  func close(_ descriptor: Int32) throws(SystemError)
  /// What an open file is now.
  func status(_ descriptor: Int32) throws(SystemError) -> FileStatus
  /// - Returns: The number of bytes, 0 at the end.
  func read(
    _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer
  ) throws(SystemError) -> Int
  /// At the descriptor's place, or at an offset of a file that has one.
  ///
  /// - Returns: The number of bytes.
  func write(
    _ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, at offset: Int?
  ) throws(SystemError) -> Int
  /// Cuts or extends an open file.
  func truncate(_ descriptor: Int32, to length: Int) throws(SystemError)
  /// Returns when content and size, or the names in a folder, are on the disk.
  func synchronize(_ descriptor: Int32) throws(SystemError)
  /// A lock on the file that other processes see and that ends with the descriptor.
  func lock(_ descriptor: Int32) throws(SystemError) -> FileLock

  // MARK: Maps

  /// The first bytes of an open file as memory, which outlives the descriptor.
  ///
  /// - Parameter path: For the message where the bytes are lost while they are read.
  func map(
    _ descriptor: Int32, count: Int, path: String
  ) throws(SystemError) -> FileMap
  /// Gives the memory back; nothing may read it afterwards.
  func unmap(_ map: FileMap)
  /// These bytes of the map need not stay in memory; they are read again when they are touched.
  func release(_ map: FileMap, _ bytes: Range<Int>)
  /// These bytes of the map will be read soon.
  func fetch(_ map: FileMap, _ bytes: Range<Int>)

  // MARK: Time

  /// The time by both clocks.
  var now: Moment { get }
}

/// A call that has failed.
public struct SystemError: Error, Equatable, Sendable {
  /// errno
  public var code: Int32

  /// - Parameter code: errno.
  public init(_ code: Int32) { self.code = code }
}

/// What a file is opened for.
public enum FileAccess: Equatable, Sendable {
  /// A pipe is waited for until it has a writer, or not.
  case reading(waiting: Bool)
  /// To read and write what is there; no link is followed, and no pipe waited for.
  case updating
  /// To read and write a file that is not there yet.
  case creating
  /// To write to a pipe or a device.
  case streaming
  /// To synchronize its names.
  case folder
}

/// What `stat` tells.
public struct FileStatus: Equatable, Sendable {
  /// What there may be at a path.
  public enum Kind: Equatable, Sendable {
    /// A regular file.
    case file
    /// A folder.
    case folder
    /// Named or not, or a socket.
    case pipe
    /// A device of blocks or of characters.
    case device
    /// A symbolic link.
    case link
  }

  /// What it is.
  public var kind: Kind
  /// Bytes.
  public var size: Int
  /// Of the file system.
  public var device: UInt64
  /// Of the file, in its file system.
  public var inode: UInt64
  /// Names that the file has; an open file may have none.
  public var links: Int
  /// Of the last change of the content.
  public var seconds: Int
  /// Beside `seconds`.
  public var nanoseconds: Int

  /// With all of its parts.
  public init(
    kind: Kind, size: Int, device: UInt64, inode: UInt64, links: Int, seconds: Int,
    nanoseconds: Int
  ) {
    self.kind = kind
    self.size = size
    self.device = device
    self.inode = inode
    self.links = links
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }

  /// Whether two looks were at one file, whatever its content.
  public func isSameFile(as other: FileStatus) -> Bool {
    (device, inode) == (other.device, other.inode)
  }
}

/// What came of asking for a lock.
public enum FileLock: Equatable, Sendable {
  /// It is ours until the descriptor is closed.
  case held
  /// Another process, or another descriptor of this one, has it.
  case taken
  /// The file system has no locks.
  case unsupported
}

/// Mapped bytes.
public struct FileMap: @unchecked Sendable {
  /// The bytes, as long as the map is there.
  public var bytes: UnsafeRawBufferPointer
  /// Whatever the file system knows it by.
  public var token: UnsafeMutableRawPointer?

  /// With all of its parts.
  public init(bytes: UnsafeRawBufferPointer, token: UnsafeMutableRawPointer? = nil) {
    self.bytes = bytes
    self.token = token
  }
}

/// A point in time, by two clocks.
public struct Moment: Equatable, Sendable {
  /// The clock on the wall, which may be set back.
  public var date: Date
  /// Seconds since some moment; they never go back.
  public var uptime: Double

  /// With all of its parts.
  public init(date: Date, uptime: Double) {
    self.date = date
    self.uptime = uptime
  }

  /// Seconds since an earlier moment.
  public func seconds(since earlier: Moment) -> Double { uptime - earlier.uptime }
}

// MARK: - Whole operations

extension FileSystem {
  /// A call for as often as a signal interrupts it.
  package func untilDone<Result>(
    _ call: () throws(SystemError) -> Result
  ) throws(SystemError) -> Result {
    while true {
      do throws(SystemError) {
        return try call()
      } catch {
        if error.code != EINTR { throw error }
      }
    }
  }

  /// All of the bytes.
  package func writeAll(
    _ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, at offset: Int? = nil
  ) throws(SystemError) {
    var written = 0
    while written < bytes.count {
      written += try untilDone { () throws(SystemError) in
        try write(
          descriptor, UnsafeRawBufferPointer(rebasing: bytes[written...]),
          at: offset.map { $0 + written })
      }
    }
  }

  /// Everything from the descriptor's place to the end.
  package func readAll(_ descriptor: Int32) throws(SystemError) -> Data {
    var data = Data()
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { piece.deallocate() }
    while true {
      let count = try untilDone { () throws(SystemError) in try read(descriptor, into: piece) }
      if count == 0 { return data }
      data.append(contentsOf: UnsafeRawBufferPointer(rebasing: piece[..<count]))
    }
  }

  /// What is at a path, `nil` if nothing is.
  package func found(
    _ path: String, followingLinks: Bool = true
  ) throws(SystemError) -> FileStatus? {
    do throws(SystemError) {
      return try untilDone { () throws(SystemError) in
        try status(of: path, followingLinks: followingLinks)
      }
    } catch {
      if error.code == ENOENT || error.code == ENOTDIR { return nil }
      throw error
    }
  }

  /// Whether something is there; what cannot be looked at is not.
  package func exists(_ path: String) -> Bool { (try? found(path)) ?? nil != nil }

  /// Makes new names in a folder durable. Some file systems refuse that, and a folder may be
  /// written to that may not be read; the names are then as durable as they are made.
  package func synchronizeFolder(_ path: String) throws(SystemError) {
    do throws(SystemError) {
      let descriptor = try untilDone { () throws(SystemError) in try open(path, for: .folder) }
      defer { try? close(descriptor) }
      try untilDone { () throws(SystemError) in try synchronize(descriptor) }
    } catch {
      if ![EACCES, EPERM, EINVAL, ENOTSUP, ENOSYS].contains(error.code) { throw error }
    }
  }
}

/// The folder of a path: everything before the last component, `.` if there is nothing.
package func folderName(of path: String) -> String {
  var parts = path[...]
  while parts.count > 1, parts.last == "/" { parts = parts.dropLast() }
  guard let slash = parts.lastIndex(of: "/") else { return "." }
  return slash == parts.startIndex ? "/" : String(parts[..<slash])
}

/// A file in a folder.
package func joined(_ folder: String, _ name: String) -> String {
  folder.hasSuffix("/") ? folder + name : folder + "/" + name
}
