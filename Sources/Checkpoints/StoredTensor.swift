import Foundation
import TensorModule

/// A named tensor inside a file: element type, shape, and where its bytes are. Row-major,
/// little-endian, at any alignment.
///
/// Holding one keeps the file open; nothing is read until the numbers are asked for.
public struct StoredTensor: Sendable {
  /// The full name in the file, prefix included.
  public let name: String
  /// The type of its elements.
  public let dtype: DType
  /// Row-major; empty for a scalar.
  public let shape: [Int]
  /// The path of the file, for messages.
  public let file: String
  private let owner: any ByteOwner
  private let offset: Int

  /// A tensor whose bytes begin at `offset` of what `owner` holds; reading checks that they are
  /// all there.
  package init(
    name: String, dtype: DType, shape: [Int], file: String, owner: any ByteOwner, offset: Int = 0
  ) {
    precondition(
      checkedByteCount(dtype, shape) != nil && offset >= 0,
      "StoredTensor: impossible shape \(shape) at offset \(offset)")
    self.name = name
    self.dtype = dtype
    self.shape = shape
    self.file = file
    self.owner = owner
    self.offset = offset
  }

  /// A tensor made in memory from little-endian bytes.
  public init(name: String, dtype: DType, shape: [Int], data: Data, file: String = "memory") {
    precondition(
      checkedByteCount(dtype, shape) == data.count,
      "StoredTensor: \(data.count) bytes for \(dtype.rawValue) of shape \(shape)")
    self.init(name: name, dtype: dtype, shape: shape, file: file, owner: OwnedBytes(data))
  }

  /// The same under another name.
  func renamed(_ name: String) -> StoredTensor {
    StoredTensor(name: name, dtype: dtype, shape: shape, file: file, owner: owner, offset: offset)
  }

  /// Number of elements.
  public var count: Int { byteCount / dtype.byteCount }

  /// Number of bytes.
  public var byteCount: Int { checkedByteCount(dtype, shape) ?? 0 }

  /// Memory that all of it takes in the form in which the file has it, once it is read.
  package var residentBytes: ByteCount { ByteCount(byteCount) * ByteCount(max(owner.copies, 1)) }

  /// The same where so many runs of so many bytes are read, each anywhere.
  package func residentBytes(runs: Int, of bytes: Int) -> ByteCount {
    if owner.copies > 0 { return residentBytes }
    // Around a page that is looked at the system brings in up to 64 kB of what it has at hand.
    return min(residentBytes, ByteCount(runs) * (ByteCount(bytes) + ByteCount(1 << 17)))
  }

  /// Where errors about this tensor point.
  public var location: CheckpointError.Location { .init(file: file, tensor: name) }
}

// MARK: - Reading

extension StoredTensor {
  /// Calls `body` with the stored bytes. They are valid only during the call.
  public func withBytes<Result>(
    _ body: (UnsafeRawBufferPointer) throws(CheckpointError) -> Result
  ) throws(CheckpointError) -> Result {
    let all = try owner.load()
    guard let end = checkedSum(offset, byteCount), end <= all.count else {
      throw CheckpointError(
        .truncated(found: all.count, needed: checkedSum(offset, byteCount) ?? .max), at: location)
    }
    defer { withExtendedLifetime(owner) {} }
    return try body(UnsafeRawBufferPointer(rebasing: all[offset..<end]))
  }

  /// Writes all numbers to `destination`, which has room for `count` of them.
  ///
  /// - Throws: `wrongDType` if the tensor holds integers; what the file has wrong if its bytes
  ///   are only fetched now (npz).
  public func read<S: EngineScalar>(
    into destination: UnsafeMutablePointer<S>
  ) throws(CheckpointError) {
    try read(0..<count, into: destination)
  }

  /// Writes the elements of the range, counted in row-major order, to `destination`: with the
  /// first dimension counting samples, a range of samples without touching the others.
  public func read<S: EngineScalar>(
    _ elements: Range<Int>, into destination: UnsafeMutablePointer<S>
  ) throws(CheckpointError) {
    precondition(
      elements.lowerBound >= 0 && elements.upperBound <= count,
      "StoredTensor: elements \(elements) of \(count)")
    let format = try realFormat()
    if elements.isEmpty { return }
    try withBytes { bytes throws(CheckpointError) in
      Kernels.convert(
        format, bytes.baseAddress! + elements.lowerBound * dtype.byteCount, destination,
        count: elements.count)
    }
  }

