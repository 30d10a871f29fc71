import Checkpoints
import Foundation
import Synchronization

/// One process on a `SimulatedDisk`, to whose calls everything happens that can: errors, short reads
/// and writes, a clock that is set back, files that others change, and death at any call.
///
/// What happens depends on the seed and the calls alone.
package final class SimulatedFileSystem: FileSystem {
  /// What happens to this process.
  package struct Fate: Sendable {
    /// Of an error, at each call.
    package var errors = 0.0
    /// Of fewer bytes than asked for, at each read and write.
    package var shortness = 0.0
    /// Of the clock being set, at each look at it.
    package var clockSteps = 0.0
    /// The call at which the process dies.
    package var death: Int?
    /// What others do to the disk before a call.
    package var meanwhile: (call: Int, change: @Sendable (inout SimulatedDisk) -> Void)?

    package init() {}
  }

  private struct OpenFile {
    var file: Int
    var place = 0
    var path: String
  }

  private struct State {
    var disk: SimulatedDisk
    var fate: Fate
    var random: SeededGenerator
    var calls = 0
    var isDead = false
    var open: [Int32: OpenFile] = [:]
    var nextDescriptor: Int32 = 3
    var uptime = 0.0
    var setBack = 0.0
  }

  private let state: Mutex<State>

  package init(_ disk: SimulatedDisk, fate: Fate = Fate(), seed: UInt64 = 0) {
    state = Mutex(State(disk: disk, fate: fate, random: SeededGenerator(seed: seed)))
  }

  package var disk: SimulatedDisk { state.withLock { $0.disk } }
  /// Calls so far.
  package var calls: Int { state.withLock { $0.calls } }
  package var isDead: Bool { state.withLock { $0.isDead } }
  package var openFiles: Int { state.withLock { $0.open.count } }

  /// - Parameter errors: Those that the call may fail with here.
  private func call<Result: Sendable>(
    _ errors: [Int32], _ body: (inout State) throws(SystemError) -> Result
  ) throws(SystemError) -> Result {
    try state.withLock { state throws(SystemError) -> Result in
      // What a dead process asks for has no effect; nobody is told.
      if state.isDead { throw SystemError(ESRCH) }
      state.calls += 1
      if let meanwhile = state.fate.meanwhile, meanwhile.call == state.calls {
        meanwhile.change(&state.disk)
      }
      if state.calls == state.fate.death {
        state.isDead = true
        throw SystemError(ESRCH)
      }
      if state.fate.errors > 0, state.random.uniform() < state.fate.errors {
        throw SystemError(errors.randomElement(using: &state.random)!)
      }
      return try body(&state)
    }
  }

  /// Of `count` bytes.
  private func moved(_ count: Int, _ state: inout State) -> Int {
    if count < 2 || state.random.uniform() >= state.fate.shortness { return count }
    return Int.random(in: 1..<count, using: &state.random)
  }
}

// MARK: - Looking

extension SimulatedFileSystem {
  package func status(
    of path: String, followingLinks: Bool
  ) throws(SystemError) -> FileStatus {
    try call([EINTR, EIO, EACCES]) { state throws(SystemError) in
      guard let file = state.disk.names[path] else { throw SystemError(ENOENT) }
      return Self.status(file, state.disk)
    }
  }

  private static func status(_ file: Int, _ disk: SimulatedDisk) -> FileStatus {
    let it = disk.files[file]!
    return FileStatus(
      kind: it.kind, size: it.content.count, device: 1, inode: UInt64(file),
      links: disk.links(file), seconds: it.modified, nanoseconds: 0)
  }

  package func names(in folder: String) throws(SystemError) -> [String] {
    try call([EIO, EACCES, EMFILE]) { state throws(SystemError) in
      if state.disk.names[folder] == nil { throw SystemError(ENOENT) }
      return state.disk.content(of: folder)
    }
  }

  package func requireWritable(_ path: String) throws(SystemError) {
    try call([EIO, EACCES]) { _ throws(SystemError) in }
  }
}

// MARK: - Names

extension SimulatedFileSystem {
  package func makeFolder(_ path: String) throws(SystemError) {
    try call([EINTR, EIO, ENOSPC, EACCES]) { state throws(SystemError) in
      if state.disk.names[path] != nil { throw SystemError(EEXIST) }
      if state.disk.names[folderName(of: path)] == nil { throw SystemError(ENOENT) }
      state.disk.change([(path, state.disk.make(.folder))], in: folderName(of: path))
    }
  }

  package func rename(_ path: String, to new: String) throws(SystemError) {
    try call([EINTR, EIO, ENOSPC, EACCES]) { state throws(SystemError) in
      guard let file = state.disk.names[path] else { throw SystemError(ENOENT) }
      precondition(folderName(of: path) == folderName(of: new), "rename across folders")
      state.disk.change([(path, nil), (new, file)], in: folderName(of: new))
    }
  }

  package func remove(_ path: String) throws(SystemError) {
    try call([EIO, EACCES]) { state throws(SystemError) in
      if state.disk.names[path] == nil { throw SystemError(ENOENT) }
      state.disk.change([(path, nil)], in: folderName(of: path))
    }
  }
}

// MARK: - Open files

extension SimulatedFileSystem {
  package func open(_ path: String, for access: FileAccess) throws(SystemError) -> Int32 {
    // A folder whose names cannot be synchronized is a matter of its kind, not of the moment.
    try call(access == .folder ? [EINTR, EIO, EMFILE] : [EINTR, EIO, EACCES, EMFILE]) {
      state throws(SystemError) in
      let file: Int
      if access == .creating {
        if state.disk.names[path] != nil { throw SystemError(EEXIST) }
        if state.disk.names[folderName(of: path)] == nil { throw SystemError(ENOENT) }
        file = state.disk.make(.file)
        state.disk.change([(path, file)], in: folderName(of: path))
      } else {
        guard let found = state.disk.names[path] else { throw SystemError(ENOENT) }
        file = found
      }
      state.nextDescriptor += 1
      state.open[state.nextDescriptor] = OpenFile(file: file, path: path)
      return state.nextDescriptor
    }
  }

