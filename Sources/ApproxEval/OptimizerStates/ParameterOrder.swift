import Checkpoints
import Foundation
import GraphModule

/// Which place in an optimiser's groups belongs to which parameter of a model.
struct ParameterOrder {
  /// What has decided it.
  enum Rule: Sendable, Equatable {
    case names
    case list(file: String)
    case model
    case shapes
    case decay

    /// As the end of "Parameters are told apart ...".
    var text: String {
      switch self {
      case .names: "by the names in the file"
      case .list(let file): "by the list in \(file)"
      case .model: "by the model's order"
      case .shapes: "by their shapes and the model's order within each group"
      case .decay: "as Transformers' Trainer groups them: decayed ones, then biases and norms"
      }
    }
  }

  /// A place, with what is known of the parameter there.
  struct Place {
    let group: Int
    let key: String
    let shape: [Int]?
    let hasState: Bool
  }

  let rule: Rule
  /// Whether parameters could be in another order that fits as well.
  let isAssumed: Bool
  /// For each place in the groups' order; `nil` for a parameter that this model's program lacks.
  let specs: [ParameterSpec?]

  // MARK: - By names

  /// - Throws: `CheckpointError` for a name that no parameter has, and two that mean one.
  init(
    names: [String], places: [Place], rule: Rule, _ checkpoint: LoadedCheckpoint,
    at location: CheckpointError.Location
  ) throws(CheckpointError) {
    let known = Dictionary(
      uniqueKeysWithValues: checkpoint.program.graph.parameters.map { ($0.name, $0) })
    var specs: [ParameterSpec?] = []
    var given: [String: String] = [:]
    for (name, place) in zip(names, places) {
      let own = checkpoint.ownName(of: name)
      guard let own, let spec = known[own] else {
        // Such as a base model's frozen copy of a module that PEFT has saved anew.
        if !place.hasState {
          specs.append(nil)
          continue
        }
        let near = nearMisses(own ?? name, among: known.keys)
        throw CheckpointError(
          .unexpectedValue(
            "the name \(name)", found: "that of no parameter", expected: "one"),
          at: location,
          hint: SettingText(
            didYouMean(near)
              ?? "eval-cli inspect lists the parameters: \(shortList(known.keys.sorted()))."))
      }
      if let other = given.updateValue(name, forKey: own) {
        throw CheckpointError(
          .unexpectedValue(
            "the parameter \(own)",
            found: "named twice: \(other) and \(name)", expected: "once"),
          at: location)
      }
      specs.append(spec)
    }
    (self.rule, self.specs, isAssumed) = (rule, specs, false)
  }

  // Names of 50,000 parameters, many times those of any model.
  private static let maximumListBytes = 1 << 22

  /// Names in a file, one a line.
  static func names(inFile path: String, _ files: InputFiles) throws(CheckpointError) -> [String] {
    let bytes = try files.open(path).bytes
    func failure(_ found: String) -> CheckpointError {
      CheckpointError(
        .otherFormat(found: found, expected: "a text with one name a line"), at: .init(file: path))
    }
    if bytes.count > maximumListBytes {
      throw failure("a file of more than \(maximumListBytes) bytes")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw failure("a binary file")
    }
    if !text.isStreamSafe { throw failure("a text with more than 30 combining marks in a row") }
    return text.split(whereSeparator: \.isNewline).map {
      $0.trimmingCharacters(in: .whitespaces)
    }.filter { !$0.isEmpty }
  }

  // MARK: - By order

  /// By the model's order, where shapes leave no choice.
  ///
  /// - Parameter decays: Of each group, whether its weights decay.
  /// - Throws: `CheckpointError`, also where there is more than one way.
  init(
    places: [Place], decays: [Bool], _ checkpoint: LoadedCheckpoint,
    at location: CheckpointError.Location
  ) throws(CheckpointError) {
    var found: [ParameterOrder] = []
    var failure: CheckpointError?
    for order in checkpoint.model.parameterOrders {
      do throws(CheckpointError) {
        let candidates = try Self.candidates(order, places.count, checkpoint, location)
        let result = try ParameterOrder(
          places: places, decays: decays, candidates, at: location)
        if !found.contains(where: { $0.specs.map(\.?.name) == result.specs.map(\.?.name) }) {
          found.append(result)
        }
      } catch {
        failure = failure ?? error
      }
    }
    if found.count > 1 {
      throw Self.undecided(
        "the order of \(places.count) parameters", "another one in other versions of Transformers",
        location)
    }
    if let failure, found.isEmpty { throw failure }
    self = found[0]
  }

