import Checkpoints
import Curvature
import Foundation
import GraphModule
import Models
import TensorModule

/// The state_dict of an optimiser, scored as the step that the optimiser takes next: its state
/// advanced with the mean gradient of the batch, each group at its rate, without weight decay.
package struct OptimizerState: UpdateSource {
  private let file: OptimizerFile
  private let optimizer: KnownOptimizer
  /// Of each group.
  private let kinds: [GroupKind]
  private let settings: [GroupSettings]
  /// The step is told in units of it.
  private let largestRate: Double
  /// The parameters' names in the optimiser's order, where a file has them.
  private let list: (file: String, names: [String])?

  package var name: String { optimizer.name + "-state" }
  package var path: String { file.path }

  /// - Throws: `CheckpointError`, also where the file holds the state of an optimiser that is not
  ///   known.
  package init(
    path: String, parameterOrder: String? = nil, files: InputFiles = InputFiles()
  ) throws(CheckpointError) {
    file = try OptimizerFile(path: path, files: files)
    (optimizer, kinds) = try KnownOptimizer.recognized(file)
    if let parameterOrder {
      list = (parameterOrder, try ParameterOrder.names(inFile: parameterOrder, files))
    } else {
      list = nil
    }
    var rates: [Double] = []
    for group in file.groups {
      // Optimisers with a rate of their own say None.
      let own = GroupSettings(file, group: group.number)
      rates.append(try own.number("lr", default: 0, .notNegative))
    }
    let largest = rates.max() ?? 0
    largestRate = largest > 0 ? largest : 1
    settings = rates.indices.map { [file] index in
      GroupSettings(
        file, group: file.groups[index].number, learningRate: largest > 0 ? rates[index] : 1)
    }
  }

  // MARK: - Which parameter is which

  /// The state of one trainable parameter.
  private struct Member {
    let spec: ParameterSpec
    let offset: Int
    let slot: OptimizerFile.Slot
    /// Index.
    let group: Int
  }

  private func order(_ checkpoint: LoadedCheckpoint) throws(CheckpointError) -> ParameterOrder {
    var places: [ParameterOrder.Place] = []
    // Without states and with one signed rate it does not matter which group a parameter is in.
    var rates: Set<Double> = []
    for settings in settings {
      rates.insert(settings.learningRate * (try settings.flag("maximize") ? -1 : 1))
    }
    let isOneGroup =
      rates.count == 1 && file.groups.allSatisfy { $0.slots.allSatisfy(\.stateKeys.isEmpty) }
    for (index, group) in file.groups.enumerated() {
      for slot in group.slots {
        places.append(
          ParameterOrder.Place(
            group: isOneGroup ? 0 : index, key: slot.key,
            shape: kinds[index].shape(ParameterState(file, slot)),
            hasState: !slot.stateKeys.isEmpty))
      }
    }
    if let (listFile, names) = list {
      if names.count != places.count {
        throw CheckpointError(
          .unexpectedValue(
            "the list", found: "one of \(names.count) names",
            expected: "one of \(places.count), as many as the optimiser has parameters"),
          at: .init(file: listFile))
      }
      return try ParameterOrder(
        names: names, places: places, rule: .list(file: listFile), checkpoint,
        at: .init(file: listFile))
    }
    let location = CheckpointError.Location(file: path, place: "\(file.prefix)param_groups")
    let names = file.groups.flatMap(\.names)
    if names.count == places.count {
      return try ParameterOrder(
        names: names, places: places, rule: .names, checkpoint, at: location)
    }
    var decays: [Bool] = []
    for settings in settings {
      decays.append(try settings.number("weight_decay", default: 0) != 0)
    }
    return try ParameterOrder(places: places, decays: decays, checkpoint, at: location)
  }

  private func members(
    _ checkpoint: LoadedCheckpoint
  ) throws(CheckpointError) -> (members: [Member], order: ParameterOrder) {
    let program = checkpoint.program
    let order = try order(checkpoint)
    let offsets = Dictionary(
      uniqueKeysWithValues: zip(program.graph.parameters.map(\.name), program.offsets))
    var members: [Member] = []
    var position = 0
    for (index, group) in file.groups.enumerated() {
      for slot in group.slots {
        defer { position += 1 }
        guard let spec = order.specs[position], let offset = offsets[spec.name] ?? nil else {
          continue
        }
        members.append(Member(spec: spec, offset: offset, slot: slot, group: index))
      }
    }
    let found = Set(members.map(\.spec.name))
    for parameter in program.trainable {
      let name = program.graph.parameters[parameter.index].name
      if !found.contains(name) {
        throw CheckpointError(
          .missingValue("the parameter \(name)", near: []),
          at: .init(file: path, place: "\(file.prefix)param_groups"),
          hint: "The optimiser has no place for it. Every trainable parameter needs one; "
            + "\(.trainable) leaves parameters out.")
      }
    }
    return (members, order)
  }

  package func check(_ checkpoint: LoadedCheckpoint) throws(CheckpointError) {
    _ = try optimizer.remarks(file)
    for member in try members(checkpoint).members {
      let kind = kinds[member.group]
      let state = ParameterState(file, member.slot)
      if member.slot.stateKeys.isEmpty {
        let momentum = try settings[member.group].number("momentum", default: 0)
        if kind.mayLackState && momentum == 0 { continue }
        throw CheckpointError(
          .missingValue(state.place, near: []), at: .init(file: path),
          hint: "It belongs to \(member.spec.name), which the optimiser has never stepped: it was "
            + "frozen, or the file was saved before the first step. \(.trainable) leaves it out.")
      }
      if let shape = kind.shape(state), shape != member.spec.shape {
        throw CheckpointError(
          .unexpectedValue(
            state.place, found: "that of a parameter of shape \(shape)",
            expected: "\(member.spec.shape), that of \(member.spec.name)"), at: .init(file: path))
      }
    }
  }

  package func tensorCount(_ checkpoint: LoadedCheckpoint) throws(CheckpointError) -> Int {
    try members(checkpoint).members.count
  }

  package func notes(_ checkpoint: LoadedCheckpoint) throws(CheckpointError) -> [SettingText] {
    let order = try members(checkpoint).order
    var notes: [SettingText] = [
      "the next step of \(optimizer.title) on the batch's mean gradient; parameters are told apart "
        + "\(order.rule.text)."
    ]
    if order.isAssumed {
      notes.append(
        "That order is an assumption, which the file neither confirms nor denies: parameters of one "
          + "shape can have traded places. Names in the file decide it, as of an optimiser made with "
          + "model.named_parameters(), or \(.parameterOrder) FILE, a list of them.")
    }
    for key in ["weight_decay", "weight_decay_1d"] {
      for settings in settings where try settings.number(key, default: 0) != 0 {
        let sentence: SettingText = "Its weight decay is left out."
        if !notes.contains(sentence) { notes.append(sentence) }
      }
    }
    notes += try optimizer.remarks(file).map { SettingText($0) }
    return [SettingText("update:\(name) is ") + notes.joined(separator: " ")]
  }

  // MARK: - The step

  /// The file and what a step is made in: the batch's mean gradient, the result, and what the
  /// parameter that takes most has beside them.
  package func bytes(_ checkpoint: LoadedCheckpoint) -> ByteCount {
    let parameters = checkpoint.program.graph.parameters
    let largest = checkpoint.program.trainable.map { parameters[$0.index].count }.max() ?? 0
    let state = file.groups.flatMap(\.slots).map(\.stateCount).max() ?? 0
    // Of an iteration or decomposition: copies of a moment or of a factor, and its results.
    let work = 4 * (ByteCount(largest) + state)
    return file.archive.tensors.values.total(\.residentBytes)
      + ByteCount(2 * ByteCount(checkpoint.program.parameterCount) + work, of: Double.self)
  }

  package func prepared<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _: S.Type, pool: WorkerPool
  ) throws(CheckpointError) -> PreparedUpdate<S> {
    try check(checkpoint)
    return .step { gradient throws(CheckpointError) in
      .explicit(ScaledVector(rounding: try self.step(checkpoint, gradient)))
    }
  }

  /// What the parameters lose, in units of the largest learning rate.
  ///
  /// - Parameter gradient: The mean gradient of the batch, `[P]`.
  func step(
    _ checkpoint: LoadedCheckpoint, _ gradient: Vector<Double>
  ) throws(CheckpointError) -> Vector<Double> {
    let result = Vector<Double>(count: gradient.count)
    for member in try members(checkpoint).members {
      let spec = member.spec
      let settings = settings[member.group]
      let own = Vector<Double>(count: spec.count)
      spec.reorder(
        UnsafePointer(gradient.pointer + member.offset), into: own.pointer, toFile: true)
      if try settings.flag("maximize") { _ = scaled(own, -1) }
      let state = ParameterState(file, member.slot)
      let step = try kinds[member.group].step(
        ParameterStep(spec: spec, gradient: own, group: settings, state: state) {
          () throws(CheckpointError) in
          let tensor = try checkpoint.source.parameter(spec.name)
          return try tensor.finiteVector(of: Double.self)
        })
      _ = scaled(step, 1 / largestRate)
      if let index = Kernels.firstNonFinite(UnsafePointer(step.pointer), count: step.count) {
        throw CheckpointError(
          .unexpectedValue(
            "the step of \(spec.name)", found: "\(step.pointer[index]) at entry \(index)",
            expected: "a finite number"), at: .init(file: path, place: state.place))
      }
      spec.reorder(UnsafePointer(step.pointer), into: result.pointer + member.offset)
    }
    return result
  }
}
