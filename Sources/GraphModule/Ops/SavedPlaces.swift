import TensorModule

// Outputs that are entries of input 0, at places that the forward pass has saved, `[n, count]`: winners
// of windows, entries that indices pick.

extension TangentPass {
  /// - Parameters:
  ///   - inputCount: Scalars of one sample of the input.
  ///   - count: Scalars of one sample of the output.
  func gatherFromSavedPlaces(of inputCount: Int, count: Int) {
    for i in 0..<directions * samples {
      Kernels.gather(
        tangent(0)! + i * inputCount, savedIndices + i % samples * count, output + i * count,
        count: count)
    }
  }
}

extension CotangentPass {
  /// The same backwards: several outputs may be one entry.
  func scatterToSavedPlaces(of inputCount: Int, count: Int) {
    guard let (target, accumulate) = inputCotangent(0) else { return }
    let rows = directions * samples
    if !accumulate { Kernels.zero(target, count: rows * inputCount) }
    for i in 0..<rows {
      Kernels.scatterAdd(
        cotangent + i * count, savedIndices + i % samples * count,
        addingTo: target + i * inputCount, count: count)
    }
  }
}
