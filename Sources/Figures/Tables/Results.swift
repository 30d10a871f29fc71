import Checkpoints
import Foundation

/// The tables of a results folder, those that are there.
package struct Results: Sendable {
  /// As given.
  package var folder: String
  package var scores: [ScoreRow]?
  package var batches: [BatchRow]?
  package var iterates: [IterateRow]?
  package var layers: [LayerRow]?
  /// run.json
  package var run: JSONValue?

  /// To which a run adds its batches before it writes tables.
  static let journalName = "journal.jsonl"

  static let tableNames = ["scores.csv", "batches.csv", "cg.csv", "layers.csv"]

  /// - Throws: `.noTables` or `.unfinishedRun` for a folder without any of the tables, the first defect of a table.
  package init(folder: String) throws(TableError) {
    self.folder = folder
    var status = stat()
    guard stat(folder, &status) == 0 else {
      throw TableError(
        .file(
          CheckpointError(
            .fileMissing, at: .init(file: folder),
            hint: "Name the folder that eval-cli score --output has written.")), file: folder)
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw TableError(
        .file(CheckpointError(.isNoDirectory, at: .init(file: folder))), file: folder)
    }
    scores = try Self.table("scores.csv", in: folder).map(ScoreRow.read)
    batches = try Self.table("batches.csv", in: folder).map(BatchRow.read)
    iterates = try Self.table("cg.csv", in: folder).map(IterateRow.read)
    layers = try Self.table("layers.csv", in: folder).map(LayerRow.read)
    run = try Self.record(in: folder)
    if scores == nil && batches == nil && iterates == nil && layers == nil {
      let hasJournal = access(Self.path(Self.journalName, in: folder), F_OK) == 0
      throw TableError(hasJournal ? .unfinishedRun : .noTables(Self.tableNames), file: folder)
    }
  }

  /// - Returns: `nil` if there is no such file.
  private static func table(
    _ name: String, in folder: String
  ) throws(TableError) -> CSVTable? {
    let path = Self.path(name, in: folder)
    var status = stat()
    if stat(path, &status) != 0 && errno == ENOENT { return nil }
    return try CSVTable(contentsOf: path)
  }

  private static func record(in folder: String) throws(TableError) -> JSONValue? {
    let path = Self.path("run.json", in: folder)
    var status = stat()
    if stat(path, &status) != 0 && errno == ENOENT { return nil }
    do throws(CheckpointError) {
      let file = try MappedFile(path: path)
      let text = String(decoding: file.bytes, as: UTF8.self)
      withExtendedLifetime(file) {}
      return try JSONValue(parsing: text, name: "run", file: path)
    } catch {
      throw TableError(.file(error), file: path)
    }
  }

  private static func path(_ name: String, in folder: String) -> String {
    folder.hasSuffix("/") ? folder + name : folder + "/" + name
  }
}
