import Checkpoints
import Curvature
import Foundation
import GraphModule
import Models
import TensorModule

/// The state_dict of a PyTorch optimiser, and the direction that the optimiser would take from it.
///
/// Adam and AdamW (Kingma and Ba 2015; Loshchilov and Hutter 2019): `m / (sqrt(v) + eps)` with
/// `m = exp_avg / (1 - beta1^t)` and `v = exp_avg_sq / (1 - beta2^t)`, for `amsgrad` with
/// `max_exp_avg_sq`. SGD with momentum: `momentum_buffer`. Decoupled weight decay is no part of the
/// direction. Groups with other learning rates count in proportion to them.
package struct OptimizerState: UpdateSource {
  private enum Kind: String {
    case adam
    case momentum

    /// The field that every parameter has.
    var field: String { self == .adam ? "exp_avg" : "momentum_buffer" }
  }

  /// One `param_groups` entry.
  private struct Group {
    /// Keys into `state`, in order.
    let indices: [String]
    /// From `named_parameters`; empty without.
    let names: [String]
    let number: Int
  }

  private let archive: TensorArchive
  /// What precedes `state` and `param_groups` in flattened names: `optimizer.`
  private let prefix: String
  private let kind: Kind
  private let groups: [Group]

  package var name: String { kind.rawValue + "-state" }
  package var path: String { archive.path }

  /// In the file, and each moment in double.
  package var bytes: ByteCount {
    archive.tensors.values.total {
      $0.residentBytes + 2 * ByteCount(ByteCount($0.count), of: Double.self)
    }
  }

  // MARK: - Opening

  /// - Throws: `CheckpointError`, also where the file holds the state of another optimiser.
  package static func open(
    _ path: String, files: InputFiles = InputFiles()
  ) throws(CheckpointError) -> OptimizerState {
    let archive = try TensorArchive.open(path, files: files)
    guard archive.format == .torch else {
      throw CheckpointError(
        .otherFormat(
          found: archive.format == .npz ? "an npz file" : "a safetensors file",
          expected: "a PyTorch file"),
        at: .init(file: path), hint: "Save it with torch.save(optimizer.state_dict(), ...).")
    }
    return try OptimizerState(archive)
  }

  private init(_ archive: TensorArchive) throws(CheckpointError) {
    self.archive = archive
    var found: Set<String> = []
    var kinds: Set<Kind> = []
    for name in archive.tensors.keys {
      for kind in [Kind.adam, .momentum] {
        guard let prefix = Self.prefix(of: name, field: kind.field) else { continue }
        found.insert(prefix)
        kinds.insert(kind)
      }
    }
    guard let prefix = found.first, let kind = kinds.first else {
      throw CheckpointError(
        .missingTensor("state.<index>.exp_avg", near: []), at: .init(file: archive.path),
        hint: "The state of Adam, AdamW or SGD with momentum is read, after at least one step.")
    }
    if found.count > 1 || kinds.count > 1 {
      throw CheckpointError(
        .unexpectedValue(
          "state", found: "those of \(max(found.count, kinds.count)) optimisers", expected: "one"),
        at: .init(file: archive.path))
    }
    self.prefix = prefix
    self.kind = kind
    groups = try Self.groups(archive, prefix)
    try requireKnownOptimizer()
  }

  /// `optimizer.` of `optimizer.state.3.exp_avg`; `nil` for other names.
  private static func prefix(of name: String, field: String) -> String? {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count >= 3, parts[parts.count - 1] == field, Int(parts[parts.count - 2]) != nil,
      parts[parts.count - 3] == "state"
    else { return nil }
    return parts.dropLast(3).map { $0 + "." }.joined()
  }

  private static func groups(
    _ archive: TensorArchive, _ prefix: String
  ) throws(CheckpointError) -> [Group] {
    var groups: [Group] = []
    while true {
      let place = "\(prefix)param_groups.\(groups.count)."
      func list(_ key: String) -> [String] {
        var values: [String] = []
        while let value = archive.metadata["\(place)\(key).\(values.count)"] {
          values.append(value)
        }
        return values
      }
      let indices = list("params")
      if indices.isEmpty { break }
      groups.append(Group(indices: indices, names: list("param_names"), number: groups.count))
    }
    if groups.isEmpty {
      throw CheckpointError(
        .missingValue("\(prefix)param_groups", near: []), at: .init(file: archive.path),
        hint: "It tells which state belongs to which parameter; save optimizer.state_dict().")
    }
    return groups
  }

  /// Optimisers whose state looks like Adam's and whose step is another.
  private func requireKnownOptimizer() throws(CheckpointError) {
    guard kind == .adam else { return }
    for group in groups {
      let isNAdam = setting("momentum_decay", group) != nil
      let isRAdam =
        setting("decoupled_weight_decay", group) != nil && setting("amsgrad", group) == nil
      if isNAdam || isRAdam {
        throw CheckpointError(
          .unexpectedValue(
            "\(prefix)param_groups.\(group.number)",
            found: "the settings of \(isNAdam ? "NAdam" : "RAdam")",
            expected: "those of Adam or AdamW"), at: .init(file: path))
      }
    }
  }

  // MARK: - Which parameter is which

  /// The state of one trainable parameter.
  private struct Member {
    let spec: ParameterSpec
    let offset: Int
    let key: String
    let group: Group
  }

  package func check(_ checkpoint: LoadedCheckpoint) throws(CheckpointError) {
    for member in try members(checkpoint) {
      try tensor(kind.field, of: member).requireShape(member.spec.shape)
      guard kind == .adam else { continue }
      try squares(of: member).requireShape(member.spec.shape)
      _ = try step(of: member)
      _ = try number("betas.0", member.group)
      _ = try number("betas.1", member.group)
      _ = try number("eps", member.group)
    }
  }

  /// By the names that the file gives, or by order where the model has one.
  private func members(_ checkpoint: LoadedCheckpoint) throws(CheckpointError) -> [Member] {
    let program = checkpoint.program
    let slots = groups.flatMap { group in group.indices.map { (group, $0) } }
    let names = groups.flatMap(\.names)
    let specs: [ParameterSpec]
    if names.count == slots.count {
      specs = try named(names, checkpoint)
    } else if slots.count == 1 || checkpoint.model.type == "sequential" {
      specs = try ordered(slots.count, checkpoint)
    } else {
      throw CheckpointError(
        .missingValue("\(prefix)param_groups.0.param_names", near: []), at: .init(file: path),
        hint:
          "Which state belongs to which parameter of a \(checkpoint.model.type) model is told by "
          + "names: make the optimiser with model.named_parameters(), or add the list to the file.")
    }
    var members: [Member] = []
    let offsets = Dictionary(
      uniqueKeysWithValues: zip(program.graph.parameters.map(\.name), program.offsets))
    for (spec, slot) in zip(specs, slots) {
      guard let offset = offsets[spec.name] ?? nil else { continue }
      members.append(Member(spec: spec, offset: offset, key: slot.1, group: slot.0))
    }
    let found = Set(members.map(\.spec.name))
    for parameter in program.trainable {
      let name = program.graph.parameters[parameter.index].name
      if !found.contains(name) {
        throw CheckpointError(
          .missingValue("the state of \(name)", near: []), at: .init(file: path),
          hint: "Every trainable parameter needs one; --trainable leaves parameters out.")
      }
    }
    return members
  }

  private func named(
    _ names: [String], _ checkpoint: LoadedCheckpoint
  ) throws(CheckpointError) -> [ParameterSpec] {
    let known = checkpoint.program.graph.parameters
    let specOfName = Dictionary(uniqueKeysWithValues: known.map { ($0.name, $0) })
    var specs: [ParameterSpec] = []
    var given: [String: String] = [:]
    for name in names {
      let own = Self.parameterName(name, modelType: checkpoint.model.type)
      guard let spec = specOfName[own] else {
        throw CheckpointError(
          .unknownName(what: "parameter", found: name, known: known.map(\.name)),
          at: .init(file: path, place: "\(prefix)param_groups"))
      }
      if let other = given.updateValue(name, forKey: spec.name) {
        throw CheckpointError(
          .unexpectedValue(
            "param_names",
            found: other == name
              ? "\(name) twice" : "\(other) and \(name), which are both \(spec.name)",
            expected: "each name once"),
          at: .init(file: path, place: "\(prefix)param_groups"))
      }
      specs.append(spec)
    }
    return specs
  }

  /// Without the wrappers of DataParallel, torch.compile and PEFT.
  private static func parameterName(_ name: String, modelType: String) -> String {
    var bare = name
    for wrapper in ["module.", "_orig_mod.", "base_model.model."] where bare.hasPrefix(wrapper) {
      bare.removeFirst(wrapper.count)
    }
    if bare == "prompt_encoder.default.embedding.weight" { return "prompt_embeddings" }
    bare = bare.replacing(".default.", with: ".")
    return Model.parameterName(ofAdapterTensor: bare, modelType: modelType) ?? bare
  }

  /// A sequential model has one order: that of its description.
  private func ordered(
    _ count: Int, _ checkpoint: LoadedCheckpoint
  ) throws(CheckpointError) -> [ParameterSpec] {
    let program = checkpoint.program
    let trainable = program.trainable.map { program.graph.parameters[$0.index] }
    let all = program.graph.parameters.filter { !$0.isBuffer }
    if count == trainable.count { return trainable }
    if count == all.count { return all }
    throw CheckpointError(
      .unexpectedValue(
        "\(prefix)param_groups", found: "\(count) parameters",
        expected: trainable.count == all.count
          ? "\(all.count)" : "\(trainable.count) (the trainable ones) or \(all.count) (all)"),
      at: .init(file: path), hint: "The optimiser belongs to another model.")
  }

  // MARK: - Values

  private func tensor(_ field: String, of member: Member) throws(CheckpointError) -> StoredTensor {
    let name = "\(prefix)state.\(member.key).\(field)"
    guard let tensor = archive.tensors[name] else {
      throw CheckpointError(
        .missingTensor(name, near: []), at: .init(file: path),
        hint: "It belongs to \(member.spec.name), which trains: either it is frozen in the run "
          + "(--trainable leaves it out), or the optimiser has not taken a step.")
    }
    try tensor.requireFloatingPoint()
    return tensor
  }

  private func squares(of member: Member) throws(CheckpointError) -> StoredTensor {
    let isMaximum = setting("amsgrad", member.group) == "true"
    return try tensor(isMaximum ? "max_exp_avg_sq" : "exp_avg_sq", of: member)
  }

  /// A number in the pickle, or a tensor of one number.
  private func step(of member: Member) throws(CheckpointError) -> Double {
    let name = "\(prefix)state.\(member.key).step"
    var value = archive.metadata[name].flatMap(Double.init)
    if let tensor = archive.tensors[name], tensor.count == 1 {
      value =
        tensor.dtype.isInteger
        ? Double(try tensor.integers()[0]) : try tensor.vector(of: Double.self)[0]
    }
    guard let value else {
      throw CheckpointError(.missingValue(name, near: []), at: .init(file: path))
    }
    guard value >= 1, value.isFinite else {
      throw CheckpointError(
        .unexpectedValue(name, found: "\(value)", expected: "a number of steps, at least 1"),
        at: .init(file: path))
    }
    return value
  }

  private func setting(_ key: String, _ group: Group) -> String? {
    archive.metadata["\(prefix)param_groups.\(group.number).\(key)"]
  }

  private func number(_ key: String, _ group: Group) throws(CheckpointError) -> Double {
    let name = "\(prefix)param_groups.\(group.number).\(key)"
    guard let text = setting(key, group) else {
      throw CheckpointError(.missingValue(name, near: []), at: .init(file: path))
    }
    guard let value = Double(text), value >= 0, value.isFinite, key == "eps" || value < 1 else {
      throw CheckpointError(
        .unexpectedValue(
          name, found: text, expected: key == "eps" ? "at least 0" : "a number in [0, 1)"),
        at: .init(file: path))
    }
    return value
  }

  /// Relative to the largest; 1 where they are missing or all zero, as at the end of a schedule.
  private func learningRates() throws(CheckpointError) -> [Double] {
    var rates: [Double] = []
    for group in groups {
      let rate = setting("lr", group).flatMap(Double.init) ?? 0
      guard rate >= 0, rate.isFinite else {
        throw CheckpointError(
          .unexpectedValue(
            "\(prefix)param_groups.\(group.number).lr", found: "\(rate)", expected: "at least 0"),
          at: .init(file: path))
      }
      rates.append(rate)
    }
    let largest = rates.max() ?? 0
    return largest > 0 ? rates.map { $0 / largest } : rates.map { _ in 1 }
  }

  package func direction<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _: S.Type, pool: WorkerPool
  ) throws(CheckpointError) -> DirectionForm<S> {
    try check(checkpoint)
    let exact = Vector<Double>(count: checkpoint.program.parameterCount)
    let rates = try learningRates()
    for member in try members(checkpoint) {
      let m = try tensor(kind.field, of: member).finiteVector(of: Double.self, member.spec)
      let target = exact.pointer + member.offset
      let rate = rates[member.group.number]
      guard kind == .adam else {
        for i in 0..<m.count { target[i] = rate * m.pointer[i] }
        continue
      }
      let v = try squares(of: member).finiteVector(of: Double.self, member.spec)
      let t = try step(of: member)
      let epsilon = try number("eps", member.group)
      // 1 - beta^t, which cancels for few steps with a beta near 1.
      let first = -expm1(t * log(try number("betas.0", member.group)))
      let second = -expm1(t * log(try number("betas.1", member.group)))
      for i in 0..<m.count {
        let divisor = (max(v.pointer[i], 0) / second).squareRoot() + epsilon
        target[i] = divisor > 0 ? rate * (m.pointer[i] / first) / divisor : 0
      }
    }
    return .explicit(ScaledVector(rounding: exact))
  }
}
