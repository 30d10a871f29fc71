import Checkpoints
import Foundation

/// When in its training a checkpoint was saved, and by which run.
package struct TrainingPlace: Sendable, Equatable {
  package var epoch: Int?
  package var step: Int?

  /// What files say counts, then `trainer_state.json` of the folder, then names of the path.
  ///
  /// - Parameters:
  ///   - path: Of the checkpoint: a file or a folder.
  ///   - epoch, step: As a file says; `nil` where none does.
  init(
    path: String, epoch: Int? = nil, step: Int? = nil, files: InputFiles
  ) throws(CheckpointError) {
    let trainer = files.isFolder(path) ? try TrainerState.open(path, files: files) : nil
    self.epoch = epoch ?? trainer?.epoch
    self.step = step ?? trainer?.step
    if epoch == nil && trainer == nil { self.epoch = Self.number(Self.epochName, in: path)?.value }
    if step == nil && trainer == nil { self.step = Self.number(Self.stepName, in: path)?.value }
  }

  // A new one for each use: regular expressions are not Sendable.
  private static var epochName: Regex<(Substring, Substring)> { /epoch[-_=]?([0-9]+)/ }
  private static var stepName: Regex<(Substring, Substring)> { /step[-_=]?([0-9]+)/ }
  /// Names of folders that hold one checkpoint of a run.
  private static var folderName: Regex<Substring> {
    /(?:.*[-_.])?(?:epoch|step|checkpoint|ckpt)[-_=]?[0-9]+/
  }

  /// Of `run/epoch-03/model.pt`, 3 and `03`: by the checkpoint's own name, or its folder's.
  private static func number(
    _ name: Regex<(Substring, Substring)>, in path: String
  ) -> (value: Int, digits: Substring)? {
    for part in path.split(separator: "/").suffix(2).reversed() {
      guard let digits = part.firstMatch(of: name)?.output.1 else { continue }
      return Int(digits).map { ($0, digits) }
    }
    return nil
  }

  /// How the path itself spells the epoch, such as `03`, where it is in the path.
  static func spelling(ofEpoch epoch: Int, in path: String) -> String? {
    spelling(of: epoch, epochName, path)
  }

  static func spelling(ofStep step: Int, in path: String) -> String? {
    spelling(of: step, stepName, path)
  }

  private static func spelling(
    of value: Int, _ name: Regex<(Substring, Substring)>, _ path: String
  ) -> String? {
    number(name, in: path).flatMap { $0.value == value ? String($0.digits) : nil }
  }

  /// The run that a checkpoint belongs to: the folder that holds it, or that holds the folders of
  /// single checkpoints; `nil` in the folder where the command was given.
  package static func run(of path: String) -> String? {
    var parts = path.split(separator: "/").dropLast()
    while let last = parts.last, (try? folderName.wholeMatch(in: last)) != nil {
      parts = parts.dropLast()
    }
    let folder = parts.filter { $0 != "." }.joined(separator: "/")
    return folder.isEmpty ? nil : (path.hasPrefix("/") ? "/" : "") + folder
  }
}
