/// Something that whoever runs this package may choose, by the name that it has here. What a user
/// writes for it is a matter of the program: the command has an option, another one a field.
public struct Setting: Hashable, Sendable {
  /// In words: "batch size".
  public let name: String

  /// - Parameter name: In words.
  public init(_ name: String) { self.name = name }

  /// The name as one word, for tables and files: "batch_size".
  public var key: String { name.replacing(" ", with: "_") }

  /// The setting of that key.
  public init(key: String) { self.init(key.replacing("_", with: " ")) }
}

extension Setting {
  static let adapter = Setting("adapter")
  static let data = Setting("data")
  static let memory = Setting("memory")
  static let model = Setting("model")
  static let resume = Setting("resume")
}

/// How a program spells settings.
public struct SettingNames: Sendable {
  private let spelling: @Sendable (Setting) -> String

  /// - Parameter spelling: What a user writes for a setting.
  public init(_ spelling: @escaping @Sendable (Setting) -> String) { self.spelling = spelling }

  /// What a user writes for this one.
  public func callAsFunction(_ setting: Setting) -> String { spelling(setting) }

  /// As they are called here.
  public static let plain = SettingNames(\.name)
}

/// A text that speaks of settings, which a program spells its own way:
/// `"Allow more with \(.memory)."`
public struct SettingText: Hashable, Sendable {
  /// Text at even places, between them the names of settings.
  private var parts: [String]

  /// A text that speaks of no setting.
  public init(_ text: String) { parts = [text] }

  /// The text with every setting as a program's users write it.
  public func spelled(by names: SettingNames) -> String {
    parts.enumerated().map { $0 % 2 == 0 ? $1 : names(Setting($1)) }.joined()
  }

  private mutating func append(_ other: SettingText) {
    parts[parts.count - 1] += other.parts[0]
    parts += other.parts.dropFirst()
  }

  /// One behind the other.
  public static func + (a: SettingText, b: SettingText) -> SettingText {
    var sum = a
    sum.append(b)
    return sum
  }
}

extension SettingText: CustomStringConvertible {
  public var description: String { spelled(by: .plain) }
}

extension SettingText: ExpressibleByStringInterpolation {
  public init(stringLiteral value: String) { self.init(value) }

  public init(stringInterpolation: StringInterpolation) { self = stringInterpolation.text }

  public struct StringInterpolation: StringInterpolationProtocol {
    fileprivate var text = SettingText("")

    public init(literalCapacity: Int, interpolationCount: Int) {}

    public mutating func appendLiteral(_ literal: String) { text.append(SettingText(literal)) }

    /// A setting, to be spelt later.
    public mutating func appendInterpolation(_ setting: Setting) {
      text.parts += [setting.name, ""]
    }

    /// A text with its settings.
    public mutating func appendInterpolation(_ other: SettingText) { text.append(other) }

    /// Whatever it is, in words.
    @_disfavoredOverload
    public mutating func appendInterpolation<Value>(_ value: Value) {
      text.append(SettingText(String(describing: value)))
    }
  }
}

/// As a list of its parts: a file keeps what a setting is, not what a program has called it.
extension SettingText: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    // As versions have written it that knew no settings there.
    if let text = try? container.decode(String.self) {
      parts = [text]
      return
    }
    parts = try container.decode([String].self)
    if parts.count % 2 == 0 {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "an even number of parts")
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(parts)
  }
}

extension Sequence<SettingText> {
  package func joined(separator: String = "") -> SettingText {
    enumerated().reduce("") {
      $1.offset == 0 ? $1.element : $0 + SettingText(separator) + $1.element
    }
  }
}