  private init(
    places: [Place], decays: [Bool], _ candidates: [ParameterSpec],
    at location: CheckpointError.Location
  ) throws(CheckpointError) {
    func fits(_ order: [ParameterSpec]) -> Bool {
      zip(order, places).allSatisfy { $1.shape == nil || $0.shape == $1.shape }
    }
    let groups = Set(places.map(\.group))
    // Equal shapes can trade places, and what has no shape any; of one group without states nobody would
    // notice.
    let shapes = places.compactMap(\.shape)
    isAssumed =
      places.count > 1 && Set(shapes).count < places.count
      && (groups.count > 1 || places.contains(where: \.hasState))
    if groups.count < 2 {
      if let (spec, place) = zip(candidates, places).first(where: {
        $1.shape != nil && $0.shape != $1.shape
      }) {
        throw CheckpointError(
          .unexpectedValue(
            "state.\(place.key)", found: "that of a parameter of shape \(place.shape!)",
            expected: "\(spec.shape), that of \(spec.name)"), at: location,
          hint: "The optimiser belongs to another model, or had its parameters in another order: "
            + "give their names in its order as \(.parameterOrder) FILE.")
      }
      (rule, specs) = (.model, candidates)
      return
    }
    let (ways, order) = GroupInterleaving(places: places).assignments(candidates)
    if ways == 1, let order {
      (rule, specs) = (.shapes, order)
      return
    }
    if ways > 1, groups.count == 2, decays.count == 2, !decays[1] {
      let split =
        candidates.filter(Self.mayDecay) + candidates.filter { !Self.mayDecay($0) }
      let first = candidates.count { Self.mayDecay($0) }
      if first == places.count(where: { $0.group == places[0].group }), fits(split) {
        (rule, specs) = (.decay, split)
        return
      }
    }
    throw Self.undecided(
      "the order of \(places.count) parameters in \(groups.count) groups",
      ways == 0 ? "one that does not fit the model's shapes" : "open to several readings", location)
  }

  private static func undecided(
    _ what: String, _ found: String, _ location: CheckpointError.Location
  ) -> CheckpointError {
    CheckpointError(
      .unexpectedValue(what, found: found, expected: "one that names or shapes decide"),
      at: location,
      hint: "Give the parameters' names in the optimiser's order, one a line, as "
        + "\(.parameterOrder) FILE; or make the optimiser with model.named_parameters().")
  }

  /// All parameters, or those that train: as many as the optimiser has.
  private static func candidates(
    _ order: [ParameterSpec], _ count: Int, _ checkpoint: LoadedCheckpoint,
    _ location: CheckpointError.Location
  ) throws(CheckpointError) -> [ParameterSpec] {
    let program = checkpoint.program
    let all = order.filter { !$0.isBuffer }
    let names = Set(program.trainable.map { program.graph.parameters[$0.index].name })
    let trainable = all.filter { names.contains($0.name) }
    if count == trainable.count { return trainable }
    if count == all.count { return all }
    throw CheckpointError(
      .unexpectedValue(
        "the optimiser's state", found: "one for \(count) parameters",
        expected: trainable.count == all.count
          ? "\(all.count)" : "\(trainable.count) (the trainable ones) or \(all.count) (all)"),
      at: location,
      hint: "It belongs to another model, or to a part of it: \(.trainable) leaves parameters out.")
  }

  /// What Trainer lets decay: everything but biases and the parameters of normalisations.
  private static func mayDecay(_ spec: ParameterSpec) -> Bool {
    let parts = spec.name.lowercased().split(separator: ".")
    return spec.shape.count > 1 && !parts.contains { $0.contains("bias") || $0.contains("norm") }
  }
}
