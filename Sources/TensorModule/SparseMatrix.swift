import CKernels

/// A constant matrix of few entries, row by row.
public struct SparseMatrix: Sendable {
  /// How many columns there are.
  public let columns: Int
  /// The column of every entry, row by row.
  public let indices: [Int32]
  private let weights: [Double]
  /// Where each row begins, and the end of the last.
  private let starts: [Int32]

  /// - Parameters:
  ///   - counts: Entries of each row.
  ///   - indices: Their columns, in the range of those.
  public init(columns: Int, counts: [Int], indices: [Int32], weights: [Double]) {
    precondition(
      counts.reduce(0, +) == indices.count && indices.count == weights.count,
      "SparseMatrix: \(indices.count) columns and \(weights.count) weights")
    self.columns = columns
    self.indices = indices
    self.weights = weights
    var starts: [Int32] = [0]
    for count in counts { starts.append(starts.last! + Int32(count)) }
    self.starts = starts
  }

  /// How many rows there are.
  public var rows: Int { starts.count - 1 }
}

extension Kernels {
  /// `out = A x`, or `+=`, for every item: x `[items, columns, inner]`, out `[items, rows, inner]`.
  public static func multiply<S: EngineScalar>(
    _ matrix: SparseMatrix, _ x: UnsafePointer<S>, to out: UnsafeMutablePointer<S>, items: Int,
    inner: Int, accumulate: Bool = false
  ) {
    matrix.product(x, out, items, inner, accumulate)
  }
}

extension SparseMatrix {
  fileprivate func product<S: EngineScalar>(
    _ x: UnsafePointer<S>, _ out: UnsafeMutablePointer<S>, _ items: Int, _ inner: Int,
    _ accumulate: Bool
  ) {
    starts.withUnsafeBufferPointer { starts in
      indices.withUnsafeBufferPointer { indices in
        weights.withUnsafeBufferPointer { weights in
          ck_sparse_product(
            S.kernelType, starts.baseAddress, indices.baseAddress, weights.baseAddress, rows,
            columns, x, items, inner, out, accumulate ? 1 : 0)
        }
      }
    }
  }
}
