import Checkpoints
import Updates

/// The order of a result's rows: methods, draws and dampings as the lists of a run name them; what no
/// list names, as directions of checkpoints, comes behind, and the reference last.
///
/// Directions are found and scored in an order of their own (`EvaluationOptions.inOrderOfWork`): which
/// of them share a pass decides their last bits, and lists that name the same must give the same bits.
struct RowOrder: Sendable {
  private let methods: [String: Int]
  private let dampings: [String: Int]
  private let draws: [String: Int]

  init(_ settings: RecordedSettings) {
    func places(_ setting: Setting) -> [String: Int] {
      Dictionary(settings.list(setting.key).enumerated().map { ($1, $0) }) { first, _ in first }
    }
    (methods, dampings, draws) = (places(.methods), places(.damping), places(.mcSamples))
  }

  func ordered(_ result: BatchResult) -> BatchResult {
    var result = result
    (result.scores, result.layers) = (ordered(result.scores), ordered(result.layers))
    return result
  }

  /// Rows of the same direction stay as they are.
  private func ordered<Row: ResultRow>(_ rows: [Row]) -> [Row] {
    rows.enumerated().map { (place: place($1) + [$0], row: $1) }
      .sorted { $0.place.lexicographicallyPrecedes($1.place) }.map(\.row)
  }

  private func place<Row: ResultRow>(_ row: Row) -> [Int] {
    if row.role == .reference { return [.max] }
    return [
      methods[row.method] ?? methods.count,
      row.monteCarloSamples.flatMap { draws[String($0)] } ?? draws.count,
      row.damping.flatMap { dampings[$0] } ?? dampings.count,
    ]
  }
}

extension EvaluationOptions {
  /// The same with lists in the order in which directions are found, whatever the one given.
  var inOrderOfWork: EvaluationOptions {
    var options = self
    let places = Dictionary(
      uniqueKeysWithValues: UpdateMethod.named.enumerated().map { ($1.name, $0) })
    func place(_ method: UpdateMethod) -> (Int, Int, String) {
      (places[method.name] ?? places.count, method.needs.iterations ?? .max, method.name)
    }
    options.methods.sort { place($0) < place($1) }
    options.dampings.sort {
      ($0.isRelative ? 1 : 0, $0.value, $0.text) < ($1.isRelative ? 1 : 0, $1.value, $1.text)
    }
    options.monteCarloSamples.sort()
    return options
  }
}
