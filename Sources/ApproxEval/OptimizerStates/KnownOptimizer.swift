import Checkpoints
import TensorModule

/// An optimiser: how its state_dict is recognised, and the step that it takes next.
struct KnownOptimizer: Sendable {
  /// The direction is `update:<name>-state`.
  let name: String
  /// For messages, with the program that it is from.
  let title: String
  /// An optimiser may treat its groups in several ways.
  let kinds: [GroupKind]
  /// What a reader of the numbers must know about this step beyond its name.
  var remarks: @Sendable (OptimizerFile) throws(CheckpointError) -> [String] = {
    _ throws(CheckpointError) in []
  }
}

/// One way to treat a group: the keys that it has in a state_dict, and what is done with them.
struct GroupKind: Sendable {
  /// Settings that every version writes.
  let settings: Set<String>
  /// Settings that later versions have added; where one is missing it is off.
  var laterSettings: Set<String> = []
  /// What a parameter's state may consist of.
  let states: [Set<String>]
  /// Whether a parameter may do without a state.
  var mayLackState = false
  /// The shape of the parameter that a state belongs to, as far as it tells.
  let shape: @Sendable (ParameterState) -> [Int]?
  /// The step with its learning rate: the parameter loses this.
  let step: @Sendable (ParameterStep) throws(CheckpointError) -> Vector<Double>

  func matches(settings keys: Set<String>) -> Bool {
    settings.isSubset(of: keys) && keys.subtracting(settings).isSubset(of: laterSettings)
  }

  func matches(state keys: Set<String>) -> Bool { keys.isEmpty || states.contains(keys) }
}

extension GroupKind {
  /// The shape of a tensor that has the parameter's.
  static func like(_ keys: String...) -> @Sendable (ParameterState) -> [Int]? {
    { state in keys.lazy.compactMap { state.shape($0) }.first }
  }
}

// MARK: - Recognition

extension KnownOptimizer {
  /// The optimiser whose keys these are, and the kind of each group.
  ///
  /// - Throws: `CheckpointError` that lists the keys found and the optimisers known.
  static func recognized(
    _ file: OptimizerFile
  ) throws(CheckpointError) -> (optimizer: KnownOptimizer, kinds: [GroupKind]) {
    for optimizer in all {
      let kinds = file.groups.compactMap { group in
        optimizer.kinds.first { kind in
          kind.matches(settings: group.keys)
            && group.slots.allSatisfy { kind.matches(state: $0.stateKeys) }
        }
      }
      if kinds.count == file.groups.count { return (optimizer, kinds) }
    }
    throw unknown(file)
  }

  private static func unknown(_ file: OptimizerFile) -> CheckpointError {
    // The group that no optimiser has, or the first one where each is known by itself.
    let kinds = all.flatMap(\.kinds)
    let odd = file.groups.first { group in
      !kinds.contains { kind in
        kind.matches(settings: group.keys)
          && group.slots.allSatisfy { kind.matches(state: $0.stateKeys) }
      }
    }
    let group = odd ?? file.groups[0]
    let states = Set(group.slots.map(\.stateKeys)).map { $0.sorted() }.filter { !$0.isEmpty }
      .sorted { $0.lexicographicallyPrecedes($1) }
    let found = states.map { "(\(shortList($0)))" }
    return CheckpointError(
      .unexpectedValue(
        "the optimiser",
        found: "one with the settings (\(shortList(group.keys.sorted()))) and "
          + (found.isEmpty ? "no states" : "states of \(shortList(found))"),
        expected: "one that is known"),
      at: .init(file: file.path, place: "\(file.prefix)param_groups.\(group.number)"),
      hint: "Known, by exactly the keys that they write, are: \(titles).")
  }

  private static var titles: String {
    var titles: [String] = []
    for optimizer in all where !titles.contains(optimizer.title) { titles.append(optimizer.title) }
    return titles.joined(separator: ", ")
  }
}
