import Models
import Updates

extension EvaluationOptions {
  /// The updates to score: all that there are, unless some are named.
  func updates(of checkpoint: LoadedCheckpoint) throws -> [any UpdateSource] {
    let asked = askedUpdates
    var stored: [any UpdateSource] = checkpoint.source.updates.filter {
      scoresStoredUpdates || asked.contains($0.name)
    }
    let parameters = Set(checkpoint.program.graph.parameters.map(\.name))
    for path in updateFiles {
      stored += try StoredUpdate.all(inFile: path, parameters: parameters)
    }
    if let path = optimizerState {
      stored.append(try OptimizerState(path: path, parameterOrder: parameterOrder))
    }
    for (index, update) in stored.enumerated() {
      if let other = stored[..<index].first(where: { $0.name == update.name }) {
        throw EvaluationError.duplicateUpdate(
          name: update.name, first: other.path, second: update.path)
      }
    }
    for name in asked where !stored.contains(where: { $0.name == name }) {
      let files =
        [checkpoint.path] + updateFiles + [optimizerState].compactMap { $0 }
      throw EvaluationError.unknownUpdate(
        name: name,
        known: (checkpoint.source.updates.map(\.name) + stored.map(\.name)).reduce(into: []) {
          if !$0.contains($1) { $0.append($1) }
        }, files: files)
    }
    return stored.filter { asked.isEmpty || asked.contains($0.name) }
  }

  /// Those that the methods name.
  var askedUpdates: [String] {
    methods.compactMap { method in
      if case .update(let name) = method { name } else { nil }
    }
  }
}
