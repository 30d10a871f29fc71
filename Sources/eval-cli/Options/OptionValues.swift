import ApproxEval
import Checkpoints
import Figures
import Updates

/// From the text of an option to its value.
enum OptionValues {
  /// `sgd,ef,update:mine`, `matrix,ief`; what is repeated counts once.
  static func methods(_ list: String) throws(UsageError) -> [UpdateMethod] {
    var methods: [UpdateMethod] = []
    for name in items(list) {
      if let set = UpdateMethod.sets.first(where: { $0.name == name }) {
        methods += set.methods.filter { !methods.contains($0) }
        continue
      }
      guard let method = UpdateMethod(name: name) else {
        let known = UpdateMethod.named.map(\.name) + UpdateMethod.sets.map(\.name)
        throw UsageError(
          "unknown method \"\(name)\"", at: "--methods",
          didYouMean(nearMisses(name, among: known)) ?? "Known are \(methodNames("and")).")
      }
      if !methods.contains(method) { methods.append(method) }
    }
    return methods
  }

  /// Those that only sets in such a list name.
  static func methodsOfSetsAlone(_ list: String) throws(UsageError) -> [UpdateMethod] {
    let names = items(list)
    return try methods(list).filter { !names.contains($0.name) }
  }

  /// `1,10`; what is repeated counts once.
  static func draws(_ list: String) throws(UsageError) -> [Int] {
    var draws: [Int] = []
    for text in items(list) {
      guard let count = Int(text) else {
        throw UsageError("\"\(text)\" is not a whole number", at: "--mc-samples")
      }
      if !draws.contains(try Self.draws(count)) { draws.append(count) }
    }
    return draws
  }

  /// `1e-3,rel:1e-7`; what is repeated counts once.
  static func dampings(_ list: String) throws(UsageError) -> [Damping] {
    var dampings: [Damping] = []
    for text in items(list) {
      guard let damping = Damping(text) else {
        throw UsageError(
          "damping \"\(text)\" is not a number that is at least 0", at: "--damping",
          "Give lambda itself (1e-3), or rel: and a fraction of the largest squared per-sample "
            + "gradient norm (rel:1e-7).")
      }
      if !dampings.contains(damping) { dampings.append(damping) }
    }
    return dampings
  }

  /// `8GB`, `8G`, `512MiB`, `1.5GB` or bytes.
  static func memory(_ text: String) throws(UsageError) -> Int {
    let units: [(name: String, bytes: Double)] = [
      ("kib", 0x1p10), ("mib", 0x1p20), ("gib", 0x1p30), ("tib", 0x1p40),
      ("kb", 1e3), ("mb", 1e6), ("gb", 1e9), ("tb", 1e12), ("b", 1),
      ("k", 1e3), ("m", 1e6), ("g", 1e9), ("t", 1e12), ("", 1),
    ]
    let lower = text.lowercased()
    let unit = units.first { lower.hasSuffix($0.name) }!
    let number = lower.dropLast(unit.name.count).filter { $0 != " " }
    let isPlain = !number.isEmpty && number.allSatisfy { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard isPlain, let value = Double(number), value * unit.bytes >= 1,
      value * unit.bytes < 0x1p62
    else {
      throw UsageError(
        "\"\(text)\" is not an amount of memory", at: "--memory",
        "Write 8GB, 512MB, 8GiB or a number of bytes.")
    }
    return Int(value * unit.bytes)
  }

  static func positive(_ value: Int, _ option: String) throws(UsageError) -> Int {
    if value < 1 { throw UsageError("\(value) is less than 1", at: option) }
    return value
  }

  static func threads(_ value: Int) throws(UsageError) -> Int {
    if value > 1024 { throw UsageError("\(value) is more than 1024", at: "--threads") }
    return try positive(value, "--threads")
  }

  /// Monte-Carlo labels per sample.
  static func draws(_ value: Int) throws(UsageError) -> Int {
    if value > 10_000 { throw UsageError("\(value) is more than 10000", at: "--mc-samples") }
    return try positive(value, "--mc-samples")
  }

  static func cosine(_ value: Double) throws(UsageError) -> Double {
    guard (0...1).contains(value) else {
      throw UsageError("\(value) is not a cosine between 0 and 1", at: "--drop-duplicates")
    }
    return value
  }

  static func notNegative(_ value: Int, _ option: String) throws(UsageError) -> Int {
    if value < 0 { throw UsageError("\(value) is less than 0", at: option) }
    return value
  }

  static func notNegative(_ value: Double, _ option: String) throws(UsageError) -> Double {
    if !(value >= 0 && value.isFinite) {
      throw UsageError("\(value) is not a number that is at least 0", at: option)
    }
    return value
  }

  /// `sgd, ef, ..., ng@<iterations> or update:<name>`, and the sets.
  static func methodNames(_ conjunction: String) -> String {
    let methods = UpdateMethod.named.map(\.name) + UpdateMethod.families.map(\.pattern)
    return listed(methods + UpdateMethod.sets.map(\.name), conjunction)
  }

  /// `paper, matrix or all`
  static func methodSets(_ conjunction: String) -> String {
    listed(UpdateMethod.sets.map(\.name), conjunction)
  }

  /// Those that draw labels.
  static var sampledMethodNames: String {
    listed(UpdateMethod.named.filter(\.needs.isSampled).map(\.name), "and")
  }

  /// A line on each method, with what it costs beside the gradient, and on each set.
  static var methodSummaries: String {
    let named = UpdateMethod.named.map { ($0.name, $0.summary + " [\($0.needs.cost)]") }
    let families = UpdateMethod.families.map { ($0.pattern, $0.summary) }
    let sets = UpdateMethod.sets.map { set in
      let names = set.methods.map(\.name).joined(separator: ", ")
      return (
        "set \(set.name)",
        set.summary + (set.methods.count == UpdateMethod.named.count ? "" : ": \(names)")
      )
    }
    return (named + families + sets).map { name, summary in
      wrapped("\(name): " + summary.filter { $0 != "`" })
    }.joined(separator: "\n")
  }

  /// What a list of methods may go on with: `sgd,ie` with `sgd,ief`, and more.
  static func completedMethods(_ list: String) -> [String] {
    completed(list, with: UpdateMethod.named.map(\.name) + UpdateMethod.sets.map(\.name))
  }

  static func completed(_ list: String, with names: [String]) -> [String] {
    let known = list.lastIndex(of: ",").map { list[...$0] } ?? ""
    return names.map { known + $0 }
  }

  /// What a name that there is not may have been meant to be, or what there is.
  static func advice(on name: String, known: [String]) -> String {
    didYouMean(nearMisses(name, among: known)) ?? "Known are \(known.joined(separator: ", "))."
  }

  /// `svg,png`; what is repeated counts once.
  static func formats(_ lists: [String]) throws(UsageError) -> [FigureFormat] {
    var formats: [FigureFormat] = []
    for name in lists.flatMap(items) {
      guard let format = FigureFormat(rawValue: name) else {
        let known = FigureFormat.allCases.map(\.rawValue)
        throw UsageError(
          "unknown format \"\(name)\"", at: "--format",
          "Known are \(known.joined(separator: ", ")).")
      }
      if !formats.contains(format) { formats.append(format) }
    }
    return formats
  }

  /// A list that was given in several parts.
  static func joined(_ lists: [String]) -> String { lists.joined(separator: ",") }

  static func items(_ list: String) -> [String] {
    list.split(separator: ",", omittingEmptySubsequences: false).map {
      String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
  }
}
