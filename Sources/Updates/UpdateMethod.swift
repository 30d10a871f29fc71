import Curvature
import TensorModule

/// A way from the gradients of a batch to a direction, with all that is to be known of it. Two of one
/// name are the same.
///
/// A new method is a file with its rule and its value, and a line in `UpdateMethod+List.swift`.
public struct UpdateMethod: Sendable, Hashable {
  /// In options and reports; there is no second spelling.
  public let name: String
  /// What methods have in common whose names differ in what follows an `@` or a colon only.
  public let family: String
  /// What the direction is, in a line of Markdown: for help texts and documentation.
  public let summary: String
  /// What it takes beside the gradient.
  public let needs: MethodNeeds
  private let rule: any DirectionRule

  /// - Parameter family: The name itself, unless there are others of its kind.
  init(
    _ name: String, family: String? = nil, _ summary: String, _ needs: MethodNeeds,
    _ rule: any DirectionRule
  ) {
    self.name = name
    self.family = family ?? name
    self.summary = summary
    self.needs = needs
    self.rule = rule
  }

  /// - Returns: `nil` for a name that is neither in `named` nor of one of the `families`.
  public init?(name: String) {
    let named = UpdateMethod.named.first { $0.name == name }
    guard let found = named ?? UpdateMethod.families.lazy.compactMap({ $0.member(name) }).first
    else { return nil }
    self = found
  }

  public static func == (a: UpdateMethod, b: UpdateMethod) -> Bool { a.name == b.name }

  public func hash(into hasher: inout Hasher) { hasher.combine(name) }

  /// One direction for each damping, or the only one of a method without.
  package func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    try rule.directions(context, dampings: dampings)
  }

  /// Memory of its own, beside what `needs` tells.
  package func workspace<S: EngineScalar>(_ sizes: MethodSizes<S>) -> MethodWorkspace? {
    rule.workspace(sizes)
  }
}

extension UpdateMethod: CustomStringConvertible {
  public var description: String { name }
}

/// Methods whose names have a part of one's own.
public struct MethodFamily: Sendable {
  /// How names are built: `ng@<iterations>`.
  public let pattern: String
  /// As of a method.
  public let summary: String
  /// The method of this name, if it is one of them.
  let member: @Sendable (_ name: String) -> UpdateMethod?

  /// - Parameters:
  ///   - prefix: What all names begin with; the rest is the part of one's own.
  ///   - part: What that part stands for.
  init(
    prefix: String, part: String, _ summary: String,
    _ make: @escaping @Sendable (_ part: String) -> UpdateMethod?
  ) {
    pattern = "\(prefix)<\(part)>"
    self.summary = summary
    member = { name in
      name.hasPrefix(prefix) && name.count > prefix.count
        ? make(String(name.dropFirst(prefix.count))) : nil
    }
  }
}
