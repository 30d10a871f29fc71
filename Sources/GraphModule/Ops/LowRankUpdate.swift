import TensorModule

/// `y = base + scale B h` for every position: the second half of a low-rank adapter, B [out, r],
/// h [T, r] from the first half (a linear layer of its own).
package struct LowRankUpdate: Operation {
  package let scale: Double
  private var positions = 0
  private var rank = 0
  private var outputs = 0
  private var makesRows = false
  package private(set) var operationCount = 0

  package init(scale: Double) { self.scale = scale }

  static let weight = 0
  private static let (base, hidden) = (0, 1)

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 2...2, parameters: 1...1)
    let (base, hidden) = (try operands.real(Self.base), try operands.real(Self.hidden))
    let weight = try operands.parameter(Self.weight, rank: 2)
    (outputs, rank) = (weight[0], weight[1])
    guard base.shape.last == outputs else {
      throw operands.mismatch(Self.base, "\(outputs) as the last dimension")
    }
    let expected = Array(base.shape.dropLast()) + [rank]
    guard hidden.shape == expected else { throw operands.mismatch(Self.hidden, "\(expected)") }
    positions = base.count / outputs
    makesRows = base.shape.count > 1
    operationCount = try checkedCost(2, positions, rank, outputs)
    return base
  }

  package func restricted(to rows: [Int]) -> (operation: any Operation, reads: [Bool])? {
    makesRows ? (self, [true, true]) : nil
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [false, use.trains(Self.weight)])
  }

  package var carriedInput: Int? { Self.base }

  package var linearLayer: LinearLayer? {
    LinearLayer(
      positions: positions, inputs: rank, outputs: outputs, rows: .input(Self.hidden),
      scale: scale, weightSlot: Self.weight, biasSlot: nil)
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let rows = pass.samples * positions
    Kernels.copy(pass.value(Self.base), pass.output, count: rows * outputs)
    addProduct(pass.value(Self.hidden), pass.parameter(Self.weight), rows: rows, to: pass.output)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let rows = pass.samples * positions
    let count = pass.directions * rows * outputs
    if let base = pass.tangent(Self.base) {
      Kernels.copy(base, pass.output, count: count)
    } else {
      Kernels.zero(pass.output, count: count)
    }
    if let hidden = pass.tangent(Self.hidden) {
      addProduct(
        hidden, pass.parameter(Self.weight), rows: pass.directions * rows, to: pass.output)
    }
    for r in 0..<pass.directions {
      guard let weight = pass.parameterTangent(Self.weight, direction: r) else { continue }
      addProduct(
        pass.value(Self.hidden), weight, rows: rows, to: pass.output + r * rows * outputs)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    let rows = pass.directions * pass.samples * positions
    if let (target, accumulate) = pass.inputCotangent(Self.base) {
      Kernels.copy(pass.cotangent, target, count: rows * outputs, accumulate: accumulate)
    }
    if let (target, accumulate) = pass.inputCotangent(Self.hidden) {
      BLAS.gemm(
        m: rows, n: rank, k: outputs, alpha: S(scale), pass.cotangent, lda: outputs,
        pass.parameter(Self.weight), ldb: rank, beta: accumulate ? 1 : 0, target, ldc: rank)
    }
  }

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    addOuterProduct(pass, direction, first: 0, rows: pass.samples * positions, to: out)
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    for n in 0..<pass.samples {
      addOuterProduct(
        pass, direction, first: n * positions, rows: positions, to: out + n * stride)
    }
  }

  private func addProduct<S: EngineScalar>(
    _ h: UnsafePointer<S>, _ weight: UnsafePointer<S>, rows: Int,
    to output: UnsafeMutablePointer<S>
  ) {
    BLAS.gemm(
      transposeB: true, m: rows, n: outputs, k: rank, alpha: S(scale), h, lda: rank, weight,
      ldb: rank, beta: 1, output, ldc: outputs)
  }

  private func addOuterProduct<S: EngineScalar>(
    _ pass: CotangentPass<S>, _ direction: Int, first: Int, rows: Int,
    to out: UnsafeMutablePointer<S>
  ) {
    BLAS.gemm(
      transposeA: true, m: outputs, n: rank, k: rows, alpha: S(scale),
      pass.cotangent(direction: direction) + first * outputs, lda: outputs,
      pass.value(Self.hidden) + first * rank, ldb: rank, beta: 1, out, ldc: rank)
  }
}
