import Checkpoints
import Foundation

/// Results go to standard output, everything else to standard error. No text sends a terminal more
/// than text: names that could are shown as `printable` has them.
enum Console {
  /// Text for people.
  ///
  /// - Throws: `CheckpointError.cannotWrite`, as where a disk is full.
  static func print(_ text: String) throws(CheckpointError) {
    try write(document: printableLines(text))
  }

  /// A document for programs, CSV or JSON, byte by byte.
  ///
  /// - Throws: As `print`.
  static func write(document text: String) throws(CheckpointError) {
    if let code = write(text, to: STDOUT_FILENO) {
      throw CheckpointError(.cannotWrite(code: code), at: .init(file: "standard output"))
    }
  }

  /// A line. What standard error does not take is lost.
  static func log(_ line: String) { _ = write(printableLines(line) + "\n", to: STDERR_FILENO) }

  /// Brings the cursor of a terminal to the beginning of its line, and empties the line.
  static let erasing = "\r\u{1B}[K"

  /// One line in place of the one that the cursor is in.
  static func rewrite(_ line: String) {
    _ = write(erasing + printable(line), to: STDERR_FILENO)
  }

  static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// Columns of the terminal behind standard error.
  static var errorWidth: Int {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Columns of the terminal behind standard output, or as `COLUMNS` says.
  static var outputWidth: Int {
    if let columns = ProcessInfo.processInfo.environment["COLUMNS"].flatMap({ Int($0) }),
      columns > 0
    {
      return columns
    }
    var size = winsize()
    guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Whether standard output shows colours, and its reader wants them (https://no-color.org).
  static var outputHasColors: Bool {
    let environment = ProcessInfo.processInfo.environment
    return isatty(STDOUT_FILENO) == 1 && environment["NO_COLOR", default: ""].isEmpty
      && environment["TERM"] != "dumb"
  }

  /// - Returns: errno if it fails.
  private static func write(_ text: String, to descriptor: Int32) -> Int32? {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress!, $0.count) }
      if count < 0 && errno != EINTR { return errno }
      rest = rest.dropFirst(max(count, 0))
    }
    return nil
  }
}
