import Checkpoints

/// A LoRA adapter as PEFT's adapter_config.json describes it (LoraConfig): which modules it
/// changes, at which rank and scale, and which other parameters it trains.
struct LowRankAdapter: Sendable {
  enum Bias: String, Sendable {
    case none
    /// Every parameter named `bias`; in older versions of PEFT, every one with `bias` in its name.
    case all
    /// The biases of the modules that are changed.
    case adapted = "lora_only"
  }

  let bias: Bias
  /// Whether B has a bias of its own.
  let hasBiases: Bool
  /// Rows of the embedding that train, if any do.
  let trainedTokens: TrainedTokenList?
  let modulesToSave: [String]
  /// Where the modules that it changes are named.
  let targetPlace: JSONValue
  /// Far more than any model has kinds of modules.
  private static let maximumNames = 256
  private static let maximumPatterns = 4096
  private let rank: Int
  private let alpha: Double
  private let usesRootScaling: Bool
  private let rankPattern: [(key: NamePattern, value: Int)]
  private let alphaPattern: [(key: NamePattern, value: Double)]
  private let targets: Targets
  private let excluded: Targets?
  private let layers: Set<Int>?
  /// Where the number of a layer is in a module's name; empty: behind the name of any list.
  private let layerPatterns: [NamePattern]

  /// Which modules a setting names.
  enum Targets: Sendable {
    /// The whole name, or its end after a dot.
    case names(Set<String>)
    /// A regular expression that matches the whole name.
    case pattern(NamePattern)
    /// `all-linear`: every linear layer but the output head of a language model.
    case allLinear

    func matches(_ module: String) throws(CheckpointError) -> Bool {
      switch self {
      case .names(let names): endsAfterDots(of: module).contains { names.contains(String($0)) }
      case .pattern(let pattern): try pattern.matches(module)
      case .allLinear: true
      }
    }
  }

  init(_ config: JSONValue) throws(CheckpointError) {
    try LowRankAdapter.refuseUnsupported(config)
    rank = try config["r"].size(default: 8)
    alpha = try config["lora_alpha"].double(default: 8)
    usesRootScaling = try config["use_rslora"].bool(default: false)
    let biasName = try config["bias"].string(default: "none")
    guard let bias = Bias(rawValue: biasName) else {
      throw config["bias"].wrong("\"none\", \"all\" or \"lora_only\"")
    }
    self.bias = bias
    hasBiases = try config["lora_bias"].bool(default: false)
    trainedTokens =
      config["trainable_token_indices"].exists
      ? try TrainedTokenList(config["trainable_token_indices"]) : nil
    modulesToSave =
      config["modules_to_save"].exists ? try config["modules_to_save"].strings() : []
    if modulesToSave.count > Self.maximumNames {
      throw config["modules_to_save"].wrong("at most \(Self.maximumNames) names")
    }
    let work = MatchingWork()
    guard let targets = try LowRankAdapter.targets(config["target_modules"], work) else {
      throw config["target_modules"].wrong("a list of module names or a regular expression")
    }
    (self.targets, targetPlace) = (targets, config["target_modules"])
    excluded = try LowRankAdapter.targets(config["exclude_modules"], work)
    rankPattern = try LowRankAdapter.patterns(config["rank_pattern"], work) {
      value throws(CheckpointError) in try value.size()
    }
    alphaPattern = try LowRankAdapter.patterns(config["alpha_pattern"], work) {
      value throws(CheckpointError) in try value.double()
    }
    if config["layers_to_transform"].exists {
      if case .integer(let layer) = try config["layers_to_transform"].content() {
        layers = [layer]
      } else {
        layers = Set(try config["layers_to_transform"].integers())
      }
    } else {
      layers = nil
    }
    layerPatterns = try LowRankAdapter.layerPatterns(config["layers_pattern"], work)
  }

  /// Rank and scale for a module, `nil` if the adapter leaves it alone.
  ///
  /// - Parameter names: The module's name as each version of Transformers has it.
  /// - Throws: An error if a pattern takes too long to match.
  func change(
    to names: [String], isHead: Bool
  ) throws(CheckpointError) -> (rank: Int, scale: Double)? {
    var target: String?
    for name in names where target == nil {
      if try isTarget(name, isHead: isHead) { target = name }
    }
    guard let target else { return nil }
    let rank = try Self.value(of: target, in: rankPattern) ?? self.rank
    let alpha = try Self.value(of: target, in: alphaPattern) ?? self.alpha
    let size = Double(rank)
    return (rank, alpha / (usesRootScaling ? size.squareRoot() : size))
  }

  /// That of the first pattern which the end of the name matches.
  private static func value<Number>(
    of name: String, in patterns: [(key: NamePattern, value: Number)]
  ) throws(CheckpointError) -> Number? {
    for (pattern, value) in patterns where try pattern.matches(name) { return value }
    return nil
  }

