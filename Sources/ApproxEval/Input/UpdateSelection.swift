import Checkpoints
import Models
import Updates

extension EvaluationOptions {
  /// The updates to score: all that there are, unless some are named.
  func updates(of checkpoint: LoadedCheckpoint) throws -> [any UpdateSource] {
    let asked = askedUpdates
    var stored: [any UpdateSource] = checkpoint.source.updates.filter {
      scoresStoredUpdates || asked.contains($0.name)
    }
    let parameters = ParameterNames(checkpoint.program.graph.parameters.map(\.name))
    let files = checkpoint.files
    for path in updateFiles {
      stored += try StoredUpdate.all(
        inFile: path, named: directionNames[path], parameters: parameters, files: files)
    }
    if let path = optimizerState {
      stored.append(
        try OptimizerState(path: path, parameterOrder: parameterOrder, files: files))
    }
    var paths: [String: String] = [:]
    for update in stored {
      if let other = paths.updateValue(update.path, forKey: update.name) {
        throw EvaluationError.duplicateUpdate(
          name: update.name, first: other, second: update.path)
      }
    }
    for name in asked where paths[name] == nil {
      // Those of the checkpoint that nobody has asked for are known as well.
      let others = checkpoint.source.updates.map(\.name).filter { paths[$0] == nil }
      throw EvaluationError.unknownUpdate(
        name: name, known: others + stored.map(\.name),
        files: [checkpoint.path] + updateFiles + [optimizerState].compactMap { $0 })
    }
    return stored.filter { asked.isEmpty || asked.contains($0.name) }
  }

  /// Those that the methods name.
  var askedUpdates: [String] { methods.compactMap(\.needs.update) }
}
