import Foundation
import Synchronization

/// The files that a run reads, each opened once and kept: whoever asks for a path again, to hash
/// what is there or to score it, gets the same bytes, whatever has happened to the path meanwhile.
///
/// Files are kept as maps, without descriptors, so their number is no matter. What was looked for
/// and not there stays absent, so that a run makes its choices once.
public final class InputFiles: Sendable {
  package let system: any FileSystem
  /// Bytes that the numbers of a file may take which cannot be read where they lie.
  package let memory: Int
  private let known: Known
  /// Those that were asked for here, in order.
  private let used = Mutex<[MappedFile]>([])

  /// Shared by all parts of a run.
  private final class Known: Sendable {
    struct State {
      var files: [String: MappedFile] = [:]
      var order: [MappedFile] = []
      var kinds: [String: FileStatus.Kind?] = [:]
    }

    let state = Mutex(State())
  }

  /// - Parameter memory: Bytes that may be taken for numbers which cannot be read where they lie.
  public convenience init(system: any FileSystem = POSIXFileSystem(), memory: Int = .max) {
    self.init(system: system, memory: memory, known: Known())
  }

  private init(system: any FileSystem, memory: Int, known: Known) {
    self.system = system
    self.memory = memory
    self.known = known
  }

  /// The same files, of which those are noted apart that are asked for there.
  package func part() -> InputFiles { InputFiles(system: system, memory: memory, known: known) }

  /// All files of the run that have been opened, in order.
  package var opened: [MappedFile] { known.state.withLock { $0.order } }

  /// Paths that were asked for here, in order.
  package var usedPaths: [String] { used.withLock { $0.map(\.path) } }

  /// - Parameter acceptsPipes: Whether the path may be a pipe, as one that a user names may be.
  package func open(
    _ path: String, acceptsPipes: Bool = true
  ) throws(CheckpointError) -> MappedFile {
    let file = try known.state.withLock { state throws(CheckpointError) -> MappedFile in
      if let file = state.files[path] { return file }
      let file = try MappedFile(path: path, system: system, acceptsPipes: acceptsPipes)
      state.files[path] = file
      state.order.append(file)
      return file
    }
    used.withLock { used in
      if !used.contains(where: { $0 === file }) { used.append(file) }
    }
    return file
  }

  /// What is at a path, `nil` if nothing is.
  package func kind(of path: String) throws(SystemError) -> FileStatus.Kind? {
    try known.state.withLock { state throws(SystemError) -> FileStatus.Kind? in
      if let kind = state.kinds[path] { return kind }
      let kind = try system.found(path)?.kind
      state.kinds[path] = .some(kind)
      return kind
    }
  }

  package func isFolder(_ path: String) -> Bool { (try? kind(of: path)) == .folder }

  /// - Throws: `changed` for the first of the files that were asked for here that is not as it was.
  package func requireUnchanged() throws(CheckpointError) {
    for file in used.withLock({ $0 }) { try file.requireUnchanged() }
  }

  /// Nothing of the files that were asked for here need stay in memory.
  package func release() { for file in used.withLock({ $0 }) { file.release() } }
}
