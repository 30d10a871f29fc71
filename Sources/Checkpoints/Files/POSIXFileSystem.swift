import CFiles
import Foundation
import Synchronization

/// The file system of the machine.
public struct POSIXFileSystem: FileSystem {
  /// It holds no state: all of them are the same.
  public init() {}

  /// From here on, where a mapped file can no longer be read (it was cut short, or its disk fails),
  /// the process ends: with `prefix` and an error that names the file on standard error, and this
  /// status. Without that the system ends it by SIGBUS, without a word.
  ///
  /// - Parameter names: How the error spells settings.
  public static func endProcessOnLostFiles(
    prefix: String, status: Int32, names: SettingNames = .plain
  ) {
    settingNames.withLock { $0 = names }
    cf_end_on_lost_bytes(prefix, status)
  }

  private static let settingNames = Mutex(SettingNames.plain)

  private func check(_ result: Int32) throws(SystemError) {
    if result < 0 { throw SystemError(errno) }
  }

  private func check(_ result: Int) throws(SystemError) -> Int {
    if result < 0 { throw SystemError(errno) }
    return result
  }
}

// MARK: - Looking

extension POSIXFileSystem {
  public func status(
    of path: String, followingLinks: Bool
  ) throws(SystemError) -> FileStatus {
    var status = stat()
    try check(followingLinks ? stat(path, &status) : lstat(path, &status))
    return FileStatus(status)
  }

  public func names(in folder: String) throws(SystemError) -> [String] {
    guard let stream = opendir(folder) else { throw SystemError(errno) }
    defer { closedir(stream) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = readdir(stream) else {
        if errno != 0 { throw SystemError(errno) }
        return names
      }
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
  }

  public func requireWritable(_ path: String) throws(SystemError) {
    try check(access(path, W_OK))
  }
}

extension FileStatus {
  fileprivate init(_ status: stat) {
    let kind: Kind =
      switch status.st_mode & S_IFMT {
      case S_IFREG: .file
      case S_IFDIR: .folder
      case S_IFIFO, S_IFSOCK: .pipe
      case S_IFLNK: .link
      default: .device
      }
    #if canImport(Darwin)
      let modified = status.st_mtimespec
    #else
      let modified = status.st_mtim
    #endif
    self.init(
      kind: kind, size: Int(status.st_size), device: UInt64(truncatingIfNeeded: status.st_dev),
      inode: UInt64(status.st_ino), links: Int(status.st_nlink), seconds: modified.tv_sec,
      nanoseconds: modified.tv_nsec)
  }
}

// MARK: - Names

extension POSIXFileSystem {
  public func makeFolder(_ path: String) throws(SystemError) { try check(mkdir(path, 0o777)) }

  public func rename(_ path: String, to new: String) throws(SystemError) {
    try check(Foundation.rename(path, new))
  }

  public func remove(_ path: String) throws(SystemError) { try check(unlink(path)) }
}

// MARK: - Open files

extension POSIXFileSystem {
  public func open(_ path: String, for access: FileAccess) throws(SystemError) -> Int32 {
    let flags: Int32 =
      switch access {
      case .reading(true): O_RDONLY
      case .reading(false): O_RDONLY | O_NONBLOCK
      case .updating: O_RDWR | O_NONBLOCK | O_NOFOLLOW
      case .creating: O_RDWR | O_CREAT | O_EXCL
      case .streaming: O_WRONLY
      case .folder: O_RDONLY | O_DIRECTORY
      }
    let descriptor = Foundation.open(path, flags | O_CLOEXEC, 0o666)
    try check(descriptor)
    return descriptor
  }

  public func close(_ descriptor: Int32) throws(SystemError) {
    try check(Foundation.close(descriptor))
  }

  public func status(_ descriptor: Int32) throws(SystemError) -> FileStatus {
    var status = stat()
    try check(fstat(descriptor, &status))
    return FileStatus(status)
  }

  public func read(
    _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer
  ) throws(SystemError) -> Int {
    try check(Foundation.read(descriptor, buffer.baseAddress, buffer.count))
  }

  public func write(
    _ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, at offset: Int?
  ) throws(SystemError) -> Int {
    let result =
      if let offset {
        pwrite(descriptor, bytes.baseAddress, bytes.count, off_t(offset))
      } else {
        Foundation.write(descriptor, bytes.baseAddress, bytes.count)
      }
    // Bytes of a map that are lost; the output is not at fault.
    if result < 0 && errno == EFAULT { cf_touch(bytes.baseAddress, bytes.count) }
    return try check(result)
  }

  public func truncate(_ descriptor: Int32, to length: Int) throws(SystemError) {
    try check(ftruncate(descriptor, off_t(length)))
  }

  public func synchronize(_ descriptor: Int32) throws(SystemError) {
    try check(fsync(descriptor))
  }

  public func lock(_ descriptor: Int32) throws(SystemError) -> FileLock {
    if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return .held }
    if errno == EINTR { throw SystemError(EINTR) }
    return errno == EWOULDBLOCK ? .taken : .unsupported
  }
}

// MARK: - Maps

extension POSIXFileSystem {
  public func map(
    _ descriptor: Int32, count: Int, path: String
  ) throws(SystemError) -> FileMap {
    // A map of no bytes is an error to the system.
    if count == 0 { return FileMap(bytes: UnsafeRawBufferPointer(start: nil, count: 0)) }
    let address = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0)
    guard let address, address != MAP_FAILED else { throw SystemError(errno) }
    let message =
      CheckpointError(.lost, at: .init(file: path)).message.text(
        Self.settingNames.withLock { $0 }) + "\n"
    return FileMap(
      bytes: UnsafeRawBufferPointer(start: address, count: count),
      token: cf_guard(address, count, message))
  }

  public func unmap(_ map: FileMap) {
    guard let base = map.bytes.baseAddress else { return }
    cf_unguard(map.token)
    munmap(UnsafeMutableRawPointer(mutating: base), map.bytes.count)
  }

  public func release(_ map: FileMap, _ bytes: Range<Int>) { advise(map, bytes, MADV_DONTNEED) }

  public func fetch(_ map: FileMap, _ bytes: Range<Int>) { advise(map, bytes, MADV_WILLNEED) }

  /// About all pages that have some of the bytes. What the system makes of it shows in no result.
  private func advise(_ map: FileMap, _ bytes: Range<Int>, _ advice: Int32) {
    guard let base = map.bytes.baseAddress, !bytes.isEmpty else { return }
    let page = Int(getpagesize())
    let start = bytes.lowerBound / page * page
    madvise(
      UnsafeMutableRawPointer(mutating: base + start), bytes.upperBound - start, advice)
  }
}

// MARK: - Time

extension POSIXFileSystem {
  public var now: Moment {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Moment(date: Date(), uptime: Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9)
  }
}
