import TensorModule

extension BatchInputs {
  /// The inputs of some samples, each as often as it is named.
  package func gathered(_ rows: [Int], _ graph: Graph) -> BatchInputs {
    let copies = values.enumerated().map { input, values in
      let size = graph.sizes[input]
      switch values {
      case .real(let vector):
        let copy = Vector<S>(unsetCount: rows.count * size)
        gather(rows, vector, size: size, to: copy)
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

extension ForwardStore {
  /// Copies what derivatives read of some samples, each as often as it is named, from where the forward pass of the
  /// same program has left it.
  package func take(_ rows: some Collection<Int>, of other: ForwardStore, _ program: Program) {
    for (value, size) in program.graph.sizes.enumerated() where program.isStored(value) {
      gather(
        rows, other.values[value], size: size,
        areIndices: program.graph.types[value].element != .real,
        to: values[value])
    }
    for (node, need) in program.needs.enumerated() {
      gather(
        rows, other.saved[node], size: need.saved, areIndices: need.savesIndices, to: saved[node])
      gather(rows, other.savedDoubles[node], size: need.savedDoubles, to: savedDoubles[node])
    }
  }
}

/// Some rows of `[samples, size]`, of whole numbers in `Int32`.
private func gather<T>(
  _ rows: some Collection<Int>, _ from: Vector<T>?, size: Int, areIndices: Bool = false,
  to: Vector<T>?
) {
  guard let from, let to else { return }
  let bytes = size * (areIndices ? MemoryLayout<Int32>.stride : MemoryLayout<T>.stride)
  let (source, target) = (UnsafeRawPointer(from.pointer), UnsafeMutableRawPointer(to.pointer))
  for (place, row) in rows.enumerated() {
    (target + place * bytes).copyMemory(from: source + row * bytes, byteCount: bytes)
  }
}
