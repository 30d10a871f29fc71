import Foundation

/// A process with what the operating system knows of it once it has ended.
public struct ChildProcess {
  public let output: String
  public let errors: String
  public let status: Int32
  /// Wall time from its start to its end.
  public let seconds: Double
  /// Peak resident memory, bytes.
  public let peakMemory: Int

  public struct Failure: Error, CustomStringConvertible {
    public let description: String

    public init(description: String) { self.description = description }
  }

  /// Runs a command to its end.
  ///
  /// - Parameter changes: Environment variables to set, or with `nil` to leave out.
  /// - Throws: `Failure` where it cannot be started.
  public init(_ command: [String], environment changes: [String: String?] = [:]) throws {
    var environment = ProcessInfo.processInfo.environment
    for (name, value) in changes { environment[name] = value }
    // Files, not pipes: nothing has to be read while the child runs.
    let folder = FileManager.default.temporaryDirectory.path
    let paths = ["out", "err"].map { "\(folder)/compare-\(UUID().uuidString).\($0)" }
    defer { for path in paths { unlink(path) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    for (place, path) in paths.enumerated() {
      posix_spawn_file_actions_addopen(
        &actions, Int32(place + 1), path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    }
    var arguments = command.map { strdup($0) } + [nil]
    var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for pointer in arguments + variables { free(pointer) } }
    var id: pid_t = 0
    let clock = ContinuousClock()
    let start = clock.now
    let error = posix_spawnp(&id, command[0], &actions, nil, &arguments, &variables)
    if error != 0 {
      throw Failure(description: "cannot run \(command[0]): \(String(cString: strerror(error)))")
    }
    var status: Int32 = 0
    var usage = rusage()
    while wait4(id, &status, 0, &usage) < 0 && errno == EINTR {}
    let (seconds, attoseconds) = (clock.now - start).components
    self.seconds = Double(seconds) + Double(attoseconds) * 1e-18
    self.status = status
    peakMemory = usage.ru_maxrss * 1024
    output = (try? String(contentsOfFile: paths[0], encoding: .utf8)) ?? ""
    errors = (try? String(contentsOfFile: paths[1], encoding: .utf8)) ?? ""
  }

  /// The output, unless the process failed.
  public func requireSuccess(_ what: String) throws -> String {
    if status == 0 { return output }
    let end = errors.split(separator: "\n").suffix(4).joined(separator: "\n  ")
    throw Failure(description: "\(what) ended with status \(status)\n  \(end)")
  }
}
