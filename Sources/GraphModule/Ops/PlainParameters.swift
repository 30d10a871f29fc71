import TensorModule

// Parameters whose numbers stand in the output of every sample as they are, alone or added to something:
// their gradient is the output's cotangent.

extension CotangentPass {
  /// Summed over the samples of the chunk, from whole rows.
  func addCotangent(direction: Int, to out: UnsafeMutablePointer<S>) {
    Kernels.sumRows(
      cotangent(direction: direction), rows: samples, columns: node.size, out, accumulate: true)
  }

  /// Sample by sample, of the first `count` numbers of each.
  ///
  /// - Parameter stride: From one sample's gradient to the next; 0 adds them up.
  func addCotangents(
    direction: Int, first count: Int, to out: UnsafeMutablePointer<S>, stride: Int
  ) {
    for n in 0..<samples {
      Kernels.copy(
        cotangent(direction: direction) + n * node.size, out + n * stride, count: count,
        accumulate: true)
    }
  }
}
