import Checkpoints
import Curvature
import GraphModule
import Models
import TensorModule

/// A checkpoint whose tensors have been checked against its model: everything but numbers.
package struct LoadedCheckpoint: Sendable {
  package let source: CheckpointSource
  /// Everything that was opened for it.
  package let files: InputFiles
  /// The samples that batches are drawn from, if there are any.
  package let data: DataFile?
  package let model: Model
  package let program: Program
  /// Where `program` applies some linear layers to other rows than their own, one that does not.
  package let layerProgram: Program?
  /// Per parameter whether it stays in its file where that has 16 bits or the engine's precision.
  private(set) var readsInPlace: [Bool]
  /// Where scored positions are samples of their own.
  package private(set) var tokens: TokenSamples?
  package let loss: Loss
  /// Of a sequential model, whose layers get their names by hand.
  private let equalWeights: [EqualWeights]
  /// Whether the adapter decides what trains, and no patterns.
  private let areAdapted: Bool
  /// Those of the graph.
  let parameterNames: Set<String>
  /// Of the checkpoint and of its data.
  package let lossSettings: LossSettings
  /// The name of the run that it belongs to.
  package let run: String?

  /// - Parameter options: Its adapter, data file and trainable patterns count here.
  /// - Parameter files: Those of the run; of this checkpoint alone they become a part.
  /// - Throws: `CheckpointError`, or `EvaluationError` where the options do not fit the file.
  package init(
    path: String, options: EvaluationOptions, files: InputFiles? = nil
  ) throws {
    let part = (files ?? InputFiles(memory: options.memory)).part()
    try self.init(
      source: CheckpointSource(path: path, options: options, files: part), options: options,
      files: part)
  }

  /// The same for what is open already, by these files.
  init(source: CheckpointSource, options: EvaluationOptions, files: InputFiles) throws {
    self.files = files
    run = options.run ?? TrainingPlace.run(of: source.name)
    if let file = options.dataFile {
      data = try DataFile.open(file, files: files)
    } else {
      data = try source.batchData()
    }
    let model = try source.model(data)
    self.source = source
    self.model = model
    loss = Loss(rawValue: source.loss)!
    lossSettings =
      try data.map { data throws(CheckpointError) in
        try source.lossSettings.merged(with: data.lossSettings)
      } ?? source.lossSettings
    let patterns =
      options.trainable.isEmpty ? source.trainable : options.trainable.map(Glob.init)
    areAdapted = patterns == nil
    let globs = patterns.map(GlobList.init)
    let isTrainable = { (spec: ParameterSpec) in
      if let globs { return globs.matches(spec.name) }
      guard let adapted = model.adapted else { return true }
      return adapted.contains(spec.name)
        || model.adaptedIfStored.contains(spec.name)
          && source.adapterParameters.contains(spec.name)
    }
    program = Program(graph: model.graph, isTrainable: isTrainable)
    parameterNames = Set(model.graph.parameters.map(\.name))
    layerProgram = program.isLayerwise ? nil : program.layerwise
    let layers = layerProgram?.readsInPlace ?? program.readsInPlace
    readsInPlace = zip(program.readsInPlace, layers).map { $0 && $1 }
    equalWeights =
      model.type == "sequential" ? try EqualWeights.all(in: program, source) : []
    try checkTensors()
    _ = try weighting()
    try checkLossName()
    try checkLabelType()
    try checkTrainable(patterns ?? [], areOptions: !options.trainable.isEmpty)
    if options.sample == .token { tokens = try TokenSamples(model.graph, program, reader()) }
    // Its passes may have made other operations of the same layers.
    for own in [tokens?.program, tokens?.layerProgram].compactMap({ $0 }) {
      readsInPlace = zip(readsInPlace, own.readsInPlace).map { $0 && $1 }
    }
  }

  package var path: String { source.name }

  package var description: CheckpointDescription {
    CheckpointDescription(
      path: path, base: source.base, epoch: source.epoch, step: source.step,
      run: run, model: model.type, loss: source.loss,
      lossSettings: lossWords,
      trainableParameters: program.parameterCount + unused.reduce(0) { $0 + $1.count },
      allParameters: (program.graph.parameters.map(\.count) + unused.map(\.count)).reduce(0, +),
      positions: program.graph.positions, classes: program.graph.classes,
      parameters: ParameterRole.all(in: layerProgram ?? program)
        + unused.map {
          ParameterRole(name: $0.name, count: $0.count, status: .unused, kroneckerBlock: nil)
        }, notes: model.notes.map { SettingText($0) }, equalWeights: equalWeights,
      hasWeightedLoss: !weightingWords.isEmpty,
      data: data.map {
        DataDescription(samples: $0.count, carriesDraws: $0.sampledLabels != nil)
      })
  }

  /// What PEFT trains and no computation reads; patterns that name what trains do not name it.
  private var unused: [UnusedParameter] { areAdapted ? model.unused : [] }

  /// What is to be read of the data of this checkpoint.
  package func reader() throws(CheckpointError) -> BatchReader? {
    guard let data else { return nil }
    return try BatchReader(
      data, graph: program.graph, loss: loss, weighting: weighting(), sequence: model.sequence)
  }

  /// What is to be done to the loss of every batch.
  ///
  /// - Throws: `CheckpointError` where it does not fit the loss or the number of classes.
  private func weighting() throws(CheckpointError) -> LossWeighting {
    let classes = program.graph.classes
    var weighting = LossWeighting.none
    if let entry = lossSettings.labelSmoothing, entry.value > 0 {
      try require(.crossEntropy, entry)
      weighting.smoothing = entry.value
    }
    for (entry, path) in [
      (lossSettings.classWeights, \LossWeighting.classes),
      (lossSettings.positiveWeights, \LossWeighting.positives),
    ] {
      guard let entry else { continue }
      guard entry.value.count == classes else {
        throw CheckpointError(
          .unexpectedValue(
            entry.name, found: "\(entry.value.count) numbers",
            expected: "\(classes), one for each logit"),
          at: entry.location)
      }
      weighting[keyPath: path] = entry.value
    }
    if let entry = lossSettings.positiveWeights { try require(.binaryCrossEntropy, entry) }
    return weighting
  }

  private func require<Value>(
    _ needed: Loss, _ entry: LossSettings.Entry<Value>
  ) throws(CheckpointError) {
    if loss == needed { return }
    throw CheckpointError(
      .unexpectedValue(
        entry.name, found: "with the loss \(loss.rawValue)",
        expected: "with \(needed.rawValue) only"), at: entry.location)
  }

  private func checkLossName() throws(CheckpointError) {
    guard let data, let loss = data.loss, loss != source.loss else { return }
    throw CheckpointError(
      .unexpectedValue(
        "__metadata__.loss", found: loss, expected: "that of the checkpoint, \(source.loss)"),
      at: .init(file: data.path))
  }

  /// Where no file names the loss, Transformers takes labels of numbers for several labels at once,
  /// torch for soft labels of one.
  private func checkLabelType() throws(CheckpointError) {
    guard let labels = data?.labels, !source.namesLoss, labels.dtype.isFloatingPoint else {
      return
    }
    throw CheckpointError(
      .wrongDType(found: labels.dtype, expected: [.i64, .i32]), at: labels.location,
      hint: "cross_entropy reads class numbers, or soft labels where config.json says "
        + "\"problem_type\": \"single_label_classification\"; "
        + "\"multi_label_classification\" is bce.")
  }

  /// Every parameter is there with its shape and a floating-point type, and nothing else is.
  private func checkTensors() throws(CheckpointError) {
    if source.isStateDict {
      try StateDict.check(
        source.parameters, program.graph.parameters, others: model.unreadTensors, path: path)
    }
    for spec in program.graph.parameters {
      let tensor = try source.parameter(spec.name)
      try tensor.requireShape(
        spec.shape,
        hint: source.adapterParameters.contains(spec.name)
          ? "The adapter is for a model of other sizes: give it with the one that it was trained on."
          : nil)
      try tensor.requireFloatingPoint()
    }
    let known = parameterNames.union(model.unreadTensors)
    for (name, tensor) in source.parameters.sorted(by: { $0.key < $1.key })
    where !known.contains(name) {
      let isOfAdapter = source.adapterParameters.contains(name)
      throw CheckpointError(
        .unexpectedTensor(near: isOfAdapter ? [] : nearMisses(name, among: known)),
        at: tensor.location,
        hint: isOfAdapter
          ? "The adapter is for a model of other layers: give it with the one that it was trained on."
          : "The model has no parameter of this name: remove the tensor or add its layer.")
    }
  }

  private func checkTrainable(_ patterns: [Glob], areOptions: Bool) throws {
    let names = program.graph.parameters.map(\.name)
    let known = Set(names)
    for glob in patterns
    where glob.isName
      ? !known.contains(glob.pattern) : !names.contains(where: glob.matches)
    {
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
  ///   - releasesPages: Whether frozen weights leave memory once they have been read
  ///     (`MemoryBudget.releasesPages`).
  ///   - pool: The threads that look at all numbers.
  /// - Throws: `CheckpointError` naming the tensor and entry that is not finite.
  package func parameters<S: EngineScalar>(
    _: S.Type, areRead: Bool = false, releasesPages: Bool = false,
    pool: WorkerPool = WorkerPool(threads: 1)
  ) throws(CheckpointError) -> ParameterStore<S> {
    var numbers: [ParameterNumbers<S>] = []
    for (index, spec) in program.graph.parameters.enumerated() {
      let tensor = try source.parameter(spec.name)
      if readsInPlace[index] {
        numbers.append(try tensor.frozenNumbers(spec, pool: pool))
      } else {
        let vector = try tensor.finiteVector(
          of: S.self, spec, isRead: areRead || program.offsets[index] == nil, pool: pool)
        numbers.append(ParameterNumbers(.scalars(vector)))
      }
    }
    let store = ParameterStore(numbers)
    try requireVariances(store)
    return releasesPages ? store.releasingPages() : store
  }
}

extension CheckpointSource {
  /// As options say what it is.
  init(
    path: String, options: EvaluationOptions, files: InputFiles
  ) throws(CheckpointError) {
    try self.init(
      path: path, adapter: options.adapter, model: options.model, loss: options.loss,
      classAxis: options.classAxis, task: options.task, files: files)
  }
}
