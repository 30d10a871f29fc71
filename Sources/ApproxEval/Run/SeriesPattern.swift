import Foundation

/// A path with places for what tells a checkpoint from the others of its series: `{epoch}`, `{step}`,
/// `{name}` (its name without an extension) and `{checkpoint}` (its path).
struct SeriesPattern {
  enum Place: String, CaseIterable {
    case epoch
    case step
    case name
    case checkpoint

    var text: String { "{\(rawValue)}" }
  }

  let text: String

  init(_ text: String) { self.text = text }

  private func has(_ place: Place) -> Bool { text.contains(place.text) }

  var hasPlaces: Bool { Place.allCases.contains(where: has) }

  /// Whether the checkpoint must be opened to tell.
  var asksForPlace: Bool { has(.epoch) || has(.step) }

  /// What it means at a checkpoint: with numbers as its path spells them, then plainly.
  ///
  /// - Parameter untold: The error where the checkpoint does not tell what is asked for.
  func paths(
    checkpoint: String, epoch: Int?, step: Int?, untold: (Place) -> any Error
  ) throws -> [String] {
    if has(.epoch) && epoch == nil { throw untold(.epoch) }
    if has(.step) && step == nil { throw untold(.step) }
    let file = checkpoint.split(separator: "/").last.map(String.init) ?? checkpoint
    let name = URL(fileURLWithPath: file).deletingPathExtension().lastPathComponent
    func filled(_ epoch: String?, _ step: String?) -> String {
      text.replacing(Place.epoch.text, with: epoch ?? "")
        .replacing(Place.step.text, with: step ?? "")
        .replacing(Place.name.text, with: name)
        .replacing(Place.checkpoint.text, with: checkpoint)
    }
    let spelt = filled(
      epoch.map { TrainingPlace.spelling(ofEpoch: $0, in: checkpoint) ?? String($0) },
      step.map { TrainingPlace.spelling(ofStep: $0, in: checkpoint) ?? String($0) })
    let plain = filled(epoch.map(String.init), step.map(String.init))
    return spelt == plain ? [plain] : [spelt, plain]
  }

  /// What all its files have in their names: `adam` of `adam-{epoch}.safetensors`.
  var commonName: String {
    let parts = text.split(separator: "/").map { part in
      let name = URL(fileURLWithPath: String(part)).deletingPathExtension().lastPathComponent
      return Self.trimmed(
        Place.allCases.reduce(name) { $0.replacing($1.text, with: "") })
    }
    return parts.last { !$0.isEmpty } ?? "direction"
  }

  /// `adam` of `adam-01.safetensors` and `adam-02.safetensors`.
  static func commonName(of paths: [String]) -> String {
    let names = paths.map {
      URL(fileURLWithPath: $0).deletingPathExtension().lastPathComponent
    }
    if let first = names.first, names.allSatisfy({ $0 == first }) { return first }
    let common = names.dropFirst().reduce(names.first ?? "") { $0.commonPrefix(with: $1) }
    let name = trimmed(String(common.reversed().drop { $0.isNumber }.reversed()))
    return name.isEmpty ? "direction" : name
  }

  private static func trimmed(_ name: String) -> String {
    name.trimmingCharacters(in: CharacterSet(charactersIn: "-_. ="))
  }
}
