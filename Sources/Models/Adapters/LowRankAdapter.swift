import Checkpoints
import Foundation

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
  let modulesToSave: [String]
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
    case names([String])
    /// A regular expression that matches the whole name.
    case pattern(NamePattern)
    /// `all-linear`: every linear layer but the output head of a language model.
    case allLinear

    func matches(_ module: String) -> Bool {
      switch self {
      case .names(let names): names.contains { module == $0 || module.hasSuffix("." + $0) }
      case .pattern(let pattern): pattern.matches(module)
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
    modulesToSave =
      config["modules_to_save"].exists ? try config["modules_to_save"].strings() : []
    guard let targets = try LowRankAdapter.targets(config["target_modules"]) else {
      throw config["target_modules"].wrong("a list of module names or a regular expression")
    }
    self.targets = targets
    excluded = try LowRankAdapter.targets(config["exclude_modules"])
    rankPattern = try LowRankAdapter.patterns(config["rank_pattern"]) {
      value throws(CheckpointError) in try value.size()
    }
    alphaPattern = try LowRankAdapter.patterns(config["alpha_pattern"]) {
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
    layerPatterns = try LowRankAdapter.layerPatterns(config["layers_pattern"])
  }

  /// Rank and scale for a module, `nil` if the adapter leaves it alone.
  ///
  /// - Parameter names: The module's name as each version of Transformers has it.
  func change(to names: [String], isHead: Bool) -> (rank: Int, scale: Double)? {
    guard let name = names.first(where: { isTarget($0, isHead: isHead) }) else { return nil }
    let rank = rankPattern.first { $0.key.matchesEnd(of: name) }?.value ?? self.rank
    let alpha = alphaPattern.first { $0.key.matchesEnd(of: name) }?.value ?? self.alpha
    let size = Double(rank)
    return (rank, alpha / (usesRootScaling ? size.squareRoot() : size))
  }

  private func isTarget(_ module: String, isHead: Bool) -> Bool {
    if let excluded, excluded.matches(module) { return false }
    // A saved module and what is inside it are not changed.
    if modulesToSave.contains(where: { ".\(module).".contains(".\($0).") }) { return false }
    if case .allLinear = targets, isHead { return false }
    guard targets.matches(module) else { return false }
    guard let layers else { return true }
    let number: Int?
    if layerPatterns.isEmpty {
      number = module.split(separator: ".").lazy.compactMap { Int($0) }.first
    } else {
      number = layerPatterns.lazy.compactMap { $0.number(behind: module) }.first
    }
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

  private static func targets(_ value: JSONValue) throws(CheckpointError) -> Targets? {
    guard value.exists else { return nil }
    guard case .string(let text) = try value.content() else {
      let names = try value.strings()
      return names.isEmpty ? nil : .names(names)
    }
    if text.lowercased() == "all-linear" { return .allLinear }
    return .pattern(try NamePattern(text, at: value))
  }

  private static func layerPatterns(
    _ value: JSONValue
  ) throws(CheckpointError) -> [NamePattern] {
    guard value.exists else { return [] }
    var texts: [String] = []
    if case .string(let text) = try value.content() {
      texts = text.isEmpty ? [] : [text]
    } else {
      texts = try value.strings()
    }
    var result: [NamePattern] = []
    for text in texts { result.append(try NamePattern(text, at: value)) }
    return result
  }

  private static func patterns<Number>(
    _ value: JSONValue, _ read: (JSONValue) throws(CheckpointError) -> Number
  ) throws(CheckpointError) -> [(key: NamePattern, value: Number)] {
    guard value.exists else { return [] }
    var result: [(key: NamePattern, value: Number)] = []
    for key in try value.keys() {
      result.append((try NamePattern(key, at: value[key]), try read(value[key])))
    }
    return result
  }

  /// Settings that change what is computed and that this package does not compute. Settings that
  /// only say how a run was started or is to be continued are not looked at.
  private static func refuseUnsupported(_ config: JSONValue) throws(CheckpointError) {
    let known: Set<String> = [
      "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config",
      "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights",
      "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout",
      "megatron_core", "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r",
      "rank_pattern", "revision", "runtime_config", "target_modules", "task_type", "use_rslora",
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

/// A setting that changes what is computed and is not supported must be unset.
func requireUnset(_ value: JSONValue) throws(CheckpointError) {
  let content = try value.content()
  switch content {
  case .null, .bool(false), .integer(0), .string(""): return
  case .array(let elements) where elements.isEmpty: return
  case .object(let members) where members.isEmpty: return
  default:
    throw value.wrong(
      "nothing: this setting is not supported",
      hint: "Supported are LoRA (with rsLoRA, rank and alpha patterns, bias settings, "
        + "modules_to_save) and prompt tuning.")
  }
}

/// A regular expression over module names, as PEFT applies it with Python's `re`.
struct NamePattern: Sendable {
  private let whole: NSRegularExpression
  private let end: NSRegularExpression
  private let list: NSRegularExpression

  init(_ text: String, at place: JSONValue) throws(CheckpointError) {
    do {
      // On its own first: what surrounds it must not make it valid.
      _ = try NSRegularExpression(pattern: text)
      whole = try NSRegularExpression(pattern: "^(?:\(text))$")
      end = try NSRegularExpression(pattern: "^(.*\\.)?(\(text))$")
      list = try NSRegularExpression(pattern: "^(?:.*?\\.)?(?:\(text))\\.(?<number>[0-9]+)\\.")
    } catch {
      throw place.wrong("a regular expression")
    }
  }

  /// `re.fullmatch`
  func matches(_ name: String) -> Bool { match(whole, name) != nil }

  /// The whole name, or its end after a dot. A `^` in the pattern is the start of the name.
  func matchesEnd(of name: String) -> Bool { match(end, name) != nil }

  /// The first number that follows the pattern in a name, as in `layer.3.`.
  func number(behind name: String) -> Int? {
    guard let found = match(list, name),
      let range = Range(found.range(withName: "number"), in: name)
    else { return nil }
    return Int(name[range])
  }

  private func match(_ expression: NSRegularExpression, _ name: String) -> NSTextCheckingResult? {
    expression.firstMatch(in: name, range: NSRange(name.startIndex..., in: name))
  }
}
