import CLibZip
import Foundation

/// The members of a zip archive, through libzip. The archive is read from the mapped file.
package final class ZipArchive: @unchecked Sendable {
  package struct Member: Sendable {
    package var name: String
    /// Bytes after unpacking, as declared; reading checks that there are exactly as many.
    package var size: Int
    /// Whether the bytes are in the file as they are.
    package var isStored: Bool
    fileprivate var index: UInt64
  }

  package let path: String
  package let members: [Member]
  /// Where the members' headers are in the file, by name.
  let directory: [String: Int]
  package let file: MappedFile
  private let archive: OpaquePointer
  // libzip is not safe for use of one archive from several threads.
  private let lock = NSLock()

  /// libzip 1.7 miscounts what a read of 4 GiB or more returns; a read of 1 GiB is as fast.
  package static let largestPiece = 1 << 30
  private let piece: Int

  // Deflate makes at most 258 bytes of 2 bits, 1032:1.
  private static let deflateRatio: UInt64 = 1032

  /// Opens the archive and checks the declared sizes of all members; unpacks nothing.
  ///
  /// - Parameter piece: The most that is asked of libzip at once.
  package init(
    _ file: MappedFile, piece: Int = ZipArchive.largestPiece
  ) throws(CheckpointError) {
    self.file = file
    self.piece = piece
    path = file.path
    directory = Self.offsets(file.bytes)
    let location = CheckpointError.Location(file: file.path)
    var zipError = zip_error_t()
    zip_error_init(&zipError)
    defer { zip_error_fini(&zipError) }
    guard
      let source = zip_source_buffer_create(
        file.bytes.baseAddress, UInt64(file.bytes.count), 0, &zipError)
    else {
      throw CheckpointError(.invalidZip(Self.message(&zipError)), at: location)
    }
    guard
      let archive = zip_open_from_source(
        source, Int32(ZIP_RDONLY) | Int32(ZIP_CHECKCONS), &zipError)
    else {
      zip_source_free(source)
      throw CheckpointError(.invalidZip(Self.message(&zipError)), at: location)
    }
    self.archive = archive
    do throws(CheckpointError) {
      members = try Self.list(archive, file)
    } catch {
      zip_discard(archive)
      throw error
    }
  }

  deinit { zip_discard(archive) }

  private static func list(
    _ archive: OpaquePointer, _ file: MappedFile
  ) throws(CheckpointError) -> [Member] {
    var members: [Member] = []
    var stored: UInt64 = 0
    for index in 0..<UInt64(max(0, zip_get_num_entries(archive, 0))) {
      var status = zip_stat_t()
      zip_stat_init(&status)
      let needed = UInt64(
        ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD
          | ZIP_STAT_ENCRYPTION_METHOD)
      guard zip_stat_index(archive, index, 0, &status) == 0, status.valid & needed == needed,
        let name = String(validatingCString: status.name), name.isStreamSafe
      else {
        throw CheckpointError(
          .invalidZip("member \(index) has no readable name or size"), at: .init(file: file.path))
      }
      let location = CheckpointError.Location(file: file.path, tensor: name)
      if status.encryption_method != ZIP_EM_NONE { throw CheckpointError(.encrypted, at: location) }
      let isDeflated = Int32(status.comp_method) == ZIP_CM_DEFLATE
      if !isDeflated && Int32(status.comp_method) != ZIP_CM_STORE {
        throw CheckpointError(
          .unsupportedCompression(method: Int(status.comp_method)), at: location)
      }
      // Members that share their bytes, the trick of the densest zip bombs, have more of them
      // together than the file.
      let (total, overflow) = stored.addingReportingOverflow(status.comp_size)
      stored = total
      if overflow || stored > UInt64(file.bytes.count) {
        throw CheckpointError(
          .invalidZip("its members claim more bytes than the file has"), at: location)
      }
      let most = isDeflated ? status.comp_size.multipliedReportingOverflow(by: deflateRatio) : nil
      if status.size > (most.map { $0.overflow ? .max : $0.partialValue } ?? status.comp_size) {
        throw CheckpointError(
          .implausibleSize(declared: status.size, stored: status.comp_size), at: location)
      }
      guard let size = Int(exactly: status.size) else {
        throw CheckpointError(
          .implausibleSize(declared: status.size, stored: status.comp_size), at: location)
      }
      members.append(Member(name: name, size: size, isStored: !isDeflated, index: index))
    }
    return members
  }

  private static func message(_ error: UnsafeMutablePointer<zip_error_t>) -> String {
    // In libzip's words for writers, "File already exists".
    if zip_error_code_zip(error) == ZIP_ER_EXISTS { return "two members have the same name" }
    return String(cString: zip_error_strerror(error))
  }
}

// MARK: - Reading members

extension ZipArchive {
  /// Unpacks the first bytes of a member: `count`, or all if there are fewer.
  package func prefix(_ count: Int, of member: Member) throws(CheckpointError) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: min(count, member.size))
    let outcome: Result<Void, CheckpointError> = result.withUnsafeMutableBytes { buffer in
      Result { () throws(CheckpointError) in
        try read(member) { stream throws(CheckpointError) in try stream.fill(buffer) }
      }
    }
    try outcome.get()
    return result
  }

  /// Unpacks all of a member from `offset` on into `buffer`, which must be of that size, and
  /// checks its checksum.
  package func read(
    _ member: Member, from offset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(CheckpointError) {
    precondition(
      offset >= 0 && buffer.count == member.size - offset,
      "ZipArchive: \(buffer.count) bytes for \(member.size) from \(offset)")
    try read(member) { stream throws(CheckpointError) in
      try stream.skip(offset)
      try stream.fill(buffer)
      try stream.finish()
    }
  }

  private func read(
    _ member: Member, _ body: (Stream) throws(CheckpointError) -> Void
  ) throws(CheckpointError) {
    lock.lock()
    defer { lock.unlock() }
    let location = CheckpointError.Location(file: path, tensor: member.name)
    guard let handle = zip_fopen_index(archive, member.index, 0) else {
      let reason = Self.message(zip_get_error(archive))
      throw CheckpointError(.invalidZip(reason), at: location)
    }
    defer { zip_fclose(handle) }
    try body(Stream(handle: handle, location: location, piece: piece))
  }

  /// A member while it is unpacked.
  private struct Stream {
    let handle: OpaquePointer
    let location: CheckpointError.Location
    let piece: Int

    func fill(_ buffer: UnsafeMutableRawBufferPointer) throws(CheckpointError) {
      var position = 0
      while position < buffer.count {
        let count = zip_fread(
          handle, buffer.baseAddress! + position, UInt64(min(buffer.count - position, piece)))
        if count < 0 { throw failure() }
        if count == 0 {
          throw CheckpointError(
            .invalidZip("the member ends after \(position) of \(buffer.count) bytes"), at: location)
        }
        position += Int(count)
      }
    }

    func skip(_ count: Int) throws(CheckpointError) {
      let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
      defer { scratch.deallocate() }
      try fill(scratch)
    }

    /// The checksum is verified when the end is met.
    func finish() throws(CheckpointError) {
      var byte: UInt8 = 0
      let count = zip_fread(handle, &byte, 1)
      if count < 0 { throw failure() }
      if count > 0 {
        throw CheckpointError(
          .invalidZip("the member is longer than declared"), at: location)
      }
    }

    private func failure() -> CheckpointError {
      CheckpointError(
        .invalidZip(ZipArchive.message(zip_file_get_error(handle))), at: location)
    }
  }
}
