import Checkpoints
import TensorModule

/// The state_dict of a PyTorch optimiser in a file of `torch.save`, perhaps inside a larger
/// dictionary: which groups and parameters it has, and by what keys. No number is read.
struct OptimizerFile: Sendable {
  /// One `param_groups` entry.
  struct Group: Sendable {
    let number: Int
    /// Of its settings, without those that are no part of an optimiser.
    let keys: Set<String>
    let slots: [Slot]
    /// From `named_parameters`; empty without.
    let names: [String]
  }

  /// A place for a parameter.
  struct Slot: Sendable {
    /// Of `state`.
    let key: String
    /// Of the parameter's state; empty where there is none.
    let stateKeys: Set<String>
    /// Numbers of the tensors of its state.
    let stateCount: ByteCount
  }

  let archive: TensorArchive
  /// What precedes `state` and `param_groups` in flattened names: `optimizer.`
  let prefix: String
  let groups: [Group]

  var path: String { archive.path }

  /// Keys that `torch.optim.Optimizer` and the schedules of `torch.optim.lr_scheduler` add to the
  /// groups of any optimiser; what a schedule has decided is in the settings themselves.
  private static let commonKeys: Set<String> = [
    "params", "param_names", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum",
    "swa_lr",
  ]

  /// - Throws: `CheckpointError` for a file that holds no such thing, or several.
  init(path: String, files: InputFiles) throws(CheckpointError) {
    archive = try TensorArchive.open(path, files: files)
    guard archive.format == .torch else {
      throw CheckpointError(
        .otherFormat(
          found: archive.format.title,
          expected: "a PyTorch file"),
        at: .init(file: path), hint: "Save it with torch.save(optimizer.state_dict(), ...).")
    }
    let names = Array(archive.tensors.keys) + Array(archive.metadata.keys)
    prefix = try Self.prefix(names, path)
    let settings = Self.groupKeys(names, prefix)
    if Set(settings.keys) != Set(0..<settings.count) {
      throw CheckpointError(
        .unexpectedValue("\(prefix)param_groups", found: "no list", expected: "a list of groups"),
        at: .init(file: path))
    }
    var slots: [[String]] = []
    var known: Set<String> = []
    for number in 0..<settings.count {
      let place = "\(prefix)param_groups.\(number).params"
      let own = Self.list(place, archive)
      if let twice = own.first(where: { !known.insert($0).inserted }) {
        throw CheckpointError(
          .unexpectedValue(
            "parameter \(twice)", found: "in the groups twice", expected: "once"),
          at: .init(file: path, place: place))
      }
      slots.append(own)
    }
    let states = try Self.states(names, prefix, known, archive)
    var groups: [Group] = []
    for (number, slots) in slots.enumerated() {
      groups.append(
        Group(
          number: number, keys: settings[number, default: []].subtracting(Self.commonKeys),
          slots: slots.map { key in
            let state = states[key, default: (keys: [], count: 0)]
            return Slot(key: key, stateKeys: state.keys, stateCount: state.count)
          },
          names: Self.names(slots, "\(prefix)param_groups.\(number).", archive)))
    }
    self.groups = groups
  }

  /// `optimizer.` of `optimizer.param_groups.0.lr`.
  private static func prefix(_ names: [String], _ path: String) throws(CheckpointError) -> String {
    var found: Set<String> = []
    for name in names {
      for end in ["param_groups.0.params.0", "param_groups.0.params"] where name.hasSuffix(end) {
        let prefix = String(name.dropLast(end.count))
        if prefix.isEmpty || prefix.hasSuffix(".") { found.insert(prefix) }
      }
    }
    guard let prefix = found.min() else {
      throw CheckpointError(
        .missingValue("param_groups", near: []), at: .init(file: path),
        hint: "This is no state of an optimiser: save torch.save(optimizer.state_dict(), ...).")
    }
    if found.count > 1 {
      let places = found.sorted().map { $0 + "param_groups" }
      throw CheckpointError(
        .unexpectedValue(
          "the file", found: "the states of \(found.count) optimisers", expected: "that of one"),
        at: .init(file: path),
        hint: "They are \(shortList(places)): save one of them in a file of its own.")
    }
    return prefix
  }

  private static func list(_ name: String, _ archive: TensorArchive) -> [String] {
    var values: [String] = []
    while let value = archive.metadata["\(name).\(values.count)"] { values.append(value) }
    return values
  }

  /// Keys of distributed state dictionaries are names themselves.
  private static func names(_ slots: [String], _ place: String, _ archive: TensorArchive)
    -> [String]
  {
    let names = list(place + "param_names", archive)
    if names.count == slots.count { return names }
    return slots.allSatisfy { Int($0) == nil } ? slots : []
  }

  /// Keys of each group's settings.
  private static func groupKeys(_ names: [String], _ prefix: String) -> [Int: Set<String>] {
    let start = prefix + "param_groups."
    var keys: [Int: Set<String>] = [:]
    for name in names where name.hasPrefix(start) {
      let parts = name.dropFirst(start.count).split(separator: ".", maxSplits: 2)
      guard parts.count > 1, let number = Int(parts[0]) else { continue }
      keys[number, default: []].insert(String(parts[1]))
    }
    return keys
  }

  /// Keys of each parameter's state, `exp_avg` of `state.3.exp_avg`, `GG` of
  /// `state.layer.weight.GG.0`, and the numbers in its tensors.
  private static func states(
    _ names: [String], _ prefix: String, _ known: Set<String>, _ archive: TensorArchive
  ) throws(CheckpointError) -> [String: (keys: Set<String>, count: ByteCount)] {
    let start = prefix + "state."
    let mostParts = known.reduce(0) { max($0, $1.count { $0 == "." } + 1) }
    var states: [String: (keys: Set<String>, count: ByteCount)] = [:]
    for name in names.sorted() where name.hasPrefix(start) {
      let parts = name.dropFirst(start.count).split(separator: ".").map(String.init)
      // Where the parameter is a name it may have dots itself.
      let end = (1..<max(min(parts.count, mostParts + 1), 1)).first {
        known.contains(parts[..<$0].joined(separator: "."))
      }
      guard let end else {
        // An optimiser may have been given a parameter that it has never stepped.
        if parts.count == 1 && known.contains(parts[0]) { continue }
        throw CheckpointError(
          .unexpectedValue(
            name, found: "the state of no parameter",
            expected: "that of one in param_groups"),
          at: .init(file: archive.path), hint: "An optimiser's state_dict() has nothing else.")
      }
      let key = parts[..<end].joined(separator: ".")
      states[key, default: ([], 0)].keys.insert(parts[end])
      if let tensor = archive.tensors[name] {
        states[key, default: ([], 0)].count += ByteCount(tensor.count)
      }
    }
    return states
  }
}

/// Names for a message, as many as a line of it has room for.
func shortList(_ names: some Collection<String>, limit: Int = 240) -> String {
  var (shown, length) = ([String](), 0)
  for name in names {
    let text = printable(name, limit: 120)
    length += text.count + 2
    if length > limit { break }
    shown.append(text)
  }
  let rest = names.count - shown.count
  return shown.joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
}
