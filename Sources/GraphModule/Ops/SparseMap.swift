import TensorModule

/// `y = A x` along one dimension, A a constant sparse matrix: padding, rolling, windows and what is put
/// back from them, pools and interpolation.
package struct SparseMap: Operation {
  /// An entry of a row.
  package struct Term: Sendable, Equatable {
    package let column: Int
    package let weight: Double

    package init(_ column: Int, _ weight: Double = 1) {
      self.column = column
      self.weight = weight
    }
  }
  package let axis: Int
  private let matrix: SparseMatrix
  private let transpose: SparseMatrix
  private var outer = 1
  private var inner = 1
  private var shape: [Int] = []

  /// - Parameters:
  ///   - columns: Length of the dimension before.
  ///   - rows: Of each entry after it, what it is the sum of.
  package init(axis: Int, columns: Int, rows: [[Term]]) {
    self.axis = axis
    matrix = SparseMatrix(columns: columns, rows: rows)
    var transposed = [[Term]](repeating: [], count: columns)
    for (row, terms) in rows.enumerated() {
      for term in terms where transposed.indices.contains(term.column) {
        transposed[term.column].append(Term(row, term.weight))
      }
    }
    transpose = SparseMatrix(columns: rows.count, rows: transposed)
  }

  /// Entries of the dimension by their indices, 0 where there is none.
  package init(axis: Int, columns: Int, taking indices: [Int?]) {
    self.init(axis: axis, columns: columns, rows: indices.map { $0.map { [Term($0)] } ?? [] })
  }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    shape = try operands.real(0).shape
    guard shape.indices.contains(axis), shape[axis] == matrix.columns,
      matrix.indices.allSatisfy({ (0..<matrix.columns).contains(Int($0)) })
    else {
      throw operands.mismatch(0, "\(matrix.columns) entries in dimension \(axis)")
    }
    outer = shape[..<axis].reduce(1, *)
    inner = shape[(axis + 1)...].reduce(1, *)
    var result = shape
    result[axis] = matrix.rows
    let type = try ValueType(result)
    operationCount = try checkedCost(2, outer, inner, matrix.indices.count)
    return type
  }

  package private(set) var operationCount = 0

  private var inputCount: Int { outer * matrix.columns * inner }

  package func readsOneRow(_ input: Int) -> Bool { true }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    for sample in 0..<pass.samples {
      Kernels.multiply(
        matrix, pass.value(0) + sample * pass.stride(0),
        to: pass.output + sample * outer * matrix.rows * inner, items: outer, inner: inner)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    Kernels.multiply(
      matrix, pass.tangent(0)!, to: pass.output, items: pass.directions * pass.samples * outer,
      inner: inner)
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    Kernels.multiply(
      transpose, pass.cotangent, to: target, items: pass.directions * pass.samples * outer,
      inner: inner, accumulate: accumulate)
  }
}

extension SparseMatrix {
  fileprivate init(columns: Int, rows: [[SparseMap.Term]]) {
    self.init(
      columns: columns, counts: rows.map(\.count),
      indices: rows.joined().map { Int32(clamping: $0.column) },
      weights: rows.joined().map(\.weight))
  }
}
