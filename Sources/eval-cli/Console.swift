import ApproxEval
import Checkpoints
import Foundation
import Synchronization

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

  /// Lines on the terminal behind standard error that are written anew, the cursor in the last of them.
  private static let rewritten = Mutex(1)

  /// Lines in place of those that were written so before; none of them is longer than the terminal is
  /// wide.
  static func rewrite(_ lines: [String]) {
    let text = erasing + lines.map { printable($0) }.joined(separator: "\n")
    rewritten.withLock { $0 = max(lines.count, 1) }
    _ = write(text, to: STDERR_FILENO)
  }

  /// Brings the cursor to where the lines begin that `rewrite` has written, and takes them away.
  static var erasing: String {
    rewritten.withLock { count in
      defer { count = 1 }
      return "\r" + (count > 1 ? "\u{1B}[\(count - 1)A" : "") + "\u{1B}[J"
    }
  }

  static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// Columns and lines of the terminal behind standard error.
  static var errorSize: (width: Int, height: Int) { terminal(STDERR_FILENO) ?? usual }

  /// How texts are shown on standard output: as wide as its terminal, or as `COLUMNS` says.
  static var outputStyle: TextStyle {
    let width = number("COLUMNS") ?? terminal(STDOUT_FILENO)?.width
    return outputHasColors
      ? TextStyle(width: width, shown: colored) : TextStyle(width: width)
  }

  /// Lines that one looks at without scrolling: of the terminal behind standard output, or as `LINES` says.
  static var outputHeight: Int {
    number("LINES") ?? terminal(STDOUT_FILENO)?.height ?? usual.height
  }

  private static func number(_ name: String) -> Int? {
    ProcessInfo.processInfo.environment[name].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
  }

  private static let usual = (width: 80, height: 24)

  /// `nil` where there is no terminal.
  private static func terminal(_ descriptor: Int32) -> (width: Int, height: Int)? {
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 else { return nil }
    return (
      size.ws_col > 0 ? Int(size.ws_col) : usual.width,
      size.ws_row > 0 ? Int(size.ws_row) : usual.height
    )
  }

  /// Green what is best, red what is worse.
  static func colored(_ text: String, _ mark: TextStyle.Mark) -> String {
    switch mark {
    case .best: "\u{1B}[32m\(text)\u{1B}[0m"
    case .worse: "\u{1B}[31m\(text)\u{1B}[0m"
    case .none: text
    }
  }

  /// Whether standard output shows colours, and its reader wants them (https://no-color.org).
  private static var outputHasColors: Bool {
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
