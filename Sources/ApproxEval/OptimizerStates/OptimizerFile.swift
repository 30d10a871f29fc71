import Checkpoints

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
  }

  let archive: TensorArchive
  /// What precedes `state` and `param_groups` in flattened names: `optimizer.`
  let prefix: String
  let groups: [Group]

  var path: String { archive.path }
  var slotCount: Int { groups.reduce(0) { $0 + $1.slots.count } }

  /// Keys that `torch.optim.Optimizer` and the schedules of `torch.optim.lr_scheduler` add to the
  /// groups of any optimiser; what a schedule has decided is in the settings themselves.
  private static let commonKeys: Set<String> = [
    "params", "param_names", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum",
  ]

  /// - Throws: `CheckpointError` for a file that holds no such thing, or several.
  init(path: String) throws(CheckpointError) {
    archive = try TensorArchive.open(path)
    guard archive.format == .torch else {
      throw CheckpointError(
        .otherFormat(
          found: archive.format == .npz ? "an npz file" : "a safetensors file",
          expected: "a PyTorch file"),
        at: .init(file: path), hint: "Save it with torch.save(optimizer.state_dict(), ...).")
    }
    let names = Array(archive.tensors.keys) + Array(archive.metadata.keys)
    prefix = try Self.prefix(names, path)
    let entries = Entries(names, prefix)
    var groups: [Group] = []
    var known: Set<String> = []
    for number in 0..<entries.groupCount {
      let place = "\(prefix)param_groups.\(number)."
      let slots = Self.list(place + "params", archive)
      if let twice = slots.first(where: { !known.insert($0).inserted }) {
        throw CheckpointError(
          .unexpectedValue("parameter \(twice)", found: "in the groups twice", expected: "once"),
          at: .init(file: path, place: place + "params"))
      }
      groups.append(
        Group(
          number: number, keys: entries.groupKeys[number, default: []].subtracting(Self.commonKeys),
          slots: slots.map { Slot(key: $0, stateKeys: entries.stateKeys[$0, default: []]) },
          names: Self.names(slots, place, archive)))
    }
    self.groups = groups
    if let stray = entries.stateKeys.keys.filter({ !known.contains($0) }).min() {
      throw CheckpointError(
        .unexpectedValue("state.\(stray)", found: "there", expected: "in a group of param_groups"),
        at: .init(file: path), hint: "The file was not written by an optimiser's state_dict().")
    }
  }

  /// `optimizer.` of `optimizer.param_groups.0.lr`.
  private static func prefix(_ names: [String], _ path: String) throws(CheckpointError) -> String {
    var found: Set<String> = []
    for name in names {
      guard let range = name.firstRange(of: "param_groups.0.") else { continue }
      let prefix = String(name[..<range.lowerBound])
      if prefix.isEmpty || prefix.hasSuffix(".") { found.insert(prefix) }
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

  /// Flattened names by what they belong to.
  private struct Entries {
    var groupKeys: [Int: Set<String>] = [:]
    var stateKeys: [String: Set<String>] = [:]
    var groupCount: Int { (groupKeys.keys.max() ?? -1) + 1 }

    init(_ names: [String], _ prefix: String) {
      let (groups, states) = (prefix + "param_groups.", prefix + "state.")
      for name in names {
        if name.hasPrefix(groups) {
          let parts = name.dropFirst(groups.count).split(separator: ".", maxSplits: 2)
          guard parts.count > 1, let number = Int(parts[0]), number < 1 << 20 else { continue }
          groupKeys[number, default: []].insert(String(parts[1]))
        } else if name.hasPrefix(states) {
          let parts = name.dropFirst(states.count).split(separator: ".")
          guard let (key, field) = Self.split(parts) else { continue }
          stateKeys[key, default: []].insert(field)
        }
      }
    }

    /// `3` and `exp_avg`; the parameter may be a name with dots, what follows the field are places
    /// in a list.
    private static func split(_ parts: [Substring]) -> (String, String)? {
      guard parts.count > 1 else { return nil }
      if Int(parts[0]) != nil { return (String(parts[0]), String(parts[1])) }
      let end = parts.lastIndex { Int($0) == nil }!
      return end == 0 ? nil : (parts[..<end].joined(separator: "."), String(parts[end]))
    }
  }
}

/// Names for a message, as many as a line of it has room for.
func shortList(_ names: some Collection<String>, limit: Int = 240) -> String {
  var (shown, length) = ([String](), 0)
  for name in names {
    length += name.count + 2
    if length > limit { break }
    shown.append(name)
  }
  let rest = names.count - shown.count
  return shown.joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
}
