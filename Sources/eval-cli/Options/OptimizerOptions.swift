import ArgumentParser
import Training
import Updates

extension OptimizerKind: ExpressibleByArgument {}
extension LearningRateSchedule: ExpressibleByArgument {}

/// The optimiser and what belongs to it. An option that an optimiser does not have is wrong usage,
/// not ignored.
struct OptimizerOptions: ParsableArguments {
  @Option(
    help: .init(
      """
      sgd, adam, adamw, adafactor (as in torch.optim), or exact ef, ief, sf (Algorithms 2, 1, 3 of \
      the paper).
      """, valueName: "name"))
  var optimizer = OptimizerKind.adam

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      Learning rate. Baselines see the mean gradient, ef, ief and sf the summed one. (default: \
      1e-3; 1e-2 for adafactor, 1 for ef, ief and sf)
      """, valueName: "x"))
  var learningRate: Double?

  @Option(
    help: .init(
      """
      How the learning rate goes: constant, or linear to zero. (default: linear for ef and sf, \
      constant for the others)
      """, valueName: "name"))
  var schedule: LearningRateSchedule?

  @Flag(
    inversion: .prefixedNo,
    help: .init(
      "Divide each direction by its norm: sgd, ef, ief, sf. (default: for ef and sf)"))
  var normalize: Bool?

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      Damping of ef, ief, sf: lambda itself, or rel:x for x times the largest squared per-sample \
      gradient norm. (default: rel:1e-7)
      """, valueName: "lambda"))
  var damping: String?

  @Option(
    parsing: .unconditional,
    help: .init("Labels that sf draws per sample. (default: 1)", valueName: "k"))
  var mcSamples: Int?

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      ef, ief, sf: leave out, of two samples whose gradients have a larger cosine than this, the \
      one with the smaller gradient. (default: off)
      """, valueName: "x"))
  var dropDuplicates: Double?

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      Weight decay, decoupled for adamw and adafactor. (default: 0; 1e-2 for adamw)
      """, valueName: "x"))
  var weightDecay: Double?

  @Option(
    parsing: .unconditional, help: .init("Momentum of sgd. (default: 0)", valueName: "x"))
  var momentum: Double?

  @Flag(help: "Nesterov's momentum for sgd.")
  var nesterov = false

  @Option(
    parsing: .unconditional,
    help: .init("Decay of the moments of adam and adamw. (default: 0.9,0.999)", valueName: "a,b"))
  var betas: String?

  @Option(
    parsing: .unconditional,
    help: .init("Epsilon of adam and adamw. (default: 1e-8)", valueName: "x"))
  var epsilon: Double?

  func settings() throws(UsageError) -> OptimizerSettings {
    try refuseForeignOptions()
    var settings = OptimizerSettings(optimizer)
    if let learningRate {
      settings.learningRate = try OptionValues.notNegative(learningRate, "--learning-rate")
    }
    settings.schedule = schedule ?? settings.schedule
    settings.isNormalized = normalize ?? settings.isNormalized
    if let weightDecay {
      settings.weightDecay = try OptionValues.notNegative(weightDecay, "--weight-decay")
    }
    if let momentum { settings.momentum = try share(momentum, "--momentum") }
    settings.isNesterov = nesterov
    if nesterov && settings.momentum == 0 {
      throw UsageError(
        "Nesterov's momentum without a momentum", at: "--nesterov", "Add --momentum.")
    }
    if let betas { settings.betas = try pair(betas) }
    if let epsilon { settings.epsilon = try OptionValues.notNegative(epsilon, "--epsilon") }
    try applyNatural(to: &settings)
    return settings
  }

  private func applyNatural(to settings: inout OptimizerSettings) throws(UsageError) {
    if let damping {
      let all = try OptionValues.dampings(damping)
      if all.count != 1 {
        throw UsageError("\(all.count) dampings for one run", at: "--damping")
      }
      settings.damping = all[0]
    }
    settings.monteCarloSamples = try OptionValues.draws(mcSamples ?? 1)
    if let dropDuplicates { settings.dropDuplicates = try OptionValues.cosine(dropDuplicates) }
    if optimizer.settings.contains(.draws) && !settings.isNormalized && settings.damping.value == 0
    {
      throw UsageError(
        "without damping a step of \(optimizer.rawValue) has no length", at: "--damping",
        "Give a damping, or --normalize.")
    }
  }

  private func refuseForeignOptions() throws(UsageError) {
    let options: [(name: String, isGiven: Bool, setting: OptimizerKind.Setting)] = [
      ("--normalize", normalize != nil, .normalization),
      ("--damping", damping != nil, .damping),
      ("--mc-samples", mcSamples != nil, .draws),
      ("--drop-duplicates", dropDuplicates != nil, .dropDuplicates),
      ("--weight-decay", weightDecay != nil, .weightDecay),
      ("--momentum", momentum != nil, .momentum),
      ("--nesterov", nesterov, .momentum),
      ("--betas", betas != nil, .moments),
      ("--epsilon", epsilon != nil, .moments),
    ]
    for option in options
    where option.isGiven && !optimizer.settings.contains(option.setting) {
      let owners = OptimizerKind.allCases.filter { $0.settings.contains(option.setting) }
      throw UsageError(
        "\(optimizer.rawValue) has no such setting", at: option.name,
        "It belongs to \(owners.map(\.rawValue).joined(separator: ", ")).")
    }
  }

  private func pair(_ text: String) throws(UsageError) -> (Double, Double) {
    let values = text.split(separator: ",", omittingEmptySubsequences: false).map {
      Double($0.filter { $0 != " " })
    }
    guard values.count == 2, let first = values[0], let second = values[1] else {
      throw UsageError("\"\(text)\" is no pair of numbers", at: "--betas", "Write 0.9,0.999.")
    }
    return (try share(first, "--betas"), try share(second, "--betas"))
  }

  private func share(_ value: Double, _ option: String) throws(UsageError) -> Double {
    if !(0..<1).contains(value) {
      throw UsageError("\(value) is not at least 0 and below 1", at: option)
    }
    return value
  }
}
