import CKernels

/// The Kronecker product of sparse matrices, one for each axis of a grid. A row of it is a row of every
/// axis and lies where their offsets add up to, so that the windows of an image may lie place by place
/// with their taps beside each other; so do columns. It keeps as many numbers as its axes have, however
/// many their product has.
public struct KroneckerMatrix: Sendable {
  /// What one axis brings.
  public struct Axis: Sendable {
    /// What it makes of its entries.
    public let matrix: SparseMatrix
    let rowOffsets: [Int]
    let columnOffsets: [Int]

    /// Rows and columns in their order.
    ///
    /// - Parameter matrix: What it makes of its entries.
    public init(_ matrix: SparseMatrix) {
      self.init(
        matrix, rowOffsets: Array(0..<matrix.rows), columnOffsets: Array(0..<matrix.columns))
    }

    /// - Parameters:
    ///   - matrix: What it makes of its entries.
    ///   - rowOffsets: Of each row of the matrix, what it adds to the place of a row.
    ///   - columnOffsets: The same of each column.
    public init(_ matrix: SparseMatrix, rowOffsets: [Int], columnOffsets: [Int]) {
      precondition(
        rowOffsets.count == matrix.rows && columnOffsets.count == matrix.columns,
        "KroneckerMatrix: offsets that are not those of the matrix")
      self.matrix = matrix
      self.rowOffsets = rowOffsets
      self.columnOffsets = columnOffsets
    }

    /// That of the transpose of the product.
    ///
    /// - Precondition: Its matrix is valid.
    public var transposed: Axis {
      Axis(matrix.transposed, rowOffsets: columnOffsets, columnOffsets: rowOffsets)
    }
  }

  /// As many as the kernel has loops.
  public static let mostAxes = 3

  /// How many rows there are.
  public let rows: Int
  /// How many columns there are.
  public let columns: Int
  /// How many numbers it keeps.
  public var storedNumbers: Int {
    starts.count + rowOffsets.count + entryOffsets.count + weights.count
  }
  /// How many entries each axis has.
  public let counts: [Int]
  /// Whether every entry is in one of the columns.
  public let isValid: Bool
  // Those of all axes behind each other, of axes that are none in front.
  private let rowCounts: [Int]
  private var starts: [Int32] = []
  private var rowOffsets: [Int] = []
  private var entryOffsets: [Int] = []
  private var weights: [Double] = []

  /// - Parameter axes: At most `mostAxes`; their sizes multiply without overflow, and every row and
  ///   column has a place of its own.
  public init(_ axes: [Axis]) {
    precondition(axes.count <= Self.mostAxes, "KroneckerMatrix: \(axes.count) axes")
    rows = axes.reduce(1) { $0 * $1.matrix.rows }
    columns = axes.reduce(1) { $0 * $1.matrix.columns }
    counts = axes.map(\.matrix.count)
    isValid = axes.allSatisfy(\.matrix.isValid)
    let one = SparseMatrix(columns: 1, taking: [0])!
    let none = Axis(one, rowOffsets: [0], columnOffsets: [0])
    let all = [Axis](repeating: none, count: Self.mostAxes - axes.count) + axes
    rowCounts = all.map(\.matrix.rows)
    guard isValid else { return }
    for axis in all {
      starts += axis.matrix.starts
      rowOffsets += axis.rowOffsets
      entryOffsets += axis.matrix.indices.map { axis.columnOffsets[Int($0)] }
      weights += axis.matrix.weights
    }
  }
}

extension Kernels {
  /// `out = A x`, or `+=`, for every item: x `[items, columns, inner]`, out `[items, rows, inner]`.
  public static func multiply<S: EngineScalar>(
    _ matrix: KroneckerMatrix, _ x: UnsafePointer<S>, to out: UnsafeMutablePointer<S>, items: Int,
    inner: Int, accumulate: Bool = false
  ) {
    matrix.product(x, out, items, inner, accumulate)
  }
}

extension KroneckerMatrix {
  fileprivate func product<S: EngineScalar>(
    _ x: UnsafePointer<S>, _ out: UnsafeMutablePointer<S>, _ items: Int, _ inner: Int,
    _ accumulate: Bool
  ) {
    precondition(isValid, "KroneckerMatrix: an entry in no column")
    ck_sparse_product(
      S.kernelType, rowCounts, starts, rowOffsets, entryOffsets, weights, rows, columns, x, items,
      inner, out, accumulate ? 1 : 0)
  }
}
