import Foundation
import Synchronization

/// SIGINT and SIGTERM end a command in an orderly way.
enum Interruption {
  /// What is done, on a thread of its own, when the process is asked to end: it ends it, unless
  /// that is happening already.
  static let response = Mutex<@Sendable () -> Void>({
    Console.log("interrupted before the first batch")
    exit()
  })

  /// Not `Foundation.exit`: other threads still compute, and must not find their libraries gone.
  static func exit() -> Never { _exit(ExitStatus.interrupted.rawValue) }

  /// From here on a request to end the process is answered by `response`. A second one ends it at
  /// once; one that whoever started the process has set to be ignored, as `nohup` does, stays
  /// ignored.
  static func watch() {
    var ends: [Int32] = [-1, -1]
    // Without a pipe a request ends the process, as before.
    guard pipe(&ends) == 0 else { return }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    wakeUp = ends[1]
    let listening = ends[0]
    Thread.detachNewThread {
      var byte: UInt8 = 0
      while read(listening, &byte, 1) != 1 {
        if errno != EINTR { return }
      }
      response.withLock { $0 }()
    }
    for number in [SIGINT, SIGTERM] { handle(number) }
  }

  private static func handle(_ number: Int32) {
    var action = sigaction()
    guard sigaction(number, nil, &action) == 0, !isIgnored(action) else { return }
    // A handler rather than a masked signal and sigwait: OpenBLAS starts threads before main, and
    // a signal goes to whichever thread has not masked it.
    action = sigaction()
    setHandler(&action) { _ in
      let code = errno
      signal(SIGINT, SIG_DFL)
      signal(SIGTERM, SIG_DFL)
      var byte: UInt8 = 1
      _ = write(wakeUp, &byte, 1)
      errno = code
    }
    action.sa_flags = Int32(SA_RESTART)
    _ = sigaction(number, &action, nil)
    // A parent that starts us from a thread with masked signals hands its mask on.
    var mask = sigset_t()
    sigemptyset(&mask)
    sigaddset(&mask, number)
    pthread_sigmask(SIG_UNBLOCK, &mask, nil)
  }

  private static func isIgnored(_ action: sigaction) -> Bool {
    #if canImport(Darwin)
      let handler = action.__sigaction_u.__sa_handler
    #else
      let handler = action.__sigaction_handler.sa_handler
    #endif
    // SIG_IGN is the address 1.
    return unsafeBitCast(handler, to: Int.self) == 1
  }

  private static func setHandler(
    _ action: inout sigaction, _ handler: @escaping @convention(c) (Int32) -> Void
  ) {
    #if canImport(Darwin)
      action.__sigaction_u.__sa_handler = handler
    #else
      action.__sigaction_handler.sa_handler = handler
    #endif
  }
}

/// Where the handler writes. Safe: set once, before there is a handler.
private nonisolated(unsafe) var wakeUp: Int32 = -1
