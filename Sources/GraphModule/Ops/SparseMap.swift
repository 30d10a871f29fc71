import TensorModule

/// `y = A x` along one dimension, A a constant sparse matrix: padding, rolling, windows and what is put
/// back from them, pools and interpolation.
package struct SparseMap: Operation {
  package typealias Term = SparseMatrix.Term

  package let axis: Int
  private let matrix: KroneckerMatrix
  private let transpose: KroneckerMatrix
  private var outer = 1
  private var inner = 1

  /// - Parameters:
  ///   - axis: The dimension.
  ///   - grid: Axes of the matrix: the dimension is all of them, in the order of their offsets.
  package init(axis: Int, grid: [KroneckerMatrix.Axis]) {
    self.axis = axis
    matrix = KroneckerMatrix(grid)
    // Where it is not valid nothing is applied.
    transpose = matrix.isValid ? KroneckerMatrix(grid.map(\.transposed)) : matrix
  }

  package init(axis: Int, _ matrix: SparseMatrix) { self.init(axis: axis, grid: [.init(matrix)]) }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let shape = try operands.real(0).shape
    guard shape.indices.contains(axis), shape[axis] == matrix.columns, matrix.isValid else {
      throw operands.mismatch(0, "\(matrix.columns) entries in dimension \(axis)")
    }
    outer = shape[..<axis].reduce(1, *)
    inner = shape[(axis + 1)...].reduce(1, *)
    var result = shape
    result[axis] = matrix.rows
    let type = try ValueType(result)
    operationCount = try checkedCost([2, outer, inner] + matrix.counts)
    return type
  }

  package private(set) var operationCount = 0

  package var ownNumbers: Int { matrix.storedNumbers + transpose.storedNumbers }

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
