import TensorModule

/// Batch norm in evaluation mode: `y = weight * xhat + bias` with `xhat = (x - mean) / sqrt(var +
/// epsilon)` from stored statistics, per channel of rows `[positions, channels]`.
package struct BatchNorm: Operation {
  package let epsilon: Double
  private var positions = 0
  private var channels = 0
  private var hasAffine = false

  package init(epsilon: Double) { self.epsilon = epsilon }

  // Slots: running mean and variance, then weight and bias where there are any.
  package static let mean = 0
  package static let variance = 1
  package static let weight = 2
  package static let bias = 3

  private var size: Int { positions * channels }
  private var affine: AffineRows {
    AffineRows(
      rows: positions, columns: channels, weight: hasAffine ? Self.weight : nil,
      bias: hasAffine ? Self.bias : nil)
  }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 2...4)
    let x = try operands.real(0)
    channels = try operands.parameter(Self.mean, rank: 1)[0]
    guard x.shape.last == channels else {
      throw operands.mismatch(0, "\(channels) as the last dimension")
    }
    for slot in operands.parameters.indices { try operands.requireParameter(slot, [channels]) }
    hasAffine = operands.parameters.count > Self.weight
    if hasAffine { try operands.require(inputs: 1...1, parameters: 4...4) }
    positions = x.count / channels
    return x
  }

  /// Ones and zeros.
  package func initialization(slot: Int, shape: [Int]) -> Initialization {
    .constant(slot == Self.variance || slot == Self.weight ? 1 : 0)
  }

  package var operationCount: Int { 4 * size }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [false], saved: use.trains(Self.weight) ? size : 0)
  }

  package func scratch(samples: Int, directions: Int) -> Int { 2 * channels }

  /// `1 / sqrt(var + epsilon)`, and times the weight where `weighted`.
  private func scale<S: EngineScalar>(
    _ pass: some Pass, weighted: Bool, into: UnsafeMutablePointer<S>
  ) {
    let variance: UnsafePointer<S> = cast(pass.parameter(Self.variance))
    let weight: UnsafePointer<S>? =
      weighted && hasAffine ? cast(pass.parameter(Self.weight)) : nil
    for c in 0..<channels {
      let rstd = 1 / (Double(variance[c]) + epsilon).squareRoot()
      into[c] = S(rstd * (weight.map { Double($0[c]) } ?? 1))
    }
  }

  private func cast<A, B>(_ pointer: UnsafePointer<A>) -> UnsafePointer<B> {
    UnsafeRawPointer(pointer).assumingMemoryBound(to: B.self)
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let rows = pass.samples * positions
    let rstd = pass.scratch
    let shift = pass.scratch + channels
    scale(pass, weighted: false, into: rstd)
    for c in 0..<channels { shift[c] = -pass.parameter(Self.mean)[c] }
    // x - mean first: the two are often close, and their difference is then exact.
    Kernels.copy(pass.value(0), pass.output, count: rows * channels)
    Kernels.addToRows(shift, pass.output, rows: rows, columns: channels)
    Kernels.multiplyRows(pass.output, by: rstd, pass.output, rows: rows, columns: channels)
    if pass.keepsSaved { Kernels.copy(pass.output, pass.saved, count: rows * channels) }
    guard hasAffine else { return }
    Kernels.multiplyRows(
      pass.output, by: pass.parameter(Self.weight), pass.output, rows: rows, columns: channels)
    Kernels.addToRows(pass.parameter(Self.bias), pass.output, rows: rows, columns: channels)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let rows = pass.samples * positions
    scale(pass, weighted: true, into: pass.scratch)
    for r in 0..<pass.directions {
      let output = pass.output + r * rows * channels
      var written = false
      if let tangent = pass.tangent(0) {
        Kernels.multiplyRows(
          tangent + r * rows * channels, by: pass.scratch, output, rows: rows, columns: channels)
        written = true
      }
      affine.addTangents(pass, direction: r, to: output, isWritten: written)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    scale(pass, weighted: true, into: pass.scratch)
    Kernels.multiplyRows(
      pass.cotangent, by: pass.scratch, target, rows: pass.directions * pass.samples * positions,
      columns: channels, accumulate: accumulate)
  }

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    affine.addGradient(pass, slot: slot, direction: direction, to: out)
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    affine.addPerSampleGradients(pass, slot: slot, direction: direction, to: out, stride: stride)
  }
}
