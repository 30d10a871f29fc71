import ApproxEval
import Training

/// A setting as an option, with its value.
struct SettingOption {
  let name: String
  /// As on a command line.
  let text: String

  init(_ name: String, _ value: String) {
    self.name = name
    text = name + " " + value
  }

  init(_ name: String, _ value: Double) { self.init(name, shortened(value, digits: 12)) }

  /// A flag, spelled as it is set.
  init(flag name: String, _ isOn: Bool) {
    self.name = name
    text = isOn ? name : "--no-" + name.dropFirst(2)
  }
}

extension OptimizerSettings {
  /// All that decides the optimiser's steps.
  var options: [SettingOption] {
    var options = [
      SettingOption("--optimizer", kind.rawValue), SettingOption("--learning-rate", learningRate),
      SettingOption("--schedule", schedule.rawValue),
    ]
    func add(_ setting: OptimizerKind.Setting, _ option: @autoclosure () -> SettingOption) {
      if kind.settings.contains(setting) { options.append(option()) }
    }
    add(.normalization, SettingOption(flag: "--normalize", isNormalized))
    add(.reduction, SettingOption("--reduction", reduction.rawValue))
    add(.damping, SettingOption("--damping", damping.text))
    add(.draws, SettingOption("--mc-samples", "\(monteCarloSamples)"))
    if let dropDuplicates { options.append(SettingOption("--drop-duplicates", dropDuplicates)) }
    add(.weightDecay, SettingOption("--weight-decay", weightDecay))
    add(.momentum, SettingOption("--momentum", momentum))
    if isNesterov { options.append(SettingOption(flag: "--nesterov", true)) }
    add(
      .moments,
      SettingOption(
        "--betas", "\(shortened(betas.0, digits: 12)),\(shortened(betas.1, digits: 12))"))
    add(.epsilon, SettingOption("--epsilon", epsilon))
    add(.factoredMoment, SettingOption("--decay-rate", decayRate))
    add(.factoredMoment, SettingOption("--clip-threshold", clipThreshold))
    return options
  }
}
