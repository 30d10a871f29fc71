import TensorModule

/// `y_t = W a_t + b` for every position t of a sample `[..., in]`: W [out, in], b [out] or none.
package struct Linear: Operation {
  package private(set) var positions = 0
  package private(set) var inputs = 0
  package private(set) var outputs = 0
  package private(set) var hasBias = false
  private var makesRows = false
  package private(set) var operationCount = 0

  package init() {}

  static let weight = 0
  static let bias = 1

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 1...2)
    let x = try operands.real(0)
    // A kernel that is applied to unfolded rows has more dimensions than two.
    let weight = operands.parameters[Self.weight]
    guard weight.count >= 2 else {
      throw GraphError(
        .other("parameter 0", found: "\(weight)", expected: "2 dimensions"))
    }
    (outputs, inputs) = (weight[0], weight[1...].reduce(1, *))
    guard x.shape.last == inputs else {
      throw operands.mismatch(0, "\(inputs) as the last dimension")
    }
    hasBias = try operands.hasBias(Self.bias, outputs: outputs)
    positions = x.count / inputs
    makesRows = x.shape.count > 1
    operationCount = try checkedCost(2, positions, inputs, outputs)
    return try ValueType(x.shape.dropLast() + [outputs])
  }

  package func initialization(slot: Int, shape: [Int]) -> Initialization { .layer(inputs: inputs) }

  package func restricted(to rows: [Int]) -> (operation: any Operation, reads: [Bool])? {
    makesRows ? (self, [true]) : nil
  }

  package func readsInPlace(_ slot: Int) -> Bool { slot == Self.weight }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [use.trains(Self.weight)])
  }

  package var factorization: Factorization? {
    Factorization(
      positions: positions, inputs: inputs, outputs: outputs, rows: .input,
      weightSlot: Self.weight, biasSlot: hasBias ? Self.bias : nil)
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let rows = pass.samples * positions
    pass.multiply(
      transposeB: true, m: rows, n: outputs, k: inputs, pass.value(0), lda: inputs,
      bySlot: Self.weight, pass.output, ldc: outputs)
    if hasBias {
      Kernels.addToRows(pass.parameter(Self.bias), pass.output, rows: rows, columns: outputs)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let rows = pass.samples * positions
    let tangent = pass.tangent(0)
    if let tangent {
      pass.multiply(
        transposeB: true, m: pass.directions * rows, n: outputs, k: inputs, tangent, lda: inputs,
        bySlot: Self.weight, pass.output, ldc: outputs)
    }
    for r in 0..<pass.directions {
      let output = pass.output + r * rows * outputs
      var written = tangent != nil
      if let weight = pass.parameterTangent(Self.weight, direction: r) {
        pass.multiply(
          transposeB: true, m: rows, n: outputs, k: inputs, pass.value(0), lda: inputs, weight,
          ldb: inputs, beta: written ? 1 : 0, output, ldc: outputs)
        written = true
      }
      if !written {
        pass.forEachRange(rows * outputs) {
          Kernels.zero(output + $0.lowerBound, count: $0.count)
        }
      }
      if hasBias, let bias = pass.parameterTangent(Self.bias, direction: r) {
        Kernels.addToRows(bias, output, rows: rows, columns: outputs)
      }
    }
  }

  package func scratch(samples: Int, directions: Int) -> Int {
    CotangentMultiples<Float>.isWorthLooking(directions: directions, columns: outputs) ? inputs : 0
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let weight = pass.weight(Self.weight, rows: outputs, columns: inputs)
    if !accumulate, !weight.isTransposed,
      let multiples = CotangentMultiples(
        UnsafeMutablePointer(mutating: pass.cotangent), directions: pass.directions,
        rows: pass.samples * positions, columns: outputs)
    {
      pass.multiply(
        m: multiples.multiplied, n: inputs, k: outputs, pass.cotangent, lda: outputs,
        bySlot: Self.weight, target, ldc: inputs)
      return multiples.complete(target, columns: inputs, weight, scratch: pass.scratch)
    }
    pass.multiply(
      m: pass.directions * pass.samples * positions, n: inputs, k: outputs, pass.cotangent,
      lda: outputs, bySlot: Self.weight, beta: accumulate ? 1 : 0, target, ldc: inputs)
  }

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    let rows = pass.samples * positions
    let b = pass.cotangent(direction: direction)
    if slot == Self.weight {
      BLAS.gemm(
        transposeA: true, m: outputs, n: inputs, k: rows, b, lda: outputs, pass.value(0),
        ldb: inputs, beta: 1, out, ldc: inputs)
    } else {
      Kernels.sumRows(b, rows: rows, columns: outputs, out, accumulate: true)
    }
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    let b = pass.cotangent(direction: direction)
    for n in 0..<pass.samples {
      let rows = b + n * positions * outputs
      if slot == Self.weight {
        BLAS.gemm(
          transposeA: true, m: outputs, n: inputs, k: positions, rows, lda: outputs,
          pass.value(0) + n * positions * inputs, ldb: inputs, beta: 1, out + n * stride,
          ldc: inputs)
      } else {
        Kernels.sumRows(
          rows, rows: positions, columns: outputs, out + n * stride, accumulate: true)
      }
    }
  }
}
