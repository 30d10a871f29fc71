import Checkpoints

/// Why a run cannot write, or go on from, the journal of its folder.
public enum JournalError: Error, Sendable, Equatable {
  /// An unfinished run would be overwritten.
  case unfinished(file: String, finished: Int, planned: Int)
  /// A finished run would be overwritten by one that is not the same; each difference is a clause.
  case finished(file: String, batches: Int, [SettingText])
  /// Tables that no journal tells of would be overwritten.
  case occupied(folder: String, files: [String])
  /// The journal is of another run; each difference is a clause.
  case differs(file: String, [SettingText])
  /// A line, counted from 1 and beginning at this byte, is not as it was written.
  case damaged(file: String, line: Int, byte: Int, Defect)
  /// Something else has the journal's name.
  case foreign(file: String)
  /// Another process writes it.
  case inUse(file: String)
  /// While the run was writing it, it was removed, or another file has taken its name.
  case removed(file: String)

  /// What is wrong with a line.
  public enum Defect: Error, Equatable {
    /// Not of the form of a line.
    case form
    /// The content does not have the line's checksum.
    case checksum
    /// The content is not what the line announces.
    case content
    /// A later version of the program has written it.
    case format(String)
    /// The batch is not the one that follows in the plan.
    case order(found: String, expected: String)
  }
}

extension JournalError: ExplainedError {
  public var message: ErrorMessage {
    switch self {
    case .unfinished(let file, let finished, let planned):
      ErrorMessage(
        "an unfinished run has \(finished) of \(planned) batches in this folder",
        at: SettingText(file),
        ["Go on with it by \(.resume), or give up what it has by \(.force)."])
    case .finished(let file, let batches, let differences):
      ErrorMessage(
        "the results of another run are in this folder, \(batches) "
          + "batch\(batches == 1 ? "" : "es")", at: SettingText(file),
        differences + ["Give another folder as \(.output), or replace them by \(.force)."])
    case .occupied(let folder, let files):
      ErrorMessage(
        "there are tables in this folder that no journal tells of", at: SettingText(folder),
        [
          "They are \(files.joined(separator: ", ")).",
          "Give another folder as \(.output), or replace them by \(.force).",
        ])
    case .differs(let file, let differences):
      ErrorMessage(
        "the journal is of another run, which this one cannot resume", at: SettingText(file),
        differences
          + ["Repeat the options and inputs of that run, or give another folder as \(.output)."])
    case .damaged(let file, let line, let byte, let defect):
      ErrorMessage(
        "the journal is damaged: \(defect)", at: "\(file), line \(line), byte \(byte)",
        ["Restore the file, or cut it before this byte to keep the batches above and \(.resume)."])
    case .foreign(let file):
      ErrorMessage(
        "this is not a journal of eval-cli", at: SettingText(file),
        ["Move the file away, or give another folder as \(.output)."])
    case .inUse(let file):
      ErrorMessage(
        "another run is writing into this folder", at: SettingText(file),
        ["Wait until it ends, or give another folder as \(.output)."])
    case .removed(let file):
      ErrorMessage(
        "the journal, or its folder, was removed or replaced while the run was writing it",
        at: SettingText(file),
        ["What was in it is gone. Run again, and leave the folder alone until the run has ended."])
    }
  }
}

extension JournalError.Defect: CustomStringConvertible {
  public var description: String {
    switch self {
    case .form: "the line is not one that a run has written"
    case .checksum: "the line does not have its checksum"
    case .content: "the content of the line is not what it announces"
    case .format(let found): "the format is \(found), expected \(RunIdentity.format)"
    case .order(let found, let expected): "the line is \(found), expected \(expected)"
    }
  }
}
