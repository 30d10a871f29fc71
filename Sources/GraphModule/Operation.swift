import TensorModule

/// One operation of the program, with its derivatives.
///
/// All memory is row-major with the samples of a chunk in front: a value is `[n, size]`; tangents
/// and cotangents of R directions are `[R, n, size]`, so that an operation whose derivative does
/// not depend on the direction treats them as `R n` rows. Operations keep nothing themselves:
/// what the derivatives need is in `saved` or in the values that the operation asks to be kept.
///
/// Who applies one gives its options; its sizes, and its output, follow from what it is applied to.
package protocol Operation: Sendable {
  /// Takes over the sizes of what the operation is applied to, in place of any it had.
  ///
  /// - Returns: The type of the output; whether it is shared, the builder knows.
  /// - Throws: An error for operands and options that do not fit: they may come from a file.
  mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType
  /// Multiplications and additions of the value for one sample, for cost estimates.
  var operationCount: Int { get }
  /// Numbers of eight bytes that it holds beside parameters: constants, tables of places.
  var ownNumbers: Int { get }
  /// How `torch.nn` begins the parameter in this slot.
  ///
  /// - Parameter shape: Of the parameter.
  func initialization(slot: Int, shape: [Int]) -> Initialization
  /// The operation that makes some rows of the output (entries of its first dimension) alone, and per
  /// input whether it then reads the same rows of that; `nil` where rows are not made by themselves.
  func restricted(to rows: [Int]) -> (operation: any Operation, reads: [Bool])?
  /// Whether the operation reads an input that all samples share from one row (`Pass.stride`).
  func readsOneRow(_ input: Int) -> Bool
  /// Whether the operation reads the parameter in this slot where its file has it (`Pass.weight`).
  func readsInPlace(_ slot: Int) -> Bool

  /// What the derivatives need of the forward pass.
  func needs(_ use: DerivativeUse) -> ForwardNeeds
  /// Scratch scalars for one chunk of `n` samples and R directions.
  func scratch(samples: Int, directions: Int) -> Int

  /// output = f(inputs, parameters)
  func forward<S: EngineScalar>(_ pass: ForwardPass<S>)
  /// outputTangent = J (input tangents, parameter tangents); writes every element.
  func jvp<S: EngineScalar>(_ pass: TangentPass<S>)
  /// Input cotangents (+)= J^T outputCotangent, for the inputs that want one.
  func vjp<S: EngineScalar>(_ pass: CotangentPass<S>)

  /// Gradient of one direction w.r.t. parameter `slot`, summed over the samples of the chunk;
  /// `out += ` it.
  func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>)
  /// Per-sample gradients w.r.t. parameter `slot`: row i of `out` (rows `stride` apart) += that of
  /// sample i of the chunk.
  func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int)
  /// How the gradients w.r.t. the parameters factor, if they do.
  var factorization: Factorization? { get }
  /// The linear layer that the operation is, if it is one.
  var linearLayer: LinearLayer? { get }
  /// What the parameter in this slot is to it, where that is more than numbers.
  func role(ofParameter slot: Int) -> ParameterRole?
  /// The input whose numbers the output has, in another order or with an adapter's change added; `nil`
  /// where there is none.
  var carriedInput: Int? { get }
  /// The rows `a` of a factorization by unfolding, `[n T, in]`, from the value of input 0.
  func writeRows<S: EngineScalar>(
    _ value: UnsafePointer<S>, samples: Int, to rows: UnsafeMutablePointer<S>)
}

extension Operation {
  package var operationCount: Int { 0 }
  package var ownNumbers: Int { 0 }
  package func scratch(samples: Int, directions: Int) -> Int { 0 }
  package func readsOneRow(_ input: Int) -> Bool { false }
  package func readsInPlace(_ slot: Int) -> Bool { false }
  package func restricted(to rows: [Int]) -> (operation: any Operation, reads: [Bool])? { nil }
  /// Numbers of a table, as of an embedding.
  package func initialization(slot: Int, shape: [Int]) -> Initialization {
    .normal(deviation: 1)
  }
  package var factorization: Factorization? { nil }
  package var linearLayer: LinearLayer? { factorization?.linearLayer }
  package var carriedInput: Int? { nil }

  package func role(ofParameter slot: Int) -> ParameterRole? {
    if let linearLayer { return slot == linearLayer.weightSlot ? .weight : nil }
    return slot == factorization?.weightSlot ? .table : nil
  }

  package func writeRows<S: EngineScalar>(
    _ value: UnsafePointer<S>, samples: Int, to rows: UnsafeMutablePointer<S>
  ) {
    preconditionFailure("an operation whose rows are not unfolded has none to write")
  }

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    preconditionFailure("an operation without parameters has no gradient")
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    preconditionFailure("an operation without parameters has no gradient")
  }
}

