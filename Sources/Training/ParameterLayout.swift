import GraphModule
import TensorModule

/// Where each trainable parameter lies in a vector of length P.
package struct ParameterLayout: Sendable {
  package struct Entry: Sendable {
    package let spec: ParameterSpec
    package let range: Range<Int>
  }

  package let entries: [Entry]
  /// P
  package let count: Int

  package init(_ program: Program) {
    entries = program.trainable.map { id in
      let spec = program.graph.parameters[id.index]
      let start = program.offsets[id.index]!
      return Entry(spec: spec, range: start..<start + spec.count)
    }
    count = program.parameterCount
  }
}

extension ParameterLayout {
  /// A parameter as matrices over the last two axes of its shape in files, whatever the order in
  /// which the engine stores it.
  package struct Matrices: Sendable {
    package let count: Int
    package let rows: Int
    package let columns: Int
    package let rowStride: Int
    package let columnStride: Int
    /// Matrices that lie interleaved, entry by entry.
    private let interleaved: Int

    init(_ spec: ParameterSpec) {
      let shape = spec.shape
      count = shape.dropLast(2).reduce(1, *)
      rows = shape[shape.count - 2]
      columns = shape[shape.count - 1]
      // `[out, kh, kw, in]` for `[out, in, kh, kw]`
      interleaved = spec.storage == .channelsLast ? shape[1] : 1
      // `[out, in]` for `[in, out]`
      let isTransposed = spec.storage == .transposed
      columnStride = isTransposed ? rows : interleaved
      rowStride = isTransposed ? 1 : columns * interleaved
    }

    /// Row-major, as in files.
    ///
    /// - Parameter shape: Of at least two axes.
    package init(shape: [Int]) {
      count = shape.dropLast(2).reduce(1, *)
      rows = shape[shape.count - 2]
      columns = shape[shape.count - 1]
      interleaved = 1
      columnStride = 1
      rowStride = columns
    }

    /// Every entry of a matrix by its place, row and column.
    package func visit(_ index: Int, _ body: (_ place: Int, _ row: Int, _ column: Int) -> Void) {
      let start = start(index)
      for r in 0..<rows {
        for c in 0..<columns { body(start + r * rowStride + c * columnStride, r, c) }
      }
    }

    /// Where the first entry of a matrix is.
    package func start(_ index: Int) -> Int {
      let (group, place) = index.quotientAndRemainder(dividingBy: interleaved)
      return group * interleaved * rows * columns + place
    }
  }
}

extension ParameterLayout.Entry {
  /// `nil` for vectors and single numbers.
  package var matrices: ParameterLayout.Matrices? {
    spec.shape.count < 2 ? nil : ParameterLayout.Matrices(spec)
  }
}
