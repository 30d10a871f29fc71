import TensorModule

/// `y = weight * xhat + bias` over rows `[rows, columns]` of a sample: what layer, group and batch
/// norm have in common. The saved memory of the operation is xhat.
struct AffineRows {
  let rows: Int
  let columns: Int
  /// Parameter slots, where there are any.
  let weight: Int?
  let bias: Int?

  /// Adds what the tangents of weight and bias bring to the output's, which is written whatever
  /// it held before if not `isWritten`.
  func addTangents<S: EngineScalar>(
    _ pass: TangentPass<S>, direction: Int, to output: UnsafeMutablePointer<S>, isWritten: Bool
  ) {
    let rows = pass.samples * rows
    var isWritten = isWritten
    if let weight, let tangent = pass.parameterTangent(weight, direction: direction) {
      Kernels.multiplyRows(
        pass.saved, by: tangent, output, rows: rows, columns: columns, accumulate: isWritten)
      isWritten = true
    }
    if !isWritten { Kernels.zero(output, count: rows * columns) }
    if let bias, let tangent = pass.parameterTangent(bias, direction: direction) {
      Kernels.addToRows(tangent, output, rows: rows, columns: columns)
    }
  }

  func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    add(pass, slot, direction, first: 0, rows: pass.samples * rows, to: out)
  }

  func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    for n in 0..<pass.samples {
      add(pass, slot, direction, first: n * rows, rows: rows, to: out + n * stride)
    }
  }

  private func add<S: EngineScalar>(
    _ pass: CotangentPass<S>, _ slot: Int, _ direction: Int, first: Int, rows: Int,
    to out: UnsafeMutablePointer<S>
  ) {
    let cotangent = pass.cotangent(direction: direction) + first * columns
    if slot == weight {
      Kernels.sumProductRows(
        cotangent, pass.saved + first * columns, rows: rows, columns: columns, out,
        accumulate: true)
    } else {
      Kernels.sumRows(cotangent, rows: rows, columns: columns, out, accumulate: true)
    }
  }
}
