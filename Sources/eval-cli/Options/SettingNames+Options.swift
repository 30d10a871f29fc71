import Checkpoints

extension SettingNames {
  /// Settings as options of the command: `--batch-size`.
  static let options = SettingNames { "--" + $0.name.replacing(" ", with: "-") }
}
