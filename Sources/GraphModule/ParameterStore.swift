import TensorModule

/// The numbers of one parameter, for reading.
package struct ParameterNumbers<S: EngineScalar>: Sendable {
  package enum Content: Sendable {
    case scalars(Vector<S>)
    /// As a file has them. Only of parameters that nobody trains and operations read in place
    /// (`Program.readsInPlace`).
    case halves(HalfNumbers)
  }
  package let content: Content
  /// Whether a weight that files have transposed lies as in its file.
  package let isTransposed: Bool
  /// Of the file that they lie in.
  package let pages: (any FilePages)?

  /// - Parameter isTransposed: Of a weight that files have transposed: whether it lies as in its file.
  package init(
    _ content: Content, isTransposed: Bool = false, pages: (any FilePages)? = nil
  ) {
    (self.content, self.isTransposed, self.pages) = (content, isTransposed, pages)
  }

  /// As a matrix of so many rows and columns.
  func matrix(rows: Int, columns: Int) -> WeightMatrix<S> {
    let stride = isTransposed ? rows : columns
    return switch content {
    case .scalars(let vector):
      WeightMatrix(UnsafePointer(vector.pointer), stride: stride, isTransposed: isTransposed)
    case .halves(let halves):
      WeightMatrix(halves, stride: stride, isTransposed: isTransposed)
    }
  }
}

/// The values of the trainable and frozen parameters: in the engine's precision and storage order, or, of
/// weights that nobody trains, as their file has them.
package struct ParameterStore<S: EngineScalar>: Sendable {
  package let numbers: [ParameterNumbers<S>]
  /// Whether weights that lie in files leave memory once an operation has read them.
  package private(set) var releasesPages = false

  package init(_ numbers: [ParameterNumbers<S>]) { self.numbers = numbers }

  package init(_ vectors: [Vector<S>]) { numbers = vectors.map { ParameterNumbers(.scalars($0)) } }

  /// The same, of whose files an operation at a time has pages in memory.
  package func releasingPages() -> ParameterStore {
    var store = self
    store.releasesPages = true
    return store
  }

  /// Of a parameter that is in the engine's precision, as all are that train.
  package func vector(_ parameter: Int) -> Vector<S> {
    guard case .scalars(let vector) = numbers[parameter].content else {
      preconditionFailure("ParameterStore: parameter \(parameter) is in 16 bits")
    }
    return vector
  }

  /// With vectors of one's own for some parameters, in the engine's order.
  package func replacing(_ vectors: [Int: Vector<S>]) -> ParameterStore {
    var store = ParameterStore(
      numbers.enumerated().map { index, old in
        vectors[index].map { ParameterNumbers(.scalars($0)) } ?? old
      })
    store.releasesPages = releasesPages
    return store
  }
}

extension Program {
  /// Per parameter whether nobody trains it and every operation that has it reads it where it lies: in 16
  /// bits, or as a weight that its file has transposed.
  package var readsInPlace: [Bool] {
    var result = offsets.map { $0 == nil }
    for node in graph.nodes {
      for (slot, parameter) in node.parameters.enumerated()
      where !node.operation.readsInPlace(slot) { result[parameter.index] = false }
    }
    return result
  }
}
