import Checkpoints

/// The tables of a results folder, those that are there; or of several folders as one.
package struct Results: Sendable {
  /// As given; several with commas between them.
  package var folder: String
  package var scores: [ScoreRow]?
  package var batches: [BatchRow]?
  package var iterates: [IterateRow]?
  package var layers: [LayerRow]?
  /// Of training, where its table was put beside the others or its folder was named as well.
  package var epochs: [EpochRow]?
  /// The record of each folder, run.json.
  package var records: [Record] = []

  package struct Record: Sendable {
    package var folder: String
    package var run: JSONValue?
  }

  /// To which a run adds its batches before it writes tables.
  static let journalName = "journal.jsonl"

  static let tableNames = ["scores.csv", "batches.csv", "cg.csv", "layers.csv"]

  /// - Throws: `.noTables` or `.unfinishedRun` for a folder without any of the tables, the first defect of a table.
  package init(folder: String) throws(TableError) {
    self.folder = folder
    let system = POSIXFileSystem()
    guard let found = try? system.status(of: folder, followingLinks: true) else {
      throw TableError(
        .file(
          CheckpointError(
            .fileMissing, at: .init(file: folder),
            hint: "Name the folder that scoring has written its report into.")), file: folder)
    }
    guard found.kind == .folder else {
      throw TableError(
        .file(CheckpointError(.isNoDirectory, at: .init(file: folder))), file: folder)
    }
    let run = try Self.record(in: folder)
    records = [Record(folder: folder, run: run)]
    // What else lies in the folder is another run's; older records do not say it.
    let own = try? run?["tables"].strings()
    func table(_ name: String) throws(TableError) -> CSVTable? {
      if let own, !own.contains(name) { return nil }
      return try Self.table(name + ".csv", in: folder)
    }
    scores = try table("scores").map(ScoreRow.read)
    batches = try table("batches").map(BatchRow.read)
    iterates = try table("cg").map(IterateRow.read)
    layers = try table("layers").map(LayerRow.read)
    // Another program's table may have that name.
    epochs = try? Self.table("epochs.csv", in: folder).map { try EpochRow.read($0, run: folder) }
    if scores == nil && batches == nil && iterates == nil && layers == nil && epochs == nil {
      let hasJournal = system.exists(joined(folder, Self.journalName))
      throw TableError(hasJournal ? .unfinishedRun : .noTables(Self.tableNames), file: folder)
    }
  }

  /// - Returns: `nil` if there is no such file.
  private static func table(
    _ name: String, in folder: String
  ) throws(TableError) -> CSVTable? {
    let path = joined(folder, name)
    return isThere(path) ? try CSVTable(contentsOf: path) : nil
  }

  /// What cannot be looked at is there: opening it says why.
  private static func isThere(_ path: String) -> Bool {
    do throws(SystemError) {
      return try POSIXFileSystem().found(path) != nil
    } catch {
      return true
    }
  }

  private static func record(in folder: String) throws(TableError) -> JSONValue? {
    let path = joined(folder, "run.json")
    if !isThere(path) { return nil }
    do throws(CheckpointError) {
      let file = try MappedFile(path: path, acceptsPipes: false)
      let text = String(decoding: file.bytes, as: UTF8.self)
      withExtendedLifetime(file) {}
      return try JSONValue(parsing: text, name: "run", file: path)
    } catch {
      throw TableError(.file(error), file: path)
    }
  }
}