  private func isTarget(_ module: String, isHead: Bool) throws(CheckpointError) -> Bool {
    if let excluded, try excluded.matches(module) { return false }
    // A saved module and what is inside it are not changed.
    if modulesToSave.contains(where: { ".\(module).".contains(".\($0).") }) { return false }
    if case .allLinear = targets, isHead { return false }
    guard try targets.matches(module) else { return false }
    guard let layers else { return true }
    var number: Int?
    if layerPatterns.isEmpty {
      number = module.split(separator: ".").lazy.compactMap { Int($0) }.first
    }
    for pattern in layerPatterns where number == nil { number = try pattern.number(behind: module) }
    return number.map(layers.contains) ?? false
  }

  /// Whether a whole module is trained and saved with the adapter.
  func saves(_ module: String) -> Bool {
    // A saved module brings what is inside it.
    var path = Substring(module)
    while true {
      if modulesToSave.contains(where: path.hasSuffix) { return true }
      guard let dot = path.lastIndex(of: ".") else { return false }
      path = path[..<dot]
    }
  }

  // MARK: - Reading

  private static func targets(
    _ value: JSONValue, _ work: MatchingWork
  ) throws(CheckpointError) -> Targets? {
    guard value.exists else { return nil }
    guard case .string(let text) = try value.content() else {
      let names = try value.strings()
      return names.isEmpty ? nil : .names(Set(names))
    }
    if text.lowercased() == "all-linear" { return .allLinear }
    return .pattern(try NamePattern(text, .whole, at: value, work))
  }

  private static func layerPatterns(
    _ value: JSONValue, _ work: MatchingWork
  ) throws(CheckpointError) -> [NamePattern] {
    guard value.exists else { return [] }
    var texts: [String] = []
    if case .string(let text) = try value.content() {
      texts = text.isEmpty ? [] : [text]
    } else {
      texts = try value.strings()
    }
    var result: [NamePattern] = []
    if texts.count > maximumPatterns { throw value.wrong("at most \(maximumPatterns) patterns") }
    for text in texts { result.append(try NamePattern(text, .list, at: value, work)) }
    return result
  }

  private static func patterns<Number>(
    _ value: JSONValue, _ work: MatchingWork,
    _ read: (JSONValue) throws(CheckpointError) -> Number
  ) throws(CheckpointError) -> [(key: NamePattern, value: Number)] {
    guard value.exists else { return [] }
    var result: [(key: NamePattern, value: Number)] = []
    let keys = try value.keys()
    if keys.count > maximumPatterns { throw value.wrong("at most \(maximumPatterns) patterns") }
    for key in keys {
      result.append((try NamePattern(key, .end, at: value[key], work), try read(value[key])))
    }
    return result
  }

  /// Settings that change what is computed and that this package does not compute. Settings that
  /// only say how a run was started or is to be continued are not looked at.
  private static func refuseUnsupported(_ config: JSONValue) throws(CheckpointError) {
    let known: Set<String> = [
      "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config",
      "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights",
      "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_bias",
      "lora_dropout", "megatron_core", "modules_to_save", "peft_type", "peft_version",
      "qalora_group_size", "r",
      "rank_pattern", "revision", "runtime_config", "target_modules", "task_type",
      "trainable_token_indices", "use_rslora",
    ]
    for key in try config.keys() where !known.contains(key) {
      try requireUnset(config[key])
    }
    if config["init_lora_weights"].exists,
      case .string(let start) = try config["init_lora_weights"].content(),
      !["gaussian", "eva", "orthogonal"].contains(start)
    {
      throw config["init_lora_weights"].wrong(
        "an initialisation that leaves the base weights as they are",
        hint: "Save the adapter converted to plain LoRA (PEFT: path_initial_model_for_weight_"
          + "conversion) and try again.")
    }
  }
}

/// Tokens whose rows of the embedding train (`trainable_token_indices`): a list, or an object with the
/// lists of modules.
struct TrainedTokenList: Sendable {
  let indices: [Int]
  /// Where they stand in the configuration.
  let place: JSONValue

  init?(_ place: JSONValue) throws(CheckpointError) {
    self.place = place
    switch try place.content() {
    case .object(let members):
      guard members.count <= 1 else { throw place.wrong("one module, the embedding") }
      guard let name = members.keys.first else { return nil }
      indices = try place[name].integers()
    default: indices = try place.integers()
    }
    if indices.isEmpty { return nil }
  }

  /// Of the modules that have them; none where the list is that of the embedding.
  func names() throws(CheckpointError) -> [String] {
    if case .object = try place.content() { return try place.keys() }
    return []
  }
}

/// A setting that changes what is computed and is not supported must be unset.
func requireUnset(_ value: JSONValue) throws(CheckpointError) {
  let content = try value.content()
  guard content.saysNothing || content == .integer(0) else {
    throw value.wrong(
      "nothing: this setting is not supported",
      hint: "Supported are LoRA (with rsLoRA, rank and alpha patterns, bias settings, "
        + "modules_to_save) and prompt tuning.")
  }
}

/// The whole name, and what follows each of its dots.
private func endsAfterDots(of name: String) -> [Substring] {
  [name[...]] + name.indices.filter { name[$0] == "." }.map { name[name.index(after: $0)...] }
}