  package func close(_ descriptor: Int32) throws(SystemError) {
    // A descriptor is gone also where closing it fails.
    defer {
      state.withLock { state in
        guard !state.isDead, let it = state.open.removeValue(forKey: descriptor) else { return }
        if state.disk.files[it.file]!.lock == descriptor { state.disk.files[it.file]!.lock = nil }
      }
    }
    try call([EINTR, EIO]) { _ throws(SystemError) in }
  }

  package func status(_ descriptor: Int32) throws(SystemError) -> FileStatus {
    try call([EINTR, EIO]) { state throws(SystemError) in
      Self.status(try Self.file(descriptor, state), state.disk)
    }
  }

  private static func file(_ descriptor: Int32, _ state: State) throws(SystemError) -> Int {
    guard let it = state.open[descriptor] else { throw SystemError(EBADF) }
    return it.file
  }

  package func read(
    _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer
  ) throws(SystemError) -> Int {
    // Raw pointers do not leave this call.
    let target = UInt(bitPattern: buffer.baseAddress)
    let room = buffer.count
    return try call([EINTR, EIO]) { state throws(SystemError) in
      let file = try Self.file(descriptor, state)
      let place = state.open[descriptor]!.place
      let content = state.disk.files[file]!.content
      let count = moved(min(room, max(content.count - place, 0)), &state)
      if count > 0 {
        content[place..<place + count].withUnsafeBytes {
          UnsafeMutableRawPointer(bitPattern: target)!.copyMemory(
            from: $0.baseAddress!, byteCount: count)
        }
      }
      state.open[descriptor]!.place += count
      return count
    }
  }

  package func write(
    _ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, at offset: Int?
  ) throws(SystemError) -> Int {
    let all = Array(bytes)
    return try call([EINTR, EIO, ENOSPC]) { state throws(SystemError) in
      let file = try Self.file(descriptor, state)
      let place = offset ?? state.open[descriptor]!.place
      let count = moved(all.count, &state)
      var content = state.disk.files[file]!.content
      if content.count < place + count {
        content += [UInt8](repeating: 0, count: place + count - content.count)
      }
      content.replaceSubrange(place..<place + count, with: all[..<count])
      state.disk.set(file, content)
      if offset == nil { state.open[descriptor]!.place += count }
      return count
    }
  }

  package func truncate(_ descriptor: Int32, to length: Int) throws(SystemError) {
    try call([EINTR, EIO]) { state throws(SystemError) in
      let file = try Self.file(descriptor, state)
      let content = state.disk.files[file]!.content
      state.disk.set(
        file,
        Array(content.prefix(length))
          + [UInt8](repeating: 0, count: max(length - content.count, 0)))
    }
  }

  package func synchronize(_ descriptor: Int32) throws(SystemError) {
    try call([EINTR, EIO, ENOSPC]) { state throws(SystemError) in
      let file = try Self.file(descriptor, state)
      if state.disk.files[file]!.kind == .folder {
        state.disk.synchronizeNames(in: state.open[descriptor]!.path)
      } else {
        state.disk.files[file]!.durable = state.disk.files[file]!.content
      }
    }
  }

  package func lock(_ descriptor: Int32) throws(SystemError) -> FileLock {
    try call([EINTR]) { state throws(SystemError) in
      let file = try Self.file(descriptor, state)
      if let holder = state.disk.files[file]!.lock, holder != descriptor { return .taken }
      state.disk.files[file]!.lock = descriptor
      return .held
    }
  }
}

// MARK: - Maps

extension SimulatedFileSystem {
  package func map(
    _ descriptor: Int32, count: Int, path: String
  ) throws(SystemError) -> FileMap {
    try call([EINTR, ENOMEM, ENFILE]) { state throws(SystemError) in
      let file = try Self.file(descriptor, state)
      let content = state.disk.files[file]!.content
      let map = UnsafeMutableRawBufferPointer.allocate(byteCount: max(count, 1), alignment: 64)
      map.initializeMemory(as: UInt8.self, repeating: 0)
      content.withUnsafeBytes {
        map.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<min(count, $0.count)]))
      }
      let address = UInt(bitPattern: map.baseAddress)
      state.disk.files[file]!.maps.append(address)
      return FileMap(
        bytes: UnsafeRawBufferPointer(start: map.baseAddress, count: count),
        token: UnsafeMutableRawPointer(bitPattern: UInt(file)))
    }
  }

  package func unmap(_ map: FileMap) {
    let address = UInt(bitPattern: map.bytes.baseAddress)
    state.withLock { state in
      state.disk.files[Int(bitPattern: map.token)]?.maps.removeAll { $0 == address }
    }
    map.bytes.deallocate()
  }

  package func release(_ map: FileMap, _ bytes: Range<Int>) {}
  package func fetch(_ map: FileMap, _ bytes: Range<Int>) {}
}

// MARK: - Time

extension SimulatedFileSystem {
  package var now: Moment {
    state.withLock { state in
      state.uptime += 1
      if state.random.uniform() < state.fate.clockSteps { state.setBack += 3600 }
      return Moment(
        date: Date(timeIntervalSince1970: 1_800_000_000 + state.uptime - state.setBack),
        uptime: state.uptime)
    }
  }
}
