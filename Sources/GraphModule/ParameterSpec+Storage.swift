import TensorModule

extension ParameterSpec {
  /// Turns a tensor in the order of the file into the order of the engine, or back.
  package func reorder<S: EngineScalar>(
    _ source: UnsafePointer<S>, into destination: UnsafeMutablePointer<S>, toFile: Bool = false
  ) {
    switch storage {
    case .plain: destination.update(from: source, count: count)
    case .channelsLast:
      let inputs = shape[1]
      let window = shape[2...].reduce(1, *)
      for out in 0..<shape[0] {
        let start = out * inputs * window
        BLAS.transpose(
          source + start, rows: toFile ? window : inputs, columns: toFile ? inputs : window,
          into: destination + start)
      }
    case .transposed:
      BLAS.transpose(
        source, rows: shape[toFile ? 1 : 0], columns: shape[toFile ? 0 : 1], into: destination)
    }
  }
}
