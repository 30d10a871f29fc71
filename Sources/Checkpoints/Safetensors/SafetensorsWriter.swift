import Foundation
import TensorModule

/// Collects named tensors and writes them as one safetensors file.
///
/// Equal content gives equal bytes: metadata keys are sorted, and tensors are sorted by element
/// size, largest first, then by name. With the header padded to a multiple of 8 every tensor is
/// aligned to its element size. The order of `add` does not matter.
public struct SafetensorsWriter {
  private struct Item {
    var dtype: DType
    var shape: [Int]
    /// Hands the bytes to its argument, in order, in one piece or several.
    var emit:
      ((UnsafeRawBufferPointer) throws(CheckpointError) -> Void) throws(CheckpointError)
        -> Void
  }

  private let metadata: [String: String]
  private var items: [String: Item] = [:]

  /// - Parameter metadata: `__metadata__` of the header.
  public init(metadata: [String: String] = [:]) { self.metadata = metadata }
}

// MARK: - Adding

extension SafetensorsWriter {
  /// Adds a tensor of little-endian bytes.
  ///
  /// - Precondition: The bytes fit the shape; the name is new and not `__metadata__`. So for the
  ///   other forms.
  public mutating func add(_ name: String, dtype: DType, shape: [Int], data: Data) {
    insert(name, dtype, shape, byteCount: data.count) { sink throws(CheckpointError) in
      try OwnedBytes(data).pass(to: sink)
    }
  }

  /// Adds numbers in their own precision; the vector is read when the file is written.
  public mutating func add<S: EngineScalar>(_ name: String, shape: [Int], _ vector: Vector<S>) {
    let dtype = DType.of(S.self)
    insert(name, dtype, shape, byteCount: vector.count * dtype.byteCount) {
      sink throws(CheckpointError) in
      try sink(
        UnsafeRawBufferPointer(start: vector.pointer, count: vector.count * dtype.byteCount))
      withExtendedLifetime(vector) {}
    }
  }

  /// Adds integers as I64.
  public mutating func add(_ name: String, shape: [Int], integers: [Int64]) {
    add(
      name, dtype: .i64, shape: shape,
      data: integers.map(\.littleEndian).withUnsafeBytes { Data($0) })
  }

  /// Adds a tensor of another file as it is, under a name of its own.
  public mutating func add(_ name: String, _ tensor: StoredTensor) {
    insert(name, tensor.dtype, tensor.shape, byteCount: tensor.byteCount) {
      sink throws(CheckpointError) in
      try tensor.withBytes { bytes throws(CheckpointError) in try sink(bytes) }
    }
  }

  /// Adds numbers that are made when the file is written, a piece at a time, so that memory for
  /// one piece is enough for a tensor of any size.
  ///
  /// - Parameter fill: Writes the elements of the range, counted in row-major order, to where the
  ///   pointer points. Ranges come in order and begin at multiples of 2^22.
  public mutating func add(
    _ name: String, shape: [Int],
    generating fill: @escaping (_ elements: Range<Int>, UnsafeMutablePointer<Float>) -> Void
  ) {
    let count = shape.reduce(1, *)
    insert(name, .f32, shape, byteCount: count * DType.f32.byteCount) {
      sink throws(CheckpointError) in
      let piece = Vector<Float>(count: min(count, Self.generatedPiece))
      for first in stride(from: 0, to: count, by: Self.generatedPiece) {
        let elements = first..<min(first + Self.generatedPiece, count)
        fill(elements, piece.pointer)
        try sink(
          UnsafeRawBufferPointer(
            start: piece.pointer, count: elements.count * DType.f32.byteCount))
      }
      withExtendedLifetime(piece) {}
    }
  }

  /// 16 MB: large enough for all threads to share, small beside any large tensor.
  private static var generatedPiece: Int { 1 << 22 }

  private mutating func insert(
    _ name: String, _ dtype: DType, _ shape: [Int], byteCount: Int,
    _ emit:
      @escaping ((UnsafeRawBufferPointer) throws(CheckpointError) -> Void) throws(CheckpointError)
      -> Void
  ) {
    precondition(
      checkedByteCount(dtype, shape) == byteCount,
      "SafetensorsWriter: \(byteCount) bytes for \(dtype.rawValue) of shape \(shape) (\(name))")
    precondition(
      name != "__metadata__" && items[name] == nil,
      "SafetensorsWriter: the name \(name) is taken")
    items[name] = Item(dtype: dtype, shape: shape, emit: emit)
  }
}

// MARK: - Writing

extension SafetensorsWriter {
  /// Writes the file: to a temporary name in the same folder, then renamed, so that `path` holds
  /// the old content or all of the new.
  ///
  /// - Parameter check: Called when everything is written and before the file gets its name; what it
  ///   throws leaves the old content.
  /// - Throws: `CheckpointError.cannotWrite`; whatever is wrong with a stored tensor that was
  ///   added and cannot be read.
  public func write(
    to path: String, system: any FileSystem = POSIXFileSystem(),
    checking check: () throws(CheckpointError) -> Void = {}
  ) throws(CheckpointError) {
    let output = try AtomicFile(path: path, system: system)
    let ordered = items.sorted {
      ($1.value.dtype.byteCount, $0.key) < ($0.value.dtype.byteCount, $1.key)
    }
    try OwnedBytes(header(ordered)).pass { bytes throws(CheckpointError) in
      try output.write(bytes)
    }
    for (_, item) in ordered {
      try item.emit { bytes throws(CheckpointError) in try output.write(bytes) }
    }
    try check()
    try output.commit()
  }

  private func header(_ ordered: [(key: String, value: Item)]) -> Data {
    var members: [String] = []
    if !metadata.isEmpty {
      members.append(
        "\"__metadata__\":" + JSONContent.object(metadata.mapValues(JSONContent.string)).text)
    }
    var offset = 0
    for (name, item) in ordered {
      let end = offset + checkedByteCount(item.dtype, item.shape)!
      let shape = item.shape.map(String.init).joined(separator: ",")
      members.append(
        JSONContent.quote(name) + ":{\"dtype\":\"\(item.dtype.rawValue)\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    var text = Data(("{" + members.joined(separator: ",") + "}").utf8)
    text.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - text.count % 8) % 8))
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Data($0) } + text
  }
}

extension OwnedBytes {
  fileprivate func pass(
    to sink: (UnsafeRawBufferPointer) throws(CheckpointError) -> Void
  ) throws(CheckpointError) {
    try sink(load())
    withExtendedLifetime(self) {}
  }
}
