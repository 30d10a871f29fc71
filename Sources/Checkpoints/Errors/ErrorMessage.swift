/// An error as people read it: what, where, how to fix.
public struct ErrorMessage: Sendable {
  /// What is wrong, in a sentence without its end.
  public var what: SettingText
  /// With the file as it may be opened: it is not shortened.
  public var place: SettingText?
  /// How to mend it, sentence by sentence.
  public var advice: [SettingText]

  package init(_ what: SettingText, at place: SettingText? = nil, _ advice: [SettingText] = []) {
    self.what = what
    self.place = place
    self.advice = advice
  }

  /// Each on a line of its own, whatever names it holds.
  public func text(_ names: SettingNames = .plain) -> String {
    errorText(
      what.spelled(by: names), at: place?.spelled(by: names), advice.map { $0.spelled(by: names) })
  }
}

/// An error that can say what, where and how to fix; its description calls settings by their plain
/// names.
public protocol ExplainedError: Error, CustomStringConvertible {
  /// What, where and how to mend it.
  var message: ErrorMessage { get }
}

extension ExplainedError {
  public var description: String { message.text() }
}
