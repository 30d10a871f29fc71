import Foundation

/// A process with what the operating system knows of it once it has ended.
///
/// A new process starts with the peak memory of the one that it was forked from. So this program
/// starts itself anew, as a supervisor with nothing in its memory, and that one starts and measures
/// the command.
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

  /// Runs a command to its end. The program has to call `superviseIfAsked` first of all.
  ///
  /// - Parameter changes: Environment variables to set, or with `nil` to leave out.
  /// - Throws: `Failure` where it cannot be started.
  public init(_ command: [String], environment changes: [String: String?] = [:]) throws {
    var environment = ProcessInfo.processInfo.environment
    for (name, value) in changes { environment[name] = value }
    // Files, not pipes: nothing has to be read while the child runs.
    let folder = FileManager.default.temporaryDirectory.path
    let base = "\(folder)/child-\(UUID().uuidString)"
    let (out, err, result) = (base + ".out", base + ".err", base + ".usage")
    defer { for path in [out, err, result] { unlink(path) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    for (place, path) in [(1, out), (2, err)] as [(Int32, String)] {
      posix_spawn_file_actions_addopen(&actions, place, path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    }
    let supervisor = ["/proc/self/exe", Self.supervision, result] + command
    let id = try Self.spawn(supervisor, environment, &actions)
    var status: Int32 = 0
    while waitpid(id, &status, 0) < 0 && errno == EINTR {}
    output = (try? String(contentsOfFile: out, encoding: .utf8)) ?? ""
    errors = (try? String(contentsOfFile: err, encoding: .utf8)) ?? ""
    guard let data = FileManager.default.contents(atPath: result) else {
      throw Failure(description: "cannot run \(command[0]): \(errors)")
    }
    let usage = try JSONDecoder().decode(Usage.self, from: data)
    (self.status, seconds, peakMemory) = (usage.status, usage.seconds, usage.peakMemory)
  }

  /// The output, unless the process failed.
  public func requireSuccess(_ what: String) throws -> String {
    if status == 0 { return output }
    let end = errors.split(separator: "\n").suffix(4).joined(separator: "\n  ")
    throw Failure(description: "\(what) ended with status \(status)\n  \(end)")
  }
}

// MARK: - The supervisor

extension ChildProcess {
  private static let supervision = "--supervise"

  private struct Usage: Codable {
    var status: Int32
    var seconds: Double
    var peakMemory: Int
  }

  /// To be called before anything else: runs a command and ends, if this process was started for
  /// that.
  public static func superviseIfAsked() {
    let arguments = CommandLine.arguments
    guard arguments.count > 3, arguments[1] == supervision else { return }
    do {
      let usage = try run(Array(arguments[3...]))
      try JSONEncoder().encode(usage).write(to: URL(fileURLWithPath: arguments[2]))
      exit(0)
    } catch {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      exit(1)
    }
  }

  private static func run(_ command: [String]) throws -> Usage {
    let clock = ContinuousClock()
    let start = clock.now
    let id = try spawn(command, ProcessInfo.processInfo.environment, nil)
    var status: Int32 = 0
    var usage = rusage()
    while wait4(id, &status, 0, &usage) < 0 && errno == EINTR {}
    let (seconds, attoseconds) = (clock.now - start).components
    return Usage(
      status: status, seconds: Double(seconds) + Double(attoseconds) * 1e-18,
      peakMemory: usage.ru_maxrss * 1024)
  }

  private static func spawn(
    _ command: [String], _ environment: [String: String],
    _ actions: UnsafePointer<posix_spawn_file_actions_t>?
  ) throws -> pid_t {
    var arguments = command.map { strdup($0) } + [nil]
    var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for pointer in arguments + variables { free(pointer) } }
    var id: pid_t = 0
    let error = posix_spawnp(&id, command[0], actions, nil, &arguments, &variables)
    if error != 0 { throw Failure(description: String(cString: strerror(error))) }
    return id
  }
}
