import TensorModule

/// `C = A B` over the last two dimensions, `[..., m, k]` times `[..., k, n]`, or `[..., n, k]`
/// transposed; the dimensions before them are repeated to one shape.
package struct MatrixProduct: Operation {
  /// Whether B is given as its transpose.
  package let isTransposed: Bool
  private var (m, n, k) = (1, 1, 1)
  /// Starts of the matrices of every product of one sample, per operand.
  private var starts: [[Int]] = [[], []]
  private var counts = [1, 1]
  package private(set) var operationCount = 0

  package init(isTransposed: Bool = false) { self.isTransposed = isTransposed }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 2...2, parameters: 0...0)
    let (a, b) = (try operands.real(0), try operands.real(1))
    for input in 0..<2 where operands.inputs[input].shape.count < 2 {
      throw operands.mismatch(input, "two dimensions or more")
    }
    (m, k) = (a.shape[a.shape.count - 2], a.shape[a.shape.count - 1])
    let columns = b.shape.suffix(2)
    let inner = isTransposed ? columns.last! : columns.first!
    n = isTransposed ? columns.first! : columns.last!
    guard inner == k else { throw operands.mismatch(1, "\(k) as the inner dimension") }
    let leading = [Array(a.shape.dropLast(2)), Array(b.shape.dropLast(2))]
    let batch = try Broadcasting(leading, operands)
    let type = try ValueType(batch.shape + [m, n])
    // Each has two starts.
    guard batch.count <= 1 << 24 else { throw GraphError(.size(batch.shape)) }
    starts = zip(leading, [m * k, k * n]).map { shape, size in
      let strides = broadcastStrides(shape, to: batch.shape) ?? []
      return (0..<batch.count).map { index in
        var (rest, start) = (index, 0)
        for axis in batch.shape.indices.reversed() {
          start += rest % batch.shape[axis] * strides[axis]
          rest /= batch.shape[axis]
        }
        return start * size
      }
    }
    counts = [a.count, b.count]
    operationCount = try checkedCost(2, type.count, k)
    return type
  }

  private var products: Int { starts[0].count }
  private var outputCount: Int { products * m * n }

  package func readsOneRow(_ input: Int) -> Bool { true }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [use.activeInputs[1], use.activeInputs[0]])
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    multiply(
      pass.value(0), pass.stride(0), pass.value(1), pass.stride(1), samples: pass.samples, beta: 0,
      into: pass.output)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    for r in 0..<pass.directions {
      let output = pass.output + r * pass.samples * outputCount
      let first = pass.tangent(0)
      if let first {
        multiply(
          first + r * pass.samples * counts[0], counts[0], pass.value(1), pass.stride(1),
          samples: pass.samples, beta: 0, into: output)
      }
      if let second = pass.tangent(1) {
        multiply(
          pass.value(0), pass.stride(0), second + r * pass.samples * counts[1], counts[1],
          samples: pass.samples, beta: first == nil ? 0 : 1, into: output)
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    for input in 0..<2 {
      // Asked for again after the first write: both inputs may be the same value.
      guard let (target, accumulate) = pass.inputCotangent(input) else { continue }
      let count = counts[input]
      // A matrix that is in several products gets a sum.
      let isRepeated = count < products * (input == 0 ? m * k : k * n)
      if isRepeated && !accumulate {
        Kernels.zero(target, count: pass.directions * pass.samples * count)
      }
      let beta: S = isRepeated || accumulate ? 1 : 0
      for sample in 0..<pass.directions * pass.samples {
        let other = pass.value(1 - input) + sample % pass.samples * pass.stride(1 - input)
        for product in 0..<products {
          let c = pass.cotangent + sample * outputCount + product * m * n
          let out = target + sample * count + starts[input][product]
          let factor = other + starts[1 - input][product]
          input == 0
            ? cotangentOfFirst(c, factor, beta, out) : cotangentOfSecond(c, factor, beta, out)
        }
      }
      pass.markWritten(input)
    }
  }

  // MARK: - Pieces

  private func multiply<S: EngineScalar>(
    _ a: UnsafePointer<S>, _ strideA: Int, _ b: UnsafePointer<S>, _ strideB: Int, samples: Int,
    beta: S, into c: UnsafeMutablePointer<S>
  ) {
    // One matrix for all samples: one tall product.
    if strideB == 0 && products == 1 && strideA == m * k {
      return BLAS.gemm(
        transposeB: isTransposed, m: samples * m, n: n, k: k, a, lda: k, b,
        ldb: isTransposed ? k : n, beta: beta, c, ldc: n)
    }
    for sample in 0..<samples {
      for product in 0..<products {
        BLAS.gemm(
          transposeB: isTransposed, m: m, n: n, k: k,
          a + sample * strideA + starts[0][product], lda: k,
          b + sample * strideB + starts[1][product], ldb: isTransposed ? k : n, beta: beta,
          c + sample * outputCount + product * m * n, ldc: n)
      }
    }
  }

  /// `C op(B)^T`
  private func cotangentOfFirst<S: EngineScalar>(
    _ c: UnsafePointer<S>, _ b: UnsafePointer<S>, _ beta: S, _ out: UnsafeMutablePointer<S>
  ) {
    BLAS.gemm(
      transposeB: !isTransposed, m: m, n: k, k: n, c, lda: n, b, ldb: isTransposed ? k : n,
      beta: beta, out, ldc: k)
  }

  /// `A^T C`, or its transpose.
  private func cotangentOfSecond<S: EngineScalar>(
    _ c: UnsafePointer<S>, _ a: UnsafePointer<S>, _ beta: S, _ out: UnsafeMutablePointer<S>
  ) {
    if isTransposed {
      BLAS.gemm(transposeA: true, m: n, n: k, k: m, c, lda: n, a, ldb: k, beta: beta, out, ldc: k)
    } else {
      BLAS.gemm(transposeA: true, m: k, n: n, k: m, a, lda: k, c, ldb: n, beta: beta, out, ldc: n)
    }
  }
}
