import Foundation
import Testing

@testable import Checkpoints

/// What a run has opened stays what it was; what has become of the file is noticed.
@Suite struct InputFilesTests {
  private static let content = safetensors(
    #"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#, data: [1, 2, 3])

  @Test func aPathIsOpenedOnce() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/x"
    try Data(Self.content).write(to: URL(fileURLWithPath: path))
    let files = InputFiles()
    let first = try files.open(path)
    try FileManager.default.removeItem(atPath: path)
    let part = files.part()
    #expect(try part.open(path) === first)
    #expect(files.opened.count == 1)
    #expect([UInt8](first.bytes) == Self.content)
  }

  /// A run that finds no file of one name and takes another does so once.
  @Test func whatWasNotThereStaysAbsent() throws {
    let folder = try TemporaryFolder()
    let files = InputFiles()
    #expect(try files.kind(of: folder.path + "/x") == nil)
    try Data().write(to: URL(fileURLWithPath: folder.path + "/x"))
    #expect(try files.kind(of: folder.path + "/x") == nil)
    #expect(try InputFiles().kind(of: folder.path + "/x") == .file)
  }

  static let changes: [(String, @Sendable (String) throws -> Void, String)] = [
    ("removed", { try FileManager.default.removeItem(atPath: $0) }, "it is no longer there"),
    (
      "replaced",
      { path in
        try Data(content).write(to: URL(fileURLWithPath: path + "-new"))
        #expect(rename(path + "-new", path) == 0)
      }, "another file has taken its name"
    ),
    (
      "longer",
      { path in
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.seekToEnd()
        try handle.write(contentsOf: [4])
        try handle.close()
      }, "it had 64 bytes and has 65"
    ),
    (
      "rewritten",
      { path in
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.write(contentsOf: Data(content))
        try handle.close()
      }, "it was written to"
    ),
  ]

  @Test(arguments: changes.indices) func aChangeIsNamed(_ index: Int) throws {
    let (_, change, reason) = Self.changes[index]
    let folder = try TemporaryFolder()
    let path = folder.path + "/x"
    try Data(Self.content).write(to: URL(fileURLWithPath: path))
    // Long ago, by the clock of the file system.
    try FileManager.default.setAttributes(
      [.modificationDate: Date(timeIntervalSinceNow: -100)], ofItemAtPath: path)
    let files = InputFiles()
    _ = try files.open(path)
    try files.requireUnchanged()
    try change(path)
    #expect(
      message(for: path) { try files.requireUnchanged() } == """
        the file has changed while it was in use: \(reason)
          at FILE
          Take a copy that nobody writes to, or wait until its writer has ended.
        """)
  }

  /// A link is followed: what counts is the file behind it.
  @Test func aLinkThatLeadsElsewhereIsAChange() throws {
    let folder = try TemporaryFolder()
    let (a, b, link) = (folder.path + "/a", folder.path + "/b", folder.path + "/link")
    for path in [a, b] { try Data(Self.content).write(to: URL(fileURLWithPath: path)) }
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: a)
    let files = InputFiles()
    _ = try files.open(link)
    try FileManager.default.removeItem(atPath: link)
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: b)
    #expect(message(for: link) { try files.requireUnchanged() }.contains("another file"))
  }

  /// A run over a thousand checkpoints, where a process may have a thousand descriptors.
  @Test func filesTakeNoDescriptors() throws {
    let folder = try TemporaryFolder()
    let descriptors = { try FileManager.default.contentsOfDirectory(atPath: "/dev/fd").count }
    let before = try descriptors()
    let files = InputFiles()
    for number in 0..<300 {
      let path = folder.path + "/\(number)"
      try Data(Self.content).write(to: URL(fileURLWithPath: path))
      _ = try files.open(path)
    }
    // Other tests run beside this one.
    #expect(try descriptors() < before + 100)
    #expect(files.opened.count == 300)
  }

  @Test func aPipeInsideAFolderIsNotWaitedFor() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/config.json"
    #expect(mkfifo(path, 0o600) == 0)
    #expect(
      message(for: path) { _ = try ModelDirectory.open(folder.path) } == """
        this is a pipe, expected a file
          at FILE
        """)
  }
}

@Suite struct AtomicFileTests {
  private func write(_ text: String, to path: String) throws {
    let (file, bytes) = (try AtomicFile(path: path), OwnedBytes(Data(text.utf8)))
    try file.write(bytes.load())
    withExtendedLifetime(bytes) {}
    try file.commit()
  }

  @Test func aLinkIsReplacedAndItsTargetKept() throws {
    let folder = try TemporaryFolder()
    let (target, link) = (folder.path + "/target", folder.path + "/scores.csv")
    try Data("mine".utf8).write(to: URL(fileURLWithPath: target))
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: target)
    try write("new", to: link)
    #expect(try String(contentsOfFile: target, encoding: .utf8) == "mine")
    #expect(try String(contentsOfFile: link, encoding: .utf8) == "new")
    #expect(try POSIXFileSystem().status(of: link, followingLinks: false).kind == .file)
  }

  @Test func theSystemsNameOfAnOpenFileIsRefused() throws {
    let file = TemporaryFile([1])
    let descriptor = open(file.path, O_RDONLY)
    defer { close(descriptor) }
    let path = "/proc/self/fd/\(descriptor)"
    guard POSIXFileSystem().exists(path) else { return }
    #expect(
      message(for: path) { try write("new", to: path) } == """
        this is the system's name for an open file, which cannot be replaced
          at FILE
          Name the file itself.
        """)
    #expect(file.contents == [1])
  }

  /// Those of a process that is gone go; those of a living one, and what others have named so, stay.
  @Test func onlyWhatWasLeftBehindIsRemoved() throws {
    let folder = try TemporaryFolder()
    let others = [".tmp-", ".tmp-0123", ".tmp-0123456789ABCDEF", ".tmp-0123456789abcdef0", "x"]
    for name in others + [".tmp-0123456789abcdef"] {
      try Data([1]).write(to: URL(fileURLWithPath: folder.path + "/" + name))
    }
    try FileManager.default.createDirectory(
      atPath: folder.path + "/.tmp-00000000000000ff", withIntermediateDirectories: false)
    let living = try AtomicFile(path: folder.path + "/out")
    let before = try folder.names
    AtomicFile.removeStale(in: folder.path, POSIXFileSystem())
    #expect(try folder.names == before.filter { $0 != ".tmp-0123456789abcdef" })
    try living.commit()
    #expect(try folder.names == (others + [".tmp-00000000000000ff", "out"]).sorted())
  }

  @Test func whatIsNotCommittedLeavesNothing() throws {
    let folder = try TemporaryFolder()
    do { _ = try AtomicFile(path: folder.path + "/out") }
    #expect(try folder.names == [])
  }
}
