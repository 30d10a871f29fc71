import Checkpoints
import Curvature
import GraphModule
import Models
import TensorModule

/// A checkpoint whose tensors have been checked against its model: everything but numbers.
package struct LoadedCheckpoint: Sendable {
  package let source: CheckpointSource
  /// The samples that batches are drawn from, if there are any.
  package let data: DataFile?
  package let model: Model
  package let program: Program
  /// That of the model's `layerGraph`.
  package let layerProgram: Program?
  package let loss: Loss

  /// - Parameter options: Its adapter, data file and trainable patterns count here.
  /// - Throws: `CheckpointError`, or `EvaluationError` where the options do not fit the file.
  package init(path: String, options: EvaluationOptions) throws {
    try self.init(
      source: CheckpointSource(path: path, adapter: options.adapter), options: options)
  }

  /// The same for what is open already.
  init(source: CheckpointSource, options: EvaluationOptions) throws {
    if let file = options.dataFile {
      data = try DataFile.open(file)
    } else {
      data = try source.batchData()
    }
    let model = try source.model(data)
    self.source = source
    self.model = model
    loss = Loss(rawValue: source.loss)!
    let patterns =
      options.trainable.isEmpty ? source.trainable : options.trainable.map(Glob.init)
    let isTrainable = { (spec: ParameterSpec) in
      if let patterns { return patterns.contains { $0.matches(spec.name) } }
      guard let adapted = model.adapted else { return true }
      return adapted.contains(spec.name)
        || model.adaptedIfStored.contains(spec.name)
          && source.adapterParameters.contains(spec.name)
    }
    program = Program(graph: model.graph, isTrainable: isTrainable)
    layerProgram = model.layerGraph.map { Program(graph: $0, isTrainable: isTrainable) }
    try checkTensors()
    try checkTrainable(patterns ?? [], areOptions: !options.trainable.isEmpty)
  }

  package var path: String { source.path }

  package var description: CheckpointDescription {
    CheckpointDescription(
      path: path, epoch: source.epoch, step: source.step, model: model.type, loss: source.loss,
      trainableParameters: program.parameterCount,
      allParameters: program.graph.parameters.reduce(0) { $0 + $1.count },
      positions: program.graph.positions, classes: program.graph.classes,
      parameters: ParameterRole.all(in: layerProgram ?? program))
  }

  /// Every parameter is there with its shape and a floating-point type, and nothing else is.
  private func checkTensors() throws(CheckpointError) {
    for spec in program.graph.parameters {
      let tensor = try source.parameter(spec.name)
      try tensor.requireShape(spec.shape)
      try tensor.requireFloatingPoint()
    }
    let known = Set(program.graph.parameters.map(\.name)).union(model.unreadTensors)
    for (name, tensor) in source.parameters.sorted(by: { $0.key < $1.key })
    where !known.contains(name) {
      throw CheckpointError(
        .unexpectedTensor(near: nearMisses(name, among: known)), at: tensor.location,
        hint: "The model has no parameter of this name: remove the tensor or add its layer.")
    }
  }

  private func checkTrainable(_ patterns: [Glob], areOptions: Bool) throws {
    let names = program.graph.parameters.map(\.name)
    for glob in patterns where !names.contains(where: glob.matches) {
      if areOptions {
        throw EvaluationError.noSuchParameter(
          pattern: glob.pattern, near: nearMisses(glob.pattern, among: names), checkpoint: path)
      }
      throw CheckpointError(
        .unknownName(what: "trainable pattern", found: glob.pattern, known: names),
        at: .init(file: path), hint: "It matches no parameter.")
    }
    if program.parameterCount == 0 {
      if areOptions {
        throw EvaluationError.nothingTrainable(
          patterns: patterns.map(\.pattern), checkpoint: path)
      }
      throw CheckpointError(
        .unexpectedValue(
          "trainable", found: "\(patterns.map(\.pattern))", expected: "at least one parameter"),
        at: .init(file: path), hint: "Stored statistics of batch_norm2d are never trained.")
    }
  }

  /// The parameters in the engine's precision and order.
  ///
  /// - Parameters:
  ///   - areRead: Whether nobody will write to them: then trainable ones stay in the file's memory
  ///     too.
  ///   - pool: The threads that look at all numbers.
  /// - Throws: `CheckpointError` naming the tensor and entry that is not finite.
  package func parameters<S: EngineScalar>(
    _: S.Type, areRead: Bool = false, pool: WorkerPool = WorkerPool(threads: 1)
  ) throws(CheckpointError) -> ParameterStore<S> {
    var vectors: [Vector<S>] = []
    for (spec, offset) in zip(program.graph.parameters, program.offsets) {
      let tensor = try source.parameter(spec.name)
      vectors.append(
        try tensor.finiteVector(
          of: S.self, spec, isRead: areRead || offset == nil, pool: pool))
    }
    return ParameterStore(vectors)
  }
}

extension StoredTensor {
  func requireFloatingPoint() throws(CheckpointError) {
    if dtype.isFloatingPoint { return }
    throw CheckpointError(
      .wrongDType(found: dtype, expected: DType.allCases.filter(\.isFloatingPoint)),
      at: location)
  }

  /// The tensor in the engine's precision and the storage order of a parameter. One that nobody
  /// writes stays in the file's memory where it can.
  func finiteVector<S: EngineScalar>(
    of: S.Type, _ spec: ParameterSpec, isRead: Bool = false,
    pool: WorkerPool = WorkerPool(threads: 1)
  ) throws(CheckpointError) -> Vector<S> {
    let stored =
      if isRead, let mapped = try inPlace(as: S.self) { mapped } else {
        try vector(of: S.self)
      }
    try requireFinite(UnsafePointer(stored.pointer), count: stored.count, pool: pool)
    if spec.storage == .plain { return stored }
    let ordered = Vector<S>(count: stored.count)
    spec.reorder(stored.pointer, into: ordered.pointer)
    return ordered
  }

  func requireFinite<S: EngineScalar>(
    _ values: UnsafePointer<S>, count: Int, pool: WorkerPool = WorkerPool(threads: 1)
  ) throws(CheckpointError) {
    let largest = pool.largest(count) {
      Kernels.largest(values + $0.lowerBound, count: $0.count)
    }
    if largest.isFinite { return }
    let index = Kernels.firstNonFinite(values, count: count)!
    throw CheckpointError(
      .unexpectedValue("entry \(index)", found: "\(values[index])", expected: "a finite number"),
      at: location,
      hint: "Numbers beyond the range of float32 need --precision float64; NaN means that the "
        + "run had diverged.")
  }
}
