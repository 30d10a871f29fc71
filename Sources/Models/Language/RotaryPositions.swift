import Checkpoints
import Foundation
import TensorModule

/// Angles by which heads are turned at each position (RoPE, Su et al. 2021), with the scalings of
/// Transformers' `modeling_rope_utils`. All in double precision, where Transformers has single.
struct RotaryPositions: Sendable, Equatable {
  /// `[positions, width]`, half of the columns a repetition of the others; columns that are not turned
  /// have 1 and 0.
  let cosines: [Double]
  let sines: [Double]
  let positions: Int
  /// Columns that are turned, the first ones of each head.
  let turned: Int
  let width: Int

  /// - Parameters:
  ///   - frequencies: Of pairs of columns; a pair is column j and j + half.
  ///   - factor: Of all cosines and sines.
  init(frequencies: [Double], factor: Double, positions: Int, width: Int) {
    self.positions = positions
    self.width = width
    let half = frequencies.count
    turned = 2 * half
    var (cosines, sines) = (
      [Double](repeating: 1, count: positions * width),
      [Double](repeating: 0, count: positions * width)
    )
    for t in 0..<positions {
      for (j, frequency) in frequencies.enumerated() {
        let angle = Double(t) * frequency
        let (cosine, sine) = (factor * cos(angle), factor * sin(angle))
        let first = t * width + j
        (cosines[first], cosines[first + half]) = (cosine, cosine)
        (sines[first], sines[first + half]) = (sine, sine)
      }
    }
    (self.cosines, self.sines) = (cosines, sines)
  }
}

/// What a configuration says of rotary positions: `rope_parameters` in Transformers 5, where they may be
/// those of each type of layer; `rope_theta` and `rope_scaling` before.
struct RotarySettings {
  private let config: JSONValue
  private let parameters: JSONValue
  private let base: Double
  private let width: Int
  private let maximum: Int

  /// Settings of a configuration that are read here.
  static let names: Set<String> = [
    "rope_parameters", "rope_scaling", "rope_theta", "max_position_embeddings",
    "original_max_position_embeddings",
  ]
  private static let parameterNames = [
    "rope_theta", "rope_type", "type", "factor", "original_max_position_embeddings",
    "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate",
    "short_factor", "long_factor", "low_freq_factor", "high_freq_factor", "partial_rotary_factor",
  ]

  /// - Parameters:
  ///   - layerType: Whose parameters count, where layers differ.
  ///   - theta: The setting that Transformers 4 has for the base.
  ///   - isScaled: Whether `rope_scaling` of Transformers 4 is about these layers.
  ///   - width: Columns of a head.
  /// - Throws: An error where the configuration says nothing of rotary positions.
  init(
    _ config: JSONValue, layerType: String = LayerTypes.full, theta: String = "rope_theta",
    isScaled: Bool = true, width: Int
  ) throws(CheckpointError) {
    self.config = config
    self.width = width
    maximum = try config["max_position_embeddings"].size()
    var parameters = config["rope_parameters"]
    if parameters.exists {
      if config["rope_scaling"].exists {
        throw config["rope_scaling"].wrong("nothing beside rope_parameters")
      }
      let keys = try parameters.keys()
      // Transformers 5 gives each type of layer parameters of its own.
      if keys.contains(where: LayerTypes.all.contains) { parameters = parameters[layerType] }
    } else if isScaled {
      parameters = config["rope_scaling"]
    }
    self.parameters = parameters
    if parameters.exists { try parameters.requireKeys(in: Self.parameterNames) }
    let own = parameters["rope_theta"]
    guard own.exists || config[theta].exists else {
      throw config[theta].wrong(
        "a number above zero",
        hint:
          "Versions of Transformers fill in what differs: write the one that the model was trained with."
      )
    }
    base = try own.exists ? own.positive() : config[theta].positive()
  }

  /// The setting that says how many tokens the model takes; `nil` where angles are made for any number.
  var limit: JSONValue? {
    get throws(CheckpointError) {
      try type == "dynamic" ? nil : config["max_position_embeddings"]
    }
  }

  /// Whether both, of one configuration, give the same angles.
  func agrees(with other: RotarySettings) -> Bool {
    func content(_ settings: RotarySettings) -> JSONContent? {
      settings.parameters.exists ? try? settings.parameters.content() : nil
    }
    return base == other.base && width == other.width && content(self) == content(other)
  }

  /// Where the kind of scaling is named.
  private var typePlace: JSONValue {
    parameters["rope_type"].exists ? parameters["rope_type"] : parameters["type"]
  }

  private var type: String {
    get throws(CheckpointError) {
      try parameters.exists ? typePlace.string(default: "default") : "default"
    }
  }

  /// - Parameters:
  ///   - given: Positions that samples have, where these are the first of them: some angles depend on that.
  ///   - share: Of the columns of a head that are turned; `nil` for what the parameters say.
  /// - Throws: An error for types that are not known.
  func positions(
    _ count: Int, of given: Int? = nil, share: Double? = nil
  ) throws(CheckpointError) -> RotaryPositions {
    let type = try type
    let own = parameters["partial_rotary_factor"]
    var turned = share ?? 1
    if share == nil, own.exists { turned = try own.positive() }
    let columns = Int(Double(width) * turned)
    guard columns > 0, columns <= width, columns % 2 == 0 else {
      throw config.wrong("an even number of columns of each head to turn, at most \(width)")
    }
    guard checkedProduct(count, width, atMost: 1 << 24) != nil else {
      throw config.wrong(
        "heads and samples of at most 2^24 angles; there are \(count) tokens and \(width) columns")
    }
    let (frequencies, factor) = try scaled(type, columns, given ?? count)
    return RotaryPositions(
      frequencies: frequencies, factor: factor, positions: count, width: width)
  }

