import Foundation

/// A directory whose files are opened by name.
struct Folder {
  /// The path as it was given.
  let path: String

  private let files: InputFiles

  /// - Throws: `fileMissing`; `isNoDirectory`.
  init(_ path: String, files: InputFiles) throws(CheckpointError) {
    self.path = path
    self.files = files
    let kind: FileStatus.Kind?
    do throws(SystemError) {
      kind = try files.kind(of: path)
    } catch {
      throw CheckpointError(.cannotOpen(code: error.code), at: .init(file: path))
    }
    guard let kind else { throw CheckpointError(.fileMissing, at: .init(file: path)) }
    if kind != .folder { throw CheckpointError(.isNoDirectory, at: .init(file: path)) }
  }

  /// The first of these files that is there. What cannot be looked at is, and opening it says why.
  func first(_ names: [String]) -> String? {
    names.first { name in
      do throws(SystemError) {
        return try files.kind(of: joined(path, name)) != nil
      } catch {
        return true
      }
    }
  }

  /// Opens one of its files. Nobody has named it, so a pipe is not waited for.
  func open(_ name: String) throws(CheckpointError) -> MappedFile {
    try files.open(joined(path, name), acceptsPipes: false)
  }

  func tensors(_ name: String) throws(CheckpointError) -> TensorArchive {
    try TensorArchive(open(name), memory: files.memory)
  }

  /// Parses a JSON file that holds an object.
  ///
  /// - Parameters:
  ///   - name: Of the file, with `.json`; without it, it begins the paths of the document.
  ///   - hint: What to do if the file is missing, in place of the general advice.
  func json(_ name: String, hint: SettingText? = nil) throws(CheckpointError) -> JSONValue {
    let file: MappedFile
    do throws(CheckpointError) {
      file = try open(name)
    } catch {
      throw error.problem == .fileMissing
        ? CheckpointError(error.problem, at: error.location, hint: hint) : error
    }
    let root = name.hasSuffix(".json") ? String(name.dropLast(5)) : name
    do throws(JSONParser.Failure) {
      return JSONValue(try JSONParser.parse(file.bytes), name: root, file: file.path)
    } catch {
      throw CheckpointError(
        .invalidJSON(document: "the file", defect: error.defect, offset: nil),
        at: .init(file: file.path, byte: error.offset))
    }
  }
}
