import Foundation

/// A shell pattern over names: `*` any characters (dots included), `?` one, `[...]` one of a set,
/// `\` takes the next character literally. The whole name must match.
public struct Glob: Hashable, Sendable {
  /// With `*` for any characters and `?` for one.
  public let pattern: String

  /// Every text is a pattern.
  public init(_ pattern: String) { self.pattern = pattern }

  /// Whether the whole of `name` fits the pattern.
  public func matches(_ name: String) -> Bool { fnmatch(pattern, name, 0) == 0 }

  /// Whether any of the patterns fits.
  public static func anyMatches(_ patterns: [String], _ name: String) -> Bool {
    patterns.contains { Glob($0).matches(name) }
  }

  /// Whether it stands for itself alone.
  package var isName: Bool { !pattern.utf8.contains { "*?[\\".utf8.contains($0) } }
}

/// Patterns of which any may fit. Plain names, of which a packed checkpoint may list thousands, are
/// looked up and not compared one by one.
package struct GlobList: Sendable {
  private let names: Set<String>
  private let patterns: [Glob]

  package init(_ globs: [Glob]) {
    names = Set(globs.filter(\.isName).map(\.pattern))
    patterns = globs.filter { !$0.isName }
  }

  package func matches(_ name: String) -> Bool {
    names.contains(name) || patterns.contains { $0.matches(name) }
  }
}
