import Checkpoints
import Crypto
import Foundation
import TestSupport
import Testing

@testable import ApproxEval

/// What files may hold, and what becomes of them.
extension JournalTests {
  @Test func whatWasAppendedIsThereAfterwards() throws {
    let folder = try Folder()
    let results = Self.results(3)
    var journal: Journal? = try folder.journal(resume: false)
    #expect(!folder.exists, "nothing is there before the first batch")
    for (number, result) in results.prefix(2).enumerated() {
      try journal?.append(result, at: number)
    }
    journal = nil
    journal = try folder.journal(resume: true)
    #expect(try #require(journal).isResumed)
    #expect(try Self.lines(#require(journal).finished) == Self.lines(results.prefix(2)))
    try journal?.append(results[2], at: 2)
    try journal?.markReported()
    journal = nil
    let whole = try folder.bytes
    // A run that has ended is read as a whole and not changed.
    journal = try folder.journal(resume: true)
    #expect(try Self.lines(#require(journal).finished) == Self.lines(results))
    try journal?.markReported()
    #expect(try folder.bytes == whole)
  }

  /// Wherever the last line was cut, its batch alone is lost, and the file goes on as if it had
  /// never been begun.
  @Test func aLineCutAtAnyByteIsDropped() throws {
    let folder = try Folder()
    let results = Self.results(3, traceRows: 1)
    try folder.write(results)
    let whole = try folder.bytes
    let last = JournalLine.encoded(.batch(2, results[2])).count
    let before = whole.count - last
    for length in before..<whole.count {
      try folder.replace(whole.prefix(length))
      let contents = try JournalContents(whole.prefix(length), file: "")
      #expect(contents.results.count == 2 && contents.length == before, "at \(length)")
    }
    // Files at a few places, which is enough for what is done with the rest.
    for length in [before, before + 1, whole.count - 2, whole.count - 1] {
      try folder.replace(whole.prefix(length))
      do {
        let journal = try folder.journal(resume: true)
        #expect(journal.finished.count == 2)
        try journal.append(results[2], at: 2)
      }
      #expect(try folder.bytes == whole, "cut at \(length)")
    }
  }

  /// Also the first line, after which there is nothing.
  @Test func aFileCutAtAnyByteIsReadUpToThere() throws {
    let folder = try Folder()
    try folder.write(Self.results(2, traceRows: 0))
    let whole = try folder.bytes
    let ends = whole.indices.filter { whole[$0] == UInt8(ascii: "\n") }
    for length in 0...whole.count {
      let contents = try JournalContents(whole.prefix(length), file: "")
      let lines = ends.count { $0 < length }
      #expect((contents.identity != nil) == (lines > 0), "at \(length)")
      #expect(contents.results.count == max(lines - 1, 0), "at \(length)")
    }
  }

  /// Whatever byte of a file has changed, what is read of it is what was written.
  @Test func aChangedByteIsAnErrorOrTheEndOfTheFile() throws {
    let folder = try Folder()
    let results = Self.results(2, traceRows: 0)
    try folder.write(results)
    let whole = try folder.bytes
    let lines = Self.lines(results)
    for index in stride(from: 0, to: whole.count, by: 7) {
      for mask: UInt8 in [1, 0x80] {
        var changed = whole
        changed[changed.startIndex + index] ^= mask
        guard let contents = try? JournalContents(changed, file: "") else { continue }
        let read = Self.lines(contents.results)
        #expect(read.count < 2 && read == Array(lines.prefix(read.count)), "byte \(index)")
      }
    }
  }

