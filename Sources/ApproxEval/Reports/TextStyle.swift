/// How a text is shown.
public struct TextStyle: Sendable {
  /// What a number is beside the others of its row.
  public enum Mark: Sendable {
    /// The smallest of the row.
    case best
    /// Than plain gradient descent.
    case worse
    /// Neither.
    case none
  }

  /// Columns of the screen; `nil` where there is none, as in a pipe: then rows of tables are whole lines,
  /// for whoever searches them.
  public var width: Int?
  /// A cell as it is shown, such as in a colour: in as many columns.
  public var shown: @Sendable (String, Mark) -> String

  /// - Parameter width: Columns of the screen, if there is one.
  public init(
    width: Int? = nil, shown: @escaping @Sendable (String, Mark) -> String = { text, _ in text }
  ) {
    self.width = width
    self.shown = shown
  }

  /// Characters in a line of what can be broken anywhere.
  public var lineWidth: Int { width ?? 80 }

  /// The same for sentences, which nobody reads across a wide screen.
  public var sentenceWidth: Int { min(lineWidth, 80) }
}
