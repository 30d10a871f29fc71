import Foundation
import Testing

#if canImport(Glibc)
  import Glibc
#endif

/// A headless Chromium, driven by its DevTools protocol over two named pipes: messages are JSON, each
/// ended by a zero byte.
final class Browser {
  /// The program, if there is one on the PATH.
  static let path: String? = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    let names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"]
    return names.lazy.flatMap { name in folders.lazy.map { "\($0)/\(name)" } }
      .first(where: FileManager.default.isExecutableFile(atPath:))
  }()

  enum Problem: Error {
    case silent(String)
    case refused(String)
  }

  private let process = Process()
  private let (input, output): (Int32, Int32)
  private var received = Data()
  private var count = 0
  private var session: String?
  /// What the page has reported.
  private(set) var events: [[String: Any]] = []

  /// - Parameter folder: For its pipes and its profile.
  init(in folder: URL) throws {
    let pipes = ["in", "out"].map { folder.appendingPathComponent($0).path }
    for pipe in pipes { try #require(mkfifo(pipe, 0o600) == 0) }
    // For both directions, so that neither side waits for the other to open its end.
    (input, output) = (open(pipes[0], O_RDWR), open(pipes[1], O_RDWR))
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = [
      "-c", "exec \"$0\" \"$@\" 3<\"$IN\" 4>\"$OUT\"", Self.path!, "--headless", "--no-sandbox",
      "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
      "--user-data-dir=\(folder.path)/profile", "about:blank",
    ]
    process.environment = ProcessInfo.processInfo.environment.merging(
      ["IN": pipes[0], "OUT": pipes[1], "HOME": folder.path]) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    let target = try call("Target.createTarget", ["url": "about:blank"])
    session =
      try call("Target.attachToTarget", ["targetId": target["targetId"]!, "flatten": true])[
        "sessionId"] as? String
    for domain in ["Page", "Runtime", "Log"] { try call(domain + ".enable") }
  }

  deinit {
    // Debian's program is a script around it, which a signal would end alone.
    session = nil
    _ = try? call("Browser.close")
    for _ in 0..<100 where process.isRunning { usleep(100_000) }
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    close(input)
    close(output)
  }

  @discardableResult
  func call(_ method: String, _ parameters: [String: Any] = [:]) throws -> [String: Any] {
    count += 1
    var message: [String: Any] = ["id": count, "method": method, "params": parameters]
    message["sessionId"] = session
    var bytes = try JSONSerialization.data(withJSONObject: message)
    bytes.append(0)
    try #require(bytes.withUnsafeBytes { write(input, $0.baseAddress, $0.count) } == bytes.count)
    while true {
      let answer = try next(waitingFor: method)
      if answer["id"] as? Int == count {
        if let error = answer["error"] { throw Problem.refused("\(method): \(error)") }
        return answer["result"] as? [String: Any] ?? [:]
      }
      events.append(answer)
    }
  }

  private func next(waitingFor method: String) throws -> [String: Any] {
    while true {
      if let end = received.firstIndex(of: 0) {
        let message = received[received.startIndex..<end]
        received = received[(end + 1)...]
        return try JSONSerialization.jsonObject(with: message) as? [String: Any] ?? [:]
      }
      var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      // A browser that starts on a busy machine takes seconds.
      guard poll(&waiting, 1, 60_000) > 0 else { throw Problem.silent(method) }
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      let length = read(output, &buffer, buffer.count)
      received.append(contentsOf: buffer.prefix(max(length, 0)))
    }
  }

  // MARK: - A page

  func show(_ page: URL, width: Int = 1280) throws {
    try call(
      "Emulation.setDeviceMetricsOverride",
      ["width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500])
    events = []
    try call("Page.navigate", ["url": page.absoluteString])
    while !events.contains(where: { $0["method"] as? String == "Page.loadEventFired" }) {
      events.append(try next(waitingFor: "the page"))
    }
  }

  func value(_ expression: String) throws -> Any? {
    let answer = try call(
      "Runtime.evaluate", ["expression": expression, "returnByValue": true])
    if let exception = answer["exceptionDetails"] { throw Problem.refused("\(exception)") }
    return (answer["result"] as? [String: Any])?["value"]
  }

  func text(_ expression: String) throws -> String { try value(expression) as? String ?? "" }

  func number(_ expression: String) throws -> Double {
    (try value(expression) as? NSNumber)?.doubleValue ?? .nan
  }

  func isTrue(_ expression: String) throws -> Bool { try value(expression) as? Bool ?? false }

  /// Moves the pointer to the middle of an element, as far as it has to be scrolled to.
  @discardableResult
  func point(at element: String) throws -> (x: Double, y: Double) {
    _ = try value("\(element).scrollIntoView({ block: 'center' })")
    // Scrolling hides values: its event has to come first.
    _ = try value("new Promise(done => setTimeout(done, 50))")
    _ = try call(
      "Runtime.evaluate",
      ["expression": "new Promise(done => setTimeout(done, 100))", "awaitPromise": true])
    let box = "\(element).getBoundingClientRect()"
    let x = try number("(b => b.left + b.width / 2)(\(box))")
    let y = try number("(b => b.top + b.height / 2)(\(box))")
    try call("Input.dispatchMouseEvent", ["type": "mouseMoved", "x": x, "y": y])
    return (x, y)
  }

  /// - Parameter modifiers: 8 for the shift key.
  func click(_ element: String, modifiers: Int = 0) throws {
    let (x, y) = try point(at: element)
    for type in ["mousePressed", "mouseReleased"] {
      try call(
        "Input.dispatchMouseEvent",
        [
          "type": type, "x": x, "y": y, "button": "left", "clickCount": 1, "modifiers": modifiers,
        ])
    }
  }

  func press(_ key: String, text: String? = nil, code: Int = 0) throws {
    var event: [String: Any] = ["type": "keyDown", "key": key, "windowsVirtualKeyCode": code]
    event["text"] = text
    try call("Input.dispatchKeyEvent", event)
    try call(
      "Input.dispatchKeyEvent", ["type": "keyUp", "key": key, "windowsVirtualKeyCode": code])
  }

  /// Errors and refusals that the console has; an exception is one as well.
  var complaints: [String] {
    events.filter {
      ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"]
        .contains($0["method"] as? String)
    }.map { "\($0["params"] ?? "")" }
  }
}
