import Foundation

/// A shell pattern over names: `*` any characters (dots included), `?` one, `[...]` one of a set,
/// `\` takes the next character literally. The whole name must match.
public struct Glob: Hashable, Sendable {
  public let pattern: String

  public init(_ pattern: String) { self.pattern = pattern }

  /// Whether the whole of `name` fits the pattern.
  public func matches(_ name: String) -> Bool { fnmatch(pattern, name, 0) == 0 }

  /// Whether any of the patterns fits.
  public static func anyMatches(_ patterns: [String], _ name: String) -> Bool {
    patterns.contains { Glob($0).matches(name) }
  }
}
