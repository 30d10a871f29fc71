import TensorModule

/// A linear layer head by head: of the weight `[heads d, D]`, head h has the block of rows
/// `W_h` [d, D].
///
/// `y_th = scale W_h x_th [+ b_h]` turns x [T, heads, D] into y [T, heads d]. Transposed,
/// `y_th = scale W_h^T x_th` turns x [T, heads d] into y [T, heads, D].
///
/// With it the projections of keys and values move to the other side of attention, where there are
/// fewer queries than keys: `q^T (W x + b)` is `(W^T q)^T x` and a number that all keys share, which
/// softmax does not see, and a mean of values `W x + b` is W times the mean of x, plus b. What it is
/// applied to are not the rows of the layer: it tells of no `linearLayer` (see `Graph.isLayerwise`).
package struct HeadLinear: Operation {
  package let heads: Int
  package let scale: Double
  package let isTransposed: Bool
  private var positions = 0
  /// d
  private var width = 0
  /// D
  private var columns = 0
  /// A parameter `[heads d]` behind the weight. Of a transposed layer it is the bias of keys: it
  /// moves nothing, and its gradient is zero.
  private var hasBias = false
  package private(set) var operationCount = 0

  package init(heads: Int, scale: Double = 1, isTransposed: Bool) {
    self.heads = heads
    self.scale = scale
    self.isTransposed = isTransposed
  }

  static let weight = 0
  static let bias = 1

  /// Scalars of one position, by side of the weight.
  private var narrow: Int { heads * width }
  private var wide: Int { heads * columns }
  private var addsBias: Bool { hasBias && !isTransposed }

  private var outputSize: Int { positions * (isTransposed ? wide : narrow) }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 1...2)
    let x = try operands.real(0)
    let weight = try operands.parameter(Self.weight, rank: 2)
    columns = weight[1]
    guard heads > 0, weight[0] % heads == 0 else {
      throw GraphError(.option("heads", expected: "a divisor of \(weight[0]) rows of the weight"))
    }
    width = weight[0] / heads
    hasBias = operands.parameters.count > 1
    if hasBias { try operands.requireParameter(Self.bias, [narrow]) }
    // One head is no dimension of its own.
    let perHead = heads == 1 ? [columns] : [heads, columns]
    let (from, to) = isTransposed ? ([narrow], perHead) : (perHead, [narrow])
    guard x.shape.count >= from.count, Array(x.shape.suffix(from.count)) == from else {
      throw operands.mismatch(0, "\(from) as the last dimensions")
    }
    let leading = x.shape.dropLast(from.count)
    positions = leading.reduce(1, *)
    operationCount = try checkedCost(2, positions, heads, width, columns)
    return try ValueType(leading + to)
  }

  package func readsInPlace(_ slot: Int) -> Bool { slot == Self.weight }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [use.trains(Self.weight)])
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let rows = pass.samples * positions
    multiply(
      pass.value(0), weight(pass), rows: rows, transposed: isTransposed, beta: 0,
      into: pass.output)
    if addsBias {
      Kernels.addToRows(pass.parameter(Self.bias), pass.output, rows: rows, columns: narrow)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let rows = pass.samples * positions
    let tangent = pass.tangent(0)
    if let tangent {
      multiply(
        tangent, weight(pass), rows: pass.directions * rows,
        transposed: isTransposed, beta: 0, into: pass.output)
    }
    for r in 0..<pass.directions {
      let output = pass.output + r * pass.samples * outputSize
      var written = tangent != nil
      if let weight = pass.parameterTangent(Self.weight, direction: r) {
        multiply(
          pass.value(0), WeightMatrix(weight, stride: columns), rows: rows,
          transposed: isTransposed, beta: written ? 1 : 0,
          into: output)
        written = true
      }
      if !written { Kernels.zero(output, count: pass.samples * outputSize) }
      if addsBias, let bias = pass.parameterTangent(Self.bias, direction: r) {
        Kernels.addToRows(bias, output, rows: rows, columns: narrow)
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    multiply(
      pass.cotangent, weight(pass),
      rows: pass.directions * pass.samples * positions, transposed: !isTransposed,
      beta: accumulate ? 1 : 0, into: target)
  }

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    add(pass, slot, direction, first: 0, rows: pass.samples * positions, to: out)
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    for n in 0..<pass.samples {
      add(pass, slot, direction, first: n * positions, rows: positions, to: out + n * stride)
    }
  }

  // MARK: - Pieces

  private func weight<P: Pass>(_ pass: P) -> WeightMatrix<P.S> {
    pass.weight(Self.weight, rows: narrow, columns: columns)
  }

  /// `y_th = scale W_h x_th + beta y_th`, or with `W_h^T`.
  private func multiply<S: EngineScalar>(
    _ x: UnsafePointer<S>, _ weight: WeightMatrix<S>, rows: Int, transposed: Bool, beta: S,
    into y: UnsafeMutablePointer<S>
  ) {
    let (inputs, outputs) = transposed ? (width, columns) : (columns, width)
    for h in 0..<heads {
      BLAS.gemm(
        transposeB: !transposed, m: rows, n: outputs, k: inputs, alpha: S(scale), x + h * inputs,
        lda: heads * inputs, weight.from(row: h * width), beta: beta, y + h * outputs,
        ldc: heads * outputs)
    }
  }

  private func add<S: EngineScalar>(
    _ pass: CotangentPass<S>, _ slot: Int, _ direction: Int, first: Int, rows: Int,
    to out: UnsafeMutablePointer<S>
  ) {
    let cotangent = pass.cotangent(direction: direction)
    guard slot == Self.weight else {
      if addsBias {
        Kernels.sumRows(
          cotangent + first * narrow, rows: rows, columns: narrow, out, accumulate: true)
      }
      return
    }
    // What is d wide and what is D wide of `dW_h = scale sum_t narrow_th wide_th^T`.
    let x = pass.value(0)
    let (small, large) = isTransposed ? (x, cotangent) : (cotangent, x)
    for h in 0..<heads {
      BLAS.gemm(
        transposeA: true, m: width, n: columns, k: rows, alpha: S(scale),
        small + first * narrow + h * width, lda: narrow, large + first * wide + h * columns,
        ldb: wide, beta: 1, out + h * width * columns, ldc: columns)
    }
  }
}