  @Test func anUnfinishedRunIsNotOverwritten() throws {
    let folder = try Folder()
    try folder.write(Self.results(2))
    let before = try folder.bytes
    let error = folder.error(resume: false)
    #expect(
      error == """
        an unfinished run has 2 of 3 batches in this folder
          at \(folder.file)
          Go on with it by resume, or give up what it has by force.
        """)
    #expect(try folder.bytes == before)
  }

  /// All batches are there and no report: they would be lost.
  @Test func aRunWithoutItsReportsIsUnfinished() throws {
    let folder = try Folder()
    try folder.write(Self.results(3))
    #expect(try #require(folder.error(resume: false)).contains("3 of 3 batches"))
    try folder.write(Self.results(3), isReported: true)
    let journal = try folder.journal(resume: false)
    try journal.append(Self.results(1)[0], at: 0)
    #expect(try JournalContents(folder.bytes, file: "").results.count == 1)
  }

  @Test func anotherRunIsRefusedWithWhatDiffers() throws {
    let folder = try Folder()
    try folder.write(Self.results(2))
    let before = try folder.bytes
    var options = EvaluationOptions()
    options.cgTolerance = 1e-3
    #expect(
      folder.error(resume: true, options) == """
        the journal is of another run, which this one cannot resume
          at \(folder.file)
          cg tolerance is 0.001 now, 1e-06 in the journal
          Repeat the options and inputs of that run, or give another folder as output.
        """)
    #expect(try folder.bytes == before)
  }

  @Test func damageIsNamedAndLeftAlone() throws {
    let folder = try Folder()
    let results = Self.results(3, traceRows: 0)
    try folder.write(results)
    let lines = try folder.bytes.split(separator: UInt8(ascii: "\n")).map { Data($0) }
    func error(_ change: (inout [Data]) -> Void) throws -> String {
      var changed = lines
      change(&changed)
      let bytes = Data(changed.map { $0 + Data("\n".utf8) }.joined())
      try folder.replace(bytes)
      let errors = [true, false].map { folder.error(resume: $0) }
      #expect(errors[0] == errors[1])
      #expect(try folder.bytes == bytes)
      return try #require(errors[0]).replacingOccurrences(of: folder.file, with: "FILE")
    }
    let second = lines[0].count + 1
    #expect(
      try error { $0[1][$0[1].startIndex + 100] ^= 1 } == """
        the journal is damaged: the line does not have its checksum
          at FILE, line 2, byte \(second)
          Restore the file, or cut it before this byte to keep the batches above and resume.
        """)
    #expect(
      try error { $0[1] = Data("{}".utf8) }.hasPrefix(
        "the journal is damaged: the line is not one that a run has written\n"))
    #expect(
      try error { $0[2] = $0[1] }.hasPrefix(
        "the journal is damaged: the line is batch 0 of run/a.bin, expected batch 1 of run/a.bin\n"
      ))
    var other = RunIdentity(
      try Self.record(EvaluationOptions(), ["a.bin"]), Self.plan(batches: 3))
    other.version = "9"
    let begun = JournalLine.encoded(.run(other)).dropLast()
    #expect(
      try error { $0.append(begun) }.hasPrefix(
        "the journal is damaged: the line is the beginning of another run, expected the end of the "
          + "run\n"))
    #expect(
      try error { $0[0] = Data("checkpoint,batch".utf8) } == """
        this is not a journal of eval-cli
          at FILE
          Move the file away, or give another folder as output.
        """)
  }

  /// Where blocks of the last line did not reach the disk before the power went, they read as zeros.
  @Test func aLastLineWithLostBlocksIsDropped() throws {
    let folder = try Folder()
    let results = Self.results(3)
    try folder.write(results)
    let whole = try folder.bytes
    let last = JournalLine.encoded(.batch(2, results[2])).count
    let first = try #require(whole.firstIndex(of: UInt8(ascii: "\n"))) + 1
    for (start, end, left) in [
      (whole.count - last, whole.count, 2), (whole.count - last, whole.count - 1, 2),
      (whole.count - last + 512, whole.count - 512, 2),
    ] {
      var torn = whole
      torn.replaceSubrange(start..<end, with: Data(count: end - start))
      try folder.replace(torn)
      do {
        let journal = try folder.journal(resume: true)
        #expect(journal.finished.count == left)
        for number in left..<3 { try journal.append(results[number], at: number) }
      }
      #expect(try folder.bytes == whole)
    }
    // The first line alone, whole or cut, its first block there or not.
    for (start, end, length) in [
      (0, 512, first), (0, first, first), (0, 512, first - 20), (512, first, first),
      (512, first - 1, first),
    ] {
      var torn = whole.prefix(first)
      torn.replaceSubrange(start..<end, with: Data(count: end - start))
      try folder.replace(torn.prefix(length))
      #expect(try folder.journal(resume: true).finished.isEmpty, "\(start) to \(end)")
    }
    // With lines after it, it is damage.
    var damaged = whole
    damaged.replaceSubrange(first..<first + 600, with: Data(count: 600))
    try folder.replace(damaged)
    #expect(try #require(folder.error(resume: true)).hasPrefix("the journal is damaged"))
  }

  /// Counts that no run has written, with the right checksum.
  @Test(arguments: [
    #""firstBatch":9223372036854775807"#, #""firstBatch":-1"#,
    #""batches":9223372036854775808"#, #""batches":-9223372036854775808"#,
    #""batches":-1"#, #""batches":1e400"#, #""bytes":-5"#,
  ])
  func impossibleCountsOfARunAreDamage(_ change: String) throws {
    let folder = try Folder()
    try folder.write(Self.results(1, traceRows: 0))
    let error = try folder.errorAfterReplacing(line: 0, field: change)
    #expect(error == "the journal is damaged: the content of the line is not what it announces")
  }

  @Test(arguments: [
    #""batch":-1"#, #""batch":-9223372036854775808"#, #""samples":-9223372036854775808"#,
    #""recomputedSamples":-1"#, #""samples":9223372036854775808"#, #""samples":-1"#,
    #""number":-1"#, #""number":9223372036854775808"#,
  ])
  func impossibleCountsOfABatchAreDamage(_ change: String) throws {
    let folder = try Folder()
    try folder.write(Self.results(1, traceRows: 0))
    let error = try folder.errorAfterReplacing(line: 1, field: change)
    #expect(error == "the journal is damaged: the content of the line is not what it announces")
  }

  /// Numbers at the ends of the range that a batch might have are told as they are.
  @Test(arguments: [
    #""samples":9223372036854775807"#, #""batch":9223372036854775807"#,
    #""number":9223372036854775807"#,
  ])
  func largeCountsAreNoTrap(_ change: String) throws {
    let folder = try Folder()
    try folder.write(Self.results(1, traceRows: 0))
    #expect(
      try folder.errorAfterReplacing(line: 0, field: #""batches":9223372036854775807"#)
        == nil)
    try folder.write(Self.results(1, traceRows: 0))
    let error = try folder.errorAfterReplacing(line: 1, field: change)
    if change.contains("samples") {
      #expect(error == nil)
      let results = try folder.journal(resume: true).finished
      #expect(!Self.plan(batches: 1).report(results).text.isEmpty)
    } else {
      let batch = change.contains("batch") ? "9223372036854775807" : "0"
      #expect(try #require(error).contains("the line is batch \(batch) of"))
    }
  }

  @Test func whatIsNoFileIsNoJournal() throws {
    let folder = try Folder()
    try FileManager.default.createDirectory(at: folder.url, withIntermediateDirectories: true)
    let makers: [(String) throws -> Void] = [
      { #expect(mkfifo($0, 0o600) == 0) },
      { try FileManager.default.createDirectory(atPath: $0, withIntermediateDirectories: false) },
      { try FileManager.default.createSymbolicLink(atPath: $0, withDestinationPath: "/dev/zero") },
      { try FileManager.default.createSymbolicLink(atPath: $0, withDestinationPath: "absent") },
    ]
    for make in makers {
      try make(folder.file)
      for resume in [true, false] {
        #expect(
          try #require(folder.error(resume: resume)).hasPrefix(
            "this is not a journal of eval-cli\n"))
      }
      try FileManager.default.removeItem(atPath: folder.file)
    }
  }

  /// The results went into a file that nobody can open any more.
  @Test func aJournalThatIsRemovedIsNoticed() throws {
    for replace in [false, true] {
      let folder = try Folder()
      let journal = try folder.journal(resume: false)
      let results = Self.results(3)
      try journal.append(results[0], at: 0)
      try FileManager.default.removeItem(at: folder.url)
      if replace {
        try FileManager.default.createDirectory(at: folder.url, withIntermediateDirectories: true)
        try folder.replace(Data())
      }
      #expect(
        Self.message { try journal.append(results[1], at: 1) }.hasPrefix(
          "the journal, or its folder, was removed or replaced while the run was writing it\n"))
    }
  }

  /// Neither run had found a journal when it began.
  @Test func theSecondOfTwoRunsIsToldOfTheFirst() throws {
    let folder = try Folder()
    let (first, second) = (
      try folder.journal(resume: false), try folder.journal(resume: true)
    )
    let results = Self.results(2)
    try first.append(results[0], at: 0)
    let whole = try folder.bytes
    #expect(
      Self.message { try second.append(results[0], at: 0) }.hasPrefix(
        "another run is writing into this folder\n"))
    #expect(try folder.bytes == whole)
    try first.append(results[1], at: 1)
  }

  static func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "no error was thrown"
    } catch {
      return "\(error)"
    }
  }

  @Test func theProcessorIsPartOfTheIdentity() throws {
    let plan = Self.plan(batches: 3)
    let before = RunIdentity(try Self.record(EvaluationOptions(), ["a.bin"]), plan)
    var now = before
    now.kernels = "x"
    now.blas = "y"
    #expect(
      now.carried([:], from: before).differences.map(\.description) == [
        "the set of kernels for the processor is x now, \(before.kernels) in the journal",
        "the BLAS on the processor is y now, \(before.blas) in the journal",
      ])
    #expect(!before.kernels.isEmpty && !before.blas.isEmpty)
  }

  @Test func twoRunsDoNotShareAFolder() throws {
    let folder = try Folder()
    let journal = try folder.journal(resume: false)
    try journal.append(Self.results(1)[0], at: 0)
    #expect(
      folder.error(resume: true) == """
        another run is writing into this folder
          at \(folder.file)
          Wait until it ends, or give another folder as output.
        """)
    withExtendedLifetime(journal) {}
  }
}
