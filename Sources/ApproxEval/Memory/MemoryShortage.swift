import Checkpoints

/// Why a computation is not begun: more memory is needed than is allowed.
public struct MemoryShortage: Error, Sendable, Equatable {
  /// What needs it: "a batch of 160 samples".
  public var subject: String
  /// The checkpoint.
  public var path: String
  /// Bytes at the worst moment.
  public var needed: Int
  /// Bytes that the options and the process allow.
  public var allowed: Int
  /// Whether it is less than the options allow, by the limits of the process.
  public var isLimitOfProcess: Bool
  /// What takes the most.
  public var largest: MemoryPlan.Buffer?
  /// What would fit, as one writes it: "\(.batchSize) 1200".
  public var remedies: [SettingText]
  /// Whether a choice of options makes the difference, and not the model or the batch of the file.
  public var isChoice: Bool

  /// With all of its parts.
  public init(
    subject: String, path: String, needed: Int, allowed: Int, isLimitOfProcess: Bool,
    largest: MemoryPlan.Buffer?, remedies: [SettingText], isChoice: Bool
  ) {
    self.subject = subject
    self.path = path
    self.needed = needed
    self.allowed = allowed
    self.isLimitOfProcess = isLimitOfProcess
    self.largest = largest
    self.remedies = remedies
    self.isChoice = isChoice
  }
}

extension MemoryShortage: ExplainedError {
  public var message: ErrorMessage {
    let most = largest.map {
      ", of which the largest buffer, \($0.name), takes \(bytes($0.bytes, digits: 3))"
    }
    let limit: SettingText =
      isLimitOfProcess
      ? " by the system or the limits of the process (ulimit -v, -d)" : " (\(.memory))"
    return ErrorMessage(
      "\(subject) needs \(bytes(needed, digits: 3))\(most ?? ""), and "
        + "\(bytes(allowed, digits: 3)) are allowed\(limit)", at: SettingText(path),
      [
        remedies.isEmpty
          ? "Use fewer samples or a smaller model."
          : "Any of these fits: \(remedies.joined(separator: "; "))."
      ])
  }
}
