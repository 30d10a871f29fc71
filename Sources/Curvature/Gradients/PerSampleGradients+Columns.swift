import GraphModule
import TensorModule

/// Some weights of one tensor in the gradients of all samples, without the rest of the tensor: so a large
/// layer is gone through piece by piece.
package struct WeightColumns<S: EngineScalar> {
  private enum Rows {
    /// `G_n = sum_t b_nt a_nt^T`, and the rows of a table that is the weight too.
    case products(
      Factorization, inputs: UnsafePointer<S>, cotangents: Vector<S>,
      PerSampleGradients<S>.Table?)
    /// The same of a table: `a` is 1 at an index.
    case table(Factorization, indices: UnsafePointer<Int32>, cotangents: Vector<S>)
    /// `[N, count]`
    case explicit(Vector<S>)
  }

  private let rows: Rows
  private let gradients: PerSampleGradients<S>
  /// Entries of the tensor for each of its first axis, and of them those that a piece reads, in the order
  /// of the file.
  private let width: Int
  private let order: [Int]?

  package let count: Int

  fileprivate init(_ gradients: PerSampleGradients<S>, _ parameter: ParameterID) {
    let spec = gradients.linearization.program.graph.parameters[parameter.index]
    let own = gradients.restricted(to: parameter)
    switch own.entries[0] {
    case .factored(let node, let factors, _, _, let cotangents, let table):
      // Before the workers: rows that are unfolded are kept by whoever asks first.
      switch gradients.linearization.inputRows(node: node, factors) {
      case .dense(let inputs):
        rows = .products(factors, inputs: inputs, cotangents: cotangents, table)
      case .oneHot(let indices):
        rows = .table(factors, indices: indices, cotangents: cotangents)
      }
    case .explicit(_, let all): rows = .explicit(all)
    }
    self.gradients = gradients
    count = spec.count
    width = spec.rowWidth
    order = spec.rowOrderOfFile
  }

  /// Scratch of `write` in S, of one call.
  package static func scratch(_ range: Int, of spec: ParameterSpec) -> Int {
    min(spec.count, range + 2 * spec.rowWidth)
  }

  /// The entries of a range of the tensor, `[N, range]` in double, row n multiplied by `weights[n]`.
  ///
  /// Entries are counted as PyTorch flattens the weight of a linear layer or a convolution: outputs first,
  /// and of a convolution input channels before places of the window. Row n is that of
  /// `PerSampleGradients`, without its scale.
  package func write(
    _ range: Range<Int>, weights: [Double], to out: UnsafeMutablePointer<Double>
  ) {
    let (first, last) = (range.lowerBound / width, (range.upperBound - 1) / width)
    let start = first * width
    let end = min((last + 1) * width, count)
    let piece = Vector<S>(count: end - start)
    // Of the entries in a piece, unless they lie one after the other.
    let places = order.map { order in
      range.map { $0 / width * width - start + order[$0 % width] }
    }
    for n in 0..<gradients.samples {
      let target = out + n * range.count
      let source: UnsafePointer<S>
      switch rows {
      case .explicit(let all): source = UnsafePointer(all.pointer + n * count + start)
      case .products(let factors, let inputs, let cotangents, let table):
        let positions = factors.positions
        BLAS.gemm(
          transposeA: true, m: last - first + 1, n: factors.inputs, k: positions,
          cotangents.pointer + n * positions * factors.outputs + first, lda: factors.outputs,
          inputs + n * positions * factors.inputs, ldb: factors.inputs, piece.pointer,
          ldc: factors.inputs)
        if let table {
          gradients.tableRows(table, row: n).add(
            first..<last + 1, columns: width, to: piece.pointer)
        }
        source = UnsafePointer(piece.pointer)
      case .table(let factors, let indices, let cotangents):
        let positions = factors.positions
        Kernels.zero(piece.pointer, count: piece.count)
        for t in n * positions..<(n + 1) * positions where first...last ~= Int(indices[t]) {
          let row = piece.pointer + Int(indices[t]) * width - start
          Kernels.add(cotangents.pointer + t * width, row, row, count: width)
        }
        source = UnsafePointer(piece.pointer)
      }
      if let places {
        for (index, place) in places.enumerated() { target[index] = Double(source[place]) }
      } else {
        Kernels.toDouble(source + range.lowerBound - start, target, count: range.count)
      }
      Kernels.axpby(0, target, weights[n], target, count: range.count)
    }
    withExtendedLifetime(gradients) {}
  }
}

extension PerSampleGradients {
  /// One trainable tensor of the gradients of the first draw, to be read in pieces by several threads.
  package func columns(of parameter: ParameterID) -> WeightColumns<S> {
    WeightColumns(self, parameter)
  }
}

extension ParameterSpec {
  /// Entries of one of the first axis, as the engine stores them.
  fileprivate var rowWidth: Int {
    max(1, shapeOfUse.dropFirst().reduce(1, *))
  }

  /// Where each entry of such a row in the order of the file lies in the engine's; `nil` where it is the
  /// same.
  fileprivate var rowOrderOfFile: [Int]? {
    guard storage == .channelsLast else { return nil }
    let (inputs, window) = (shape[1], shape[2...].reduce(1, *))
    return (0..<inputs * window).map { $0 % window * inputs + $0 / window }
  }
}