/// Which derivatives will be asked for.
package struct DerivativeUse: Sendable {
  /// Per input: whether it depends on a trainable parameter.
  package let activeInputs: [Bool]
  /// Per parameter slot: whether it is trainable.
  package let trainableSlots: [Bool]

  package init(activeInputs: [Bool], trainableSlots: [Bool]) {
    self.activeInputs = activeInputs
    self.trainableSlots = trainableSlots
  }

  package var anyInputActive: Bool { activeInputs.contains(true) }
  package func trains(_ slot: Int) -> Bool { slot < trainableSlots.count && trainableSlots[slot] }
}

/// What must be kept of the forward pass for the derivatives, per sample.
package struct ForwardNeeds: Sendable {
  /// Per input: whether its value is read again.
  package var inputs: [Bool] = []
  /// Scalars and doubles of `saved` memory. Those of a sample lie together, one sample after the other.
  package var saved = 0
  /// Whether these are whole numbers, one `Int32` in the place of each.
  package var savesIndices = false
  package var savedDoubles = 0

  package init(
    inputs: [Bool] = [], saved: Int = 0, savesIndices: Bool = false, savedDoubles: Int = 0
  ) {
    self.inputs = inputs
    self.saved = saved
    self.savesIndices = savesIndices
    self.savedDoubles = savedDoubles
  }
}

// MARK: - What an operation sees

/// The tables of pointers of one worker for one chunk. Sized once; nothing here allocates while a
/// pass runs.
package final class Frame<S: EngineScalar> {
  package typealias Pointer = UnsafeMutablePointer<S>

  package internal(set) var samples = 0
  package internal(set) var directions = 1
  /// Scalars of one sample, per value.
  let sizes: [Int]
  let values: UnsafeMutablePointer<Pointer?>
  let saved: UnsafeMutablePointer<Pointer?>
  let savedDoubles: UnsafeMutablePointer<UnsafeMutablePointer<Double>?>
  let tangents: UnsafeMutablePointer<Pointer?>
  let cotangents: UnsafeMutablePointer<Pointer?>
  let cotangentWritten: UnsafeMutablePointer<Bool>
  /// `[R, parameters]`, `nil` where directions have no numbers for one.
  let parameterTangents: UnsafeMutablePointer<UnsafePointer<S>?>
  /// Of values that are computed once: whether one row stands for all samples.
  let isOneRow: UnsafeMutablePointer<Bool>
  var scratch: Pointer?
  /// For operations to share their work, where no other executor runs.
  var pool: WorkerPool?
  private let parameters: ParameterStore<S>

  init(
    sizes: [Int], nodeCount: Int, parameters: ParameterStore<S>, maximumDirections: Int
  ) {
    let valueCount = sizes.count
    self.sizes = sizes
    func table<T>(_ count: Int, _ value: T) -> UnsafeMutablePointer<T> {
      let table = UnsafeMutablePointer<T>.allocate(capacity: max(count, 1))
      table.initialize(repeating: value, count: max(count, 1))
      return table
    }
    values = table(valueCount, nil)
    saved = table(nodeCount, nil)
    savedDoubles = table(nodeCount, nil)
    tangents = table(valueCount, nil)
    cotangents = table(valueCount, nil)
    cotangentWritten = table(valueCount, false)
    isOneRow = table(valueCount, false)
    parameterTangents = table(maximumDirections * parameters.numbers.count, nil)
    self.parameters = parameters
  }

  deinit {
    values.deallocate()
    saved.deallocate()
    savedDoubles.deallocate()
    tangents.deallocate()
    cotangents.deallocate()
    cotangentWritten.deallocate()
    isOneRow.deallocate()
    parameterTangents.deallocate()
  }

  func parameter(_ id: ParameterID) -> UnsafePointer<S> {
    UnsafePointer(parameters.vector(id.index).pointer)
  }

  /// Of a parameter that leaves memory once it has been read.
  func passingPages(_ id: ParameterID) -> (any FilePages)? {
    parameters.releasesPages ? parameters.numbers[id.index].pages : nil
  }

  func weight(_ id: ParameterID, rows: Int, columns: Int) -> WeightMatrix<S> {
    parameters.numbers[id.index].matrix(rows: rows, columns: columns)
  }

  func parameterTangent(_ id: ParameterID, direction: Int) -> UnsafePointer<S>? {
    parameterTangents[direction * parameters.numbers.count + id.index]
  }
}