  private func plain(_ columns: Int, base: Double) -> [Double] {
    (0..<columns / 2).map { pow(base, -Double(2 * $0) / Double(columns)) }
  }

  private func scaled(
    _ type: String, _ columns: Int, _ count: Int
  ) throws(CheckpointError) -> ([Double], Double) {
    let frequencies = plain(columns, base: base)
    switch type {
    case "default": return (frequencies, 1)
    case "linear":
      let factor = try parameters["factor"].positive()
      return (frequencies.map { $0 / factor }, 1)
    case "dynamic":
      let factor = try parameters["factor"].positive()
      let stretch = factor * Double(max(count, maximum)) / Double(maximum) - (factor - 1)
      guard columns > 2 else { return (frequencies, 1) }
      return (
        plain(columns, base: base * pow(stretch, Double(columns) / Double(columns - 2))), 1
      )
    case "llama3": return (try byWavelength(frequencies), 1)
    case "yarn": return try yarn(frequencies, columns)
    case "longrope": return try long(frequencies, count)
    default:
      throw typePlace.wrong(
        "default, linear, dynamic, yarn, longrope or llama3")
    }
  }

  /// Length of the samples that the model was first trained on.
  private func original() throws(CheckpointError) -> Double {
    let outer = config["original_max_position_embeddings"]
    if outer.exists { return Double(try outer.size()) }
    return Double(try parameters["original_max_position_embeddings"].size(default: maximum))
  }

  /// Llama 3.1: short waves stay, long ones are stretched, and a ramp is between.
  private func byWavelength(_ frequencies: [Double]) throws(CheckpointError) -> [Double] {
    let factor = try parameters["factor"].positive()
    let low = try parameters["low_freq_factor"].positive()
    let high = try parameters["high_freq_factor"].positive()
    let length = try original()
    return frequencies.map { frequency in
      let wave = 2 * Double.pi / frequency
      if wave < length / high { return frequency }
      if wave > length / low { return frequency / factor }
      let smooth = (length / wave - low) / (high - low)
      return (1 - smooth) * frequency / factor + smooth * frequency
    }
  }

  /// Peng et al. 2023.
  private func yarn(
    _ frequencies: [Double], _ columns: Int
  ) throws(CheckpointError) -> ([Double], Double) {
    let length = try original()
    // It is what the length has grown by, where that is said.
    let factor =
      try parameters["factor"].exists || length == Double(maximum)
      ? parameters["factor"].positive() : Double(maximum) / length
    func place(_ turns: Double) -> Double {
      Double(columns) * log(length / (turns * 2 * .pi)) / (2 * log(base))
    }
    // Transformers takes 0 for nothing said.
    func number(_ name: String, _ standard: Double) throws(CheckpointError) -> Double {
      let value = try parameters[name].double(default: standard)
      return value == 0 ? standard : value
    }
    var low = place(try number("beta_fast", 32))
    var high = place(try number("beta_slow", 1))
    if try parameters["truncate"].bool(default: true) {
      (low, high) = (low.rounded(.down), high.rounded(.up))
    }
    (low, high) = (max(low, 0), min(high, Double(columns - 1)))
    if low == high { high += 0.001 }
    let stretched = frequencies.enumerated().map { j, frequency in
      let ramp = min(max((Double(j) - low) / (high - low), 0), 1)
      return frequency / factor * ramp + frequency * (1 - ramp)
    }
    return (stretched, try yarnFactor(factor))
  }

  private func yarnFactor(_ factor: Double) throws(CheckpointError) -> Double {
    let given = parameters["attention_factor"]
    if given.exists { return try given.double() }
    func magnitude(_ scale: Double) -> Double {
      factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1
    }
    let (one, all) = (
      try parameters["mscale"].double(default: 0),
      try parameters["mscale_all_dim"].double(default: 0)
    )
    return one != 0 && all != 0 ? magnitude(one) / magnitude(all) : magnitude(1)
  }

  /// Ding et al. 2024: a factor for each frequency, one list of them for short samples and one for long.
  private func long(
    _ frequencies: [Double], _ count: Int
  ) throws(CheckpointError) -> ([Double], Double) {
    let length = try original()
    let list = parameters[Double(count) > length ? "long_factor" : "short_factor"]
    let factors = try list.doubles()
    guard factors.count == frequencies.count, factors.allSatisfy({ $0 > 0 }) else {
      throw list.wrong("\(frequencies.count) numbers above zero")
    }
    let given = parameters["attention_factor"]
    var factor = 1.0
    if given.exists {
      factor = try given.double()
    } else {
      let own = parameters["factor"]
      let stretch = try own.exists ? own.positive() : Double(maximum) / length
      if stretch > 1 { factor = (1 + log(stretch) / log(length)).squareRoot() }
    }
    return (zip(frequencies, factors).map { $0 / $1 }, factor)
  }
}
