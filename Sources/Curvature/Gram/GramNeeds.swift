import TensorModule

/// Memory that the Gram matrix of R gradients per sample takes with a solve, from shapes alone.
package struct GramNeeds: Sendable {
  /// Bytes of the rows of all gradients, in the form that each layer allows.
  package let rows: Int
  /// Bytes of the backward pass with R cotangents per sample.
  package let arenas: Int
  /// Bytes of the matrix, `[R N, R N]` in double, of what it is formed from, and of its factors.
  package let matrix: Int

  package var total: Int { (ByteCount(rows) + ByteCount(arenas) + ByteCount(matrix)).value }

  package init<S: EngineScalar>(_ needs: BatchNeeds<S>, draws: Int) {
    let count = draws * needs.samples
    let gram = needs.gram(draws: draws)
    rows = (needs.rows(draws: draws) + needs.unfolded).value
    arenas = needs.arenas(tangents: 1, cotangents: draws).value
    // While it is formed there is no factor yet; then the matrix, a copy that becomes its factors,
    // and the work space of an eigen-decomposition.
    let solve = needs.doubles(4, count, count)
    matrix = (gram.kernels + gram.matrix + max(gram.workspace, solve)).value
  }
}
