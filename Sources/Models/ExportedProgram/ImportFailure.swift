/// Why a node of a program cannot be part of a graph over single samples.
struct ImportFailure: Error {
  let reason: String

  init(_ reason: String) { self.reason = reason }

  /// What would make one sample's numbers depend on another's.
  static func mixing(_ what: String) -> ImportFailure {
    ImportFailure("it mixes samples: \(what)")
  }
}
