import CKernels

/// Memory of a file, which the system reads where it is looked at.
public protocol FilePages: Sendable {
  /// It will be read soon.
  func fetch()
  /// It need not stay in memory; it is read again where it is touched.
  func release()
}

/// Numbers in 16 bits as a file has them, all finite: row-major, little-endian, at any address. Nobody
/// widens all of them; who reads some does. Nobody writes to them, so that threads may share them unchecked.
public struct HalfNumbers: @unchecked Sendable {
  /// The first of them; `owner` holds the memory.
  public let pointer: UnsafeRawPointer
  /// How many there are.
  public let count: Int
  /// `float16` or `bfloat16`.
  public let format: Kernels.StoredFormat
  private let owner: AnyObject

  /// - Parameter format: `float16` or `bfloat16`.
  public init(
    _ pointer: UnsafeRawPointer, count: Int, _ format: Kernels.StoredFormat, owner: AnyObject
  ) {
    precondition(format.isHalf, "HalfNumbers: \(format)")
    (self.pointer, self.count, self.format, self.owner) = (pointer, count, format, owner)
  }
}

/// A matrix that products and lookups read, in precision S or in 16 bits, which they widen bit by bit as
/// they come to them: results have the bits of the widened matrix. Whoever makes one sees to it that
/// its memory stays.
public struct WeightMatrix<S: EngineScalar> {
  private let base: UnsafeRawPointer
  /// `nil`: S.
  let half: Kernels.StoredFormat?
  /// Numbers from one row of the memory to the next.
  let stride: Int
  /// Whether rows of the memory are columns of the matrix.
  public let isTransposed: Bool

  private init(
    _ base: UnsafeRawPointer, _ half: Kernels.StoredFormat?, stride: Int, isTransposed: Bool
  ) {
    (self.base, self.half, self.stride, self.isTransposed) = (base, half, stride, isTransposed)
  }

  /// - Parameters:
  ///   - stride: From one row of the memory to the next.
  ///   - isTransposed: Whether rows of the memory are columns of the matrix.
  public init(_ numbers: UnsafePointer<S>, stride: Int, isTransposed: Bool = false) {
    self.init(UnsafeRawPointer(numbers), nil, stride: stride, isTransposed: isTransposed)
  }

  /// The same for numbers in 16 bits.
  public init(_ numbers: HalfNumbers, stride: Int, isTransposed: Bool = false) {
    self.init(numbers.pointer, numbers.format, stride: stride, isTransposed: isTransposed)
  }

  /// The part from a row and a column on.
  public func from(row: Int = 0, column: Int = 0) -> WeightMatrix {
    let offset = isTransposed ? column * stride + row : row * stride + column
    return WeightMatrix(
      base + offset * bytesPerNumber, half, stride: stride, isTransposed: isTransposed)
  }

  /// Writes the first `count` numbers of a row.
  public func copyRow(_ row: Int, count: Int, to target: UnsafeMutablePointer<S>) {
    precondition(!isTransposed, "WeightMatrix: a row of a transposed one")
    let from = base + row * stride * bytesPerNumber
    if let half {
      Kernels.convert(half, from, target, count: count)
    } else {
      target.update(from: from.assumingMemoryBound(to: S.self), count: count)
    }
  }

  /// Rows of the memory that products take at a time where not all of it may be at hand: 32 MB, in whole
  /// panels, tiles and blocks of every kernel.
  public var rowsAtOnce: Int {
    max(1, BLAS.partBytes / (stride * bytesPerNumber * Self.wholeRows)) * Self.wholeRows
  }

  /// 768 rows of a panel are whole tiles of 12, and blocks of 8; 1,536 are blocks of 512 columns too.
  private static var wholeRows: Int { 1536 }

  /// Where the memory begins.
  var memory: UnsafeRawPointer { base }

  /// As it lies in memory, in precision S.
  var scalars: UnsafePointer<S> { base.assumingMemoryBound(to: S.self) }

  var bytesPerNumber: Int { half == nil ? MemoryLayout<S>.stride : 2 }

  /// Widens rows of the memory: `rows` of them, `columns` wide, behind each other.
  func widen(rows: Int, columns: Int, into target: UnsafeMutablePointer<S>) {
    guard let half else { preconditionFailure("WeightMatrix: nothing to widen") }
    for row in 0..<rows {
      Kernels.convert(
        half, base + row * stride * bytesPerNumber, target + row * columns, count: columns)
    }
  }
}
