import Foundation

/// Where members lie in the file. libzip does not say, so the directory is read here once more.
/// libzip has checked the archive before; what is read here is not trusted either.
///
/// Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7, 4.3.12-4.3.16.
extension ZipArchive {
  /// The bytes of an uncompressed member, as a range of the file; nil if it is compressed.
  ///
  /// - Throws: `invalidZip` if the member is not where the directory says.
  package func storedRange(of member: Member) throws(CheckpointError) -> Range<Int>? {
    guard member.isStored else { return nil }
    let bytes = file.bytes
    // 30 bytes, the name, further fields, the data.
    guard let header = directory[member.name], header >= 0, header <= bytes.count - 30,
      Self.number(bytes, header, UInt32.self) == 0x0403_4B50
    else { throw misplaced(member) }
    let start =
      header + 30 + Self.number(bytes, header + 26, UInt16.self)
      + Self.number(bytes, header + 28, UInt16.self)
    guard start <= bytes.count, member.size <= bytes.count - start else { throw misplaced(member) }
    return start..<start + member.size
  }

  /// All of a member: in place if it is uncompressed, otherwise unpacked.
  package func bytes(of member: Member) throws(CheckpointError) -> any ByteOwner {
    if let range = try storedRange(of: member) { return FileSlice(file: file, range: range) }
    return try OwnedBytes(count: member.size) { buffer throws(CheckpointError) in
      try read(member, from: 0, into: buffer)
    }
  }

  private func misplaced(_ member: Member) -> CheckpointError {
    CheckpointError(
      .invalidZip("the member is not where the directory says"),
      at: .init(file: path, tensor: member.name))
  }

  // MARK: - The directory

  /// Offsets of the members' headers by name, as far as the directory can be followed.
  static func offsets(_ bytes: UnsafeRawBufferPointer) -> [String: Int] {
    guard let (count, start) = end(bytes), count >= 0 else { return [:] }
    var result: [String: Int] = [:]
    var position = start
    for _ in 0..<count {
      guard position >= 0, position <= bytes.count - 46,
        number(bytes, position, UInt32.self) == 0x0201_4B50
      else { break }
      let nameEnd = position + 46 + number(bytes, position + 28, UInt16.self)
      let extraEnd = nameEnd + number(bytes, position + 30, UInt16.self)
      if extraEnd > bytes.count { break }
      if let name = String(validating: bytes[position + 46..<nameEnd], as: UTF8.self),
        name.isStreamSafe,
        let offset = headerOffset(bytes, entry: position, extra: nameEnd..<extraEnd)
      {
        result[name] = offset
      }
      position = extraEnd + number(bytes, position + 32, UInt16.self)
    }
    return result
  }

  /// The number of entries of the directory and where it begins: from the end record, or from
  /// the 64-bit one that takes its place in large archives.
  private static func end(_ bytes: UnsafeRawBufferPointer) -> (count: Int, start: Int)? {
    // A comment of up to 65535 bytes may follow.
    var position = bytes.count - 22
    while position >= max(0, bytes.count - 22 - 65535) {
      if number(bytes, position, UInt32.self) == 0x0605_4B50,
        position + 22 + number(bytes, position + 20, UInt16.self) == bytes.count
      {
        break
      }
      position -= 1
    }
    if position < max(0, bytes.count - 22 - 65535) { return nil }
    if position >= 20, number(bytes, position - 20, UInt32.self) == 0x0706_4B50 {
      let record = number(bytes, position - 12, UInt64.self)
      if record >= 0, record <= bytes.count - 56,
        number(bytes, record, UInt32.self) == 0x0606_4B50
      {
        return (number(bytes, record + 32, UInt64.self), number(bytes, record + 48, UInt64.self))
      }
    }
    return (number(bytes, position + 10, UInt16.self), number(bytes, position + 16, UInt32.self))
  }

  /// The 32-bit offset of an entry, or the 64-bit one among its further fields.
  private static func headerOffset(
    _ bytes: UnsafeRawBufferPointer, entry: Int, extra: Range<Int>
  ) -> Int? {
    let short = number(bytes, entry + 42, UInt32.self)
    if short != 0xFFFF_FFFF { return short }
    var field = extra.lowerBound
    while field <= extra.upperBound - 4 {
      let size = number(bytes, field + 2, UInt16.self)
      if number(bytes, field, UInt16.self) == 1 {
        // Size, packed size and offset, each only if its 32-bit form is full.
        var position = field + 4
        for short in [entry + 24, entry + 20]
        where number(bytes, short, UInt32.self) == 0xFFFF_FFFF { position += 8 }
        if position + 8 > min(field + 4 + size, extra.upperBound) { return nil }
        return number(bytes, position, UInt64.self)
      }
      field += 4 + size
    }
    return nil
  }

  /// A little-endian number; -1 for one that does not fit.
  private static func number<I: FixedWidthInteger & BitwiseCopyable>(
    _ bytes: UnsafeRawBufferPointer, _ offset: Int, _: I.Type
  ) -> Int {
    Int(exactly: I(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: I.self))) ?? -1
  }
}

/// Part of a file.
private final class FileSlice: ByteOwner {
  private let file: MappedFile
  private let range: Range<Int>

  init(file: MappedFile, range: Range<Int>) {
    self.file = file
    self.range = range
  }

  func load() throws(CheckpointError) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: file.bytes[range])
  }

  var copies: Int { file.copies }
  func fetch(_ bytes: Range<Int>) { file.fetch(inFile(bytes)) }
  func release(_ bytes: Range<Int>) { file.release(inFile(bytes)) }

  private func inFile(_ bytes: Range<Int>) -> Range<Int> {
    range.lowerBound + bytes.lowerBound..<range.lowerBound + bytes.upperBound
  }
}