  /// All numbers in the given precision.
  public func vector<S: EngineScalar>(of: S.Type) throws(CheckpointError) -> Vector<S> {
    _ = try realFormat()  // refuses before anything is allocated
    let vector = Vector<S>(count: count)
    try read(into: vector.pointer)
    return vector
  }

  private func realFormat() throws(CheckpointError) -> Kernels.StoredFormat {
    switch dtype {
    case .f64: return .float64
    case .f32: return .float32
    case .f16: return .float16
    case .bf16: return .bfloat16
    case .i64, .i32, .i16, .i8, .u8, .bool:
      throw CheckpointError(
        .wrongDType(found: dtype, expected: DType.allCases.filter(\.isFloatingPoint)),
        at: location)
    }
  }

  /// The tensor where it lies, for reading only: without a copy if the file has it in this
  /// precision and aligned, as safetensors files usually do; `nil` otherwise.
  package func inPlace<S: EngineScalar>(as: S.Type) throws(CheckpointError) -> Vector<S>? {
    guard dtype == .of(S.self), count > 0 else { return nil }
    let owner = owner
    let count = count
    return try withBytes { bytes in
      let address = bytes.baseAddress!
      guard Int(bitPattern: address) % MemoryLayout<S>.alignment == 0 else { return nil }
      return Vector(
        reading: address.assumingMemoryBound(to: S.self), count: count, owner: owner)
    }
  }

  /// The numbers where they lie if they have 16 bits, for reading only; `nil` otherwise.
  package func halvesInPlace() throws(CheckpointError) -> HalfNumbers? {
    guard count > 0, dtype.isHalf else { return nil }
    let (format, owner, count) = (try realFormat(), owner, count)
    return try withBytes { bytes in
      HalfNumbers(bytes.baseAddress!, count: count, format, owner: owner)
    }
  }

  /// Its place in the file, where the system reads what is looked at; `nil` where memory holds all of it.
  package var pages: (any FilePages)? {
    owner.copies > 0 || byteCount == 0
      ? nil : TensorPages(owner: owner, bytes: offset..<offset + byteCount)
  }

  /// All integers, in row-major order.
  ///
  /// - Throws: `wrongDType` if the tensor holds floating-point numbers.
  public func integers() throws(CheckpointError) -> [Int64] { try integers(0..<count) }

  /// The integers of the range, counted in row-major order. `BOOL` reads as 0 and 1.
  public func integers(_ elements: Range<Int>) throws(CheckpointError) -> [Int64] {
    precondition(
      elements.lowerBound >= 0 && elements.upperBound <= count,
      "StoredTensor: elements \(elements) of \(count)")
    guard dtype.isInteger else {
      throw CheckpointError(
        .wrongDType(found: dtype, expected: DType.allCases.filter(\.isInteger)), at: location)
    }
    if elements.isEmpty { return [] }
    return try withBytes { bytes throws(CheckpointError) in
      switch dtype {
      case .i64: Self.widen(bytes, elements, Int64.self)
      case .i32: Self.widen(bytes, elements, Int32.self)
      case .i16: Self.widen(bytes, elements, Int16.self)
      case .i8: Self.widen(bytes, elements, Int8.self)
      case .u8: Self.widen(bytes, elements, UInt8.self)
      default: Self.widen(bytes, elements, UInt8.self).map { $0 == 0 ? 0 : 1 }
      }
    }
  }

  private static func widen<I: FixedWidthInteger & BitwiseCopyable>(
    _ bytes: UnsafeRawBufferPointer, _ elements: Range<Int>, _: I.Type
  ) -> [Int64] {
    let size = MemoryLayout<I>.size
    return elements.map {
      Int64(I(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * size, as: I.self)))
    }
  }
}

/// Bytes of a tensor in a file that is mapped.
private struct TensorPages: FilePages {
  let owner: any ByteOwner
  let bytes: Range<Int>

  func fetch() { owner.fetch(bytes) }
  func release() { owner.release(bytes) }
}

// MARK: - Checks

extension StoredTensor {
  /// Whether both hold the same bytes of one type and shape.
  package func isCopy(of other: StoredTensor) throws(CheckpointError) -> Bool {
    if dtype != other.dtype || shape != other.shape { return false }
    return try withBytes { own throws(CheckpointError) in
      try other.withBytes { others in
        own.isEmpty || memcmp(own.baseAddress!, others.baseAddress!, own.count) == 0
      }
    }
  }

  /// - Throws: `shapeMismatch` if the shape is another.
  public func requireShape(_ expected: [Int], hint: String? = nil) throws(CheckpointError) {
    if shape != expected {
      throw CheckpointError(
        .shapeMismatch(found: shape, expected: expected), at: location, hint: hint)
    }
  }
}