/// What every pass shows of the forward pass.
package protocol Pass {
  associatedtype S: EngineScalar
  var frame: Frame<S> { get }
  var node: Node { get }
  var nodeIndex: Int { get }
}

extension Pass {
  /// Samples in the chunk; 1 where the output is shared and computed once.
  package var samples: Int { frame.samples }

  /// Forward value of an input, `[n, size]`: kept only where the operation asked for it.
  package func value(_ input: Int) -> UnsafePointer<S> {
    UnsafePointer(frame.values[node.inputs[input].index]!)
  }

  /// From the value of one sample to that of the next: 0 where one row stands for all samples.
  package func stride(_ input: Int) -> Int {
    let id = node.inputs[input].index
    return frame.isOneRow[id] ? 0 : frame.sizes[id]
  }

  package func indices(_ input: Int) -> UnsafePointer<Int32> {
    UnsafeRawPointer(frame.values[node.inputs[input].index]!).assumingMemoryBound(to: Int32.self)
  }

  package var saved: UnsafeMutablePointer<S> { frame.saved[nodeIndex]! }
  package var savedIndices: UnsafeMutablePointer<Int32> {
    UnsafeMutableRawPointer(frame.saved[nodeIndex]!).assumingMemoryBound(to: Int32.self)
  }
  package var savedDoubles: UnsafeMutablePointer<Double> { frame.savedDoubles[nodeIndex]! }
  package var scratch: UnsafeMutablePointer<S> { frame.scratch! }

  package func parameter(_ slot: Int) -> UnsafePointer<S> {
    frame.parameter(node.parameters[slot])
  }

  /// A parameter that the operation reads in place (`Operation.readsInPlace`), as a matrix.
  func weight(_ slot: Int, rows: Int, columns: Int) -> WeightMatrix<S> {
    frame.weight(node.parameters[slot], rows: rows, columns: columns)
  }
}

package struct ForwardPass<S: EngineScalar>: Pass {
  package let frame: Frame<S>
  package let node: Node
  package let nodeIndex: Int
  /// Whether derivatives will be asked for; if not, `saved` does not exist.
  package let keepsSaved: Bool

  package var output: UnsafeMutablePointer<S> { frame.values[node.output.index]! }
  /// Where whole numbers and booleans go.
  package var outputIndices: UnsafeMutablePointer<Int32> {
    UnsafeMutableRawPointer(output).assumingMemoryBound(to: Int32.self)
  }
}

package struct TangentPass<S: EngineScalar>: Pass {
  package let frame: Frame<S>
  package let node: Node
  package let nodeIndex: Int

  package var directions: Int { frame.directions }
  /// `[R, n, size]`, `nil` where the input depends on no trainable parameter.
  package func tangent(_ input: Int) -> UnsafePointer<S>? {
    frame.tangents[node.inputs[input].index].map { UnsafePointer($0) }
  }
  package var output: UnsafeMutablePointer<S> { frame.tangents[node.output.index]! }
  /// `nil` for frozen parameters and those that a `TangentSource` answers for.
  package func parameterTangent(_ slot: Int, direction: Int) -> UnsafePointer<S>? {
    frame.parameterTangent(node.parameters[slot], direction: direction)
  }
}

package struct CotangentPass<S: EngineScalar>: Pass {
  package let frame: Frame<S>
  package let node: Node
  package let nodeIndex: Int

  package var directions: Int { frame.directions }
  /// Of the output, `[R, n, size]`.
  package var cotangent: UnsafePointer<S> {
    UnsafePointer(frame.cotangents[node.output.index]!)
  }
  package func cotangent(direction: Int) -> UnsafePointer<S> {
    cotangent + direction * samples * node.size
  }
  /// Copies the output's cotangent of one direction.
  package func copyCotangent(direction: Int, to target: UnsafeMutablePointer<S>) {
    let source = cotangent(direction: direction)
    forEachRange(samples * node.size) {
      Kernels.copy(source + $0.lowerBound, target + $0.lowerBound, count: $0.count)
    }
  }
  /// Where an input's cotangent goes, `nil` where nobody asks for it. With `accumulate` another
  /// use of the value has written before.
  package func inputCotangent(_ input: Int) -> (UnsafeMutablePointer<S>, accumulate: Bool)? {
    let id = node.inputs[input].index
    guard let pointer = frame.cotangents[id] else { return nil }
    return (pointer, frame.cotangentWritten[id])
  }
  /// The engine marks every input after `vjp`; an operation that may have one value as several
  /// inputs marks each as it is written.
  func markWritten(_ input: Int) {
    frame.cotangentWritten[node.inputs[input].index] = true
  }
}
