import Checkpoints
import GraphModule
import TensorModule
import Updates

/// The weights that may be removed, one tensor after the other, each as PyTorch flattens the weight of its
/// layer: outputs first, and of a convolution input channels before places of the window.
struct PrunableWeights {
  /// A contiguous part of one tensor.
  struct Block {
    /// Number of the tensor.
    let tensor: Int
    /// Of its entries.
    let range: Range<Int>
    /// Where the first of them is among all weights.
    let place: Int

    var places: Range<Int> { place..<place + range.count }
  }

  let tensors: [ParameterID]
  let blocks: [Block]
  let count: Int
  private let program: Program
  private let starts: [Int]

  /// - Parameters:
  ///   - patterns: Over names; empty: trainable weights of linear layers and convolutions.
  ///   - blockSize: Entries of a block, of which the last one of a tensor may have fewer.
  /// - Throws: `noSuchParameter` for a pattern that names none, `nothingToPrune` where nothing is left.
  init(
    _ checkpoint: LoadedCheckpoint, patterns: [String], blockSize: Int
  ) throws(EvaluationError) {
    program = checkpoint.program
    let parameters = program.graph.parameters
    if patterns.isEmpty {
      let layers = (checkpoint.layerProgram ?? program).weightRoles
      tensors = layers.filter { $0.role.isWeightOfLayer }.map(\.parameter)
    } else {
      let globs = patterns.map(Glob.init)
      for glob in globs where !parameters.contains(where: { glob.matches($0.name) }) {
        throw .noSuchParameter(
          of: .weights, pattern: glob.pattern,
          near: nearMisses(glob.pattern, among: parameters.map(\.name)),
          checkpoint: checkpoint.path)
      }
      let list = GlobList(globs)
      tensors = program.trainable.filter { list.matches(parameters[$0.index].name) }
    }
    if tensors.isEmpty { throw .nothingToPrune(patterns: patterns, checkpoint: checkpoint.path) }
    var (starts, blocks, end): ([Int], [Block], Int) = ([], [], 0)
    for (number, tensor) in tensors.enumerated() {
      starts.append(end)
      let size = parameters[tensor.index].count
      for first in stride(from: 0, to: size, by: blockSize) {
        let range = first..<min(first + blockSize, size)
        blocks.append(Block(tensor: number, range: range, place: end + first))
      }
      end += size
    }
    (self.starts, self.blocks, count) = (starts, blocks, end)
  }

  func spec(_ tensor: Int) -> ParameterSpec { program.graph.parameters[tensors[tensor].index] }

  /// Entries of the largest block.
  var largestBlock: Int { blocks.reduce(0) { max($0, $1.range.count) } }

  /// The weights of a model in double, `[count]`.
  func values<S: EngineScalar>(_ store: ParameterStore<S>) -> Vector<Double> {
    let values = Vector<Double>(count: count)
    for (number, tensor) in tensors.enumerated() {
      let ordered = flattened(store.vector(tensor.index), number)
      Kernels.toDouble(ordered.pointer, values.pointer + starts[number], count: ordered.count)
    }
    return values
  }

  /// Writes the weights into a model.
  func set<S: EngineScalar>(_ values: Vector<Double>, in store: ParameterStore<S>) {
    for (number, tensor) in tensors.enumerated() {
      let spec = spec(number)
      let vector = store.vector(tensor.index)
      let target = isReordered(spec) ? Vector<S>(count: spec.count) : vector
      Kernels.fromDouble(values.pointer + starts[number], target.pointer, count: spec.count)
      if isReordered(spec) { spec.reorder(target.pointer, into: vector.pointer) }
    }
  }

  private func flattened<S: EngineScalar>(_ vector: Vector<S>, _ number: Int) -> Vector<S> {
    let spec = spec(number)
    guard isReordered(spec) else { return vector }
    let ordered = Vector<S>(count: spec.count)
    spec.reorder(vector.pointer, into: ordered.pointer, toFile: true)
    return ordered
  }

  /// A transposed weight is outputs first in the engine and not in the file.
  private func isReordered(_ spec: ParameterSpec) -> Bool { spec.storage == .channelsLast }
}

extension WeightRole {
  fileprivate var isWeightOfLayer: Bool {
    switch self {
    case .matrix, .head: true
    case .vector, .embedding: false
    }
  }
}
