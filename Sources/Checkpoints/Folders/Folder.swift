import Foundation

/// A directory whose files are opened by name.
struct Folder {
  /// The path as it was given.
  let path: String

  /// - Throws: `fileMissing`; `isNoDirectory`.
  init(_ path: String) throws(CheckpointError) {
    self.path = path
    var status = stat()
    if stat(path, &status) != 0 {
      let code = errno
      throw CheckpointError(
        code == ENOENT || code == ENOTDIR ? .fileMissing : .cannotOpen(code: code),
        at: .init(file: path))
    }
    if status.st_mode & S_IFMT != S_IFDIR {
      throw CheckpointError(.isNoDirectory, at: .init(file: path))
    }
  }

  func path(of name: String) -> String { path.hasSuffix("/") ? path + name : "\(path)/\(name)" }

  /// The first of these files that is there.
  func first(_ names: [String]) -> String? {
    names.first { access(path(of: $0), F_OK) == 0 }
  }

  /// Parses a JSON file that holds an object.
  ///
  /// - Parameters:
  ///   - name: Of the file, with `.json`; without it, it begins the paths of the document.
  ///   - hint: What to do if the file is missing, in place of the general advice.
  func json(_ name: String, hint: String? = nil) throws(CheckpointError) -> JSONValue {
    let file: MappedFile
    do throws(CheckpointError) {
      file = try MappedFile(path: path(of: name))
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
