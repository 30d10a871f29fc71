import TensorModule

// Some samples of a batch, each as often as it is named: what a pass over them reads is copied, and no
// forward pass repeated.

extension ForwardStore {
  /// Row i of the copy is row `samples[i]` of this one, which holds all samples.
  package func gathered(_ rows: [Int], _ program: Program) -> ForwardStore {
    precondition(
      rows.allSatisfy { 0..<samples ~= $0 }, "ForwardStore: rows of \(samples) samples")
    let copy = ForwardStore(program: program, samples: rows.count)
    for (value, size) in program.graph.sizes.enumerated() {
      gather(values[value], rows, size: size, to: copy.values[value])
    }
    for (node, need) in program.needs.enumerated() {
      gather(saved[node], rows, size: need.saved, to: copy.saved[node])
      gather(savedDoubles[node], rows, size: need.savedDoubles, to: copy.savedDoubles[node])
    }
    return copy
  }

  private func gather<T: EngineScalar>(
    _ source: Vector<T>?, _ rows: [Int], size: Int, to target: Vector<T>?
  ) {
    guard let source, let target else { return }
    for (place, row) in rows.enumerated() {
      Kernels.copy(source.pointer + row * size, target.pointer + place * size, count: size)
    }
  }
}

extension BatchInputs {
  /// The inputs of some samples, each as often as it is named.
  package func gathered(_ rows: [Int], _ program: Program) -> BatchInputs {
    let copies = values.enumerated().map { input, values in
      let size = program.graph.sizes[input]
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
