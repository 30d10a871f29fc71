import TensorModule

extension BatchInputs {
  /// The inputs of some samples, each as often as it is named.
  package func gathered(_ rows: [Int], _ graph: Graph) -> BatchInputs {
    let copies = values.enumerated().map { input, values in
      let size = graph.sizes[input]
      switch values {
      case .real(let vector):
        let copy = Vector<S>(unsetCount: rows.count * size)
        for (place, row) in rows.enumerated() {
          Kernels.copy(vector.pointer + row * size, copy.pointer + place * size, count: size)
        }
        return Values.real(copy)
      case .index(let indices):
        return Values.index(
          IndexVector(
            rows.flatMap {
              UnsafeBufferPointer(start: indices.pointer + $0 * size, count: size)
            }))
      }
    }
    return BatchInputs(samples: rows.count, values: copies)
  }

  /// Bytes of the inputs of so many samples.
  package static func bytes(_ program: Program, samples: Int) -> ByteCount {
    program.graph.inputs.indices.total {
      ByteCount(vector: ByteCount(samples) * ByteCount(program.graph.sizes[$0]), of: S.self)
    }
  }
}
