import Foundation
import FuzzerDriver

// fuzz READER [libFuzzer's arguments]      feeds one reader
// fuzz seeds FIXTURES FOLDER               writes first inputs for every reader
// fuzz readers                             their names

@main
struct Fuzz {
  static func main() throws {
    let arguments = CommandLine.arguments.dropFirst()
    switch arguments.first {
    case "readers":
      for reader in Readers.all { print(reader.name) }
    case "seeds" where arguments.count == 3:
      try Readers.writeSeeds(
        from: Fixtures(folder: arguments[arguments.startIndex + 1]), to: arguments.last!)
    case let name? where Readers.named(name) != nil:
      exit(drive(name))
    default:
      print(
        "usage: fuzz READER [ARGUMENTS OF LIBFUZZER] | fuzz seeds FIXTURES FOLDER | fuzz readers")
      exit(64)
    }
  }

  /// libFuzzer's loop over the reader; its name is not for libFuzzer to see.
  private static func drive(_ name: String) -> CInt {
    var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.filter { $0 != name }
      .map { strdup($0) }
    var count = CInt(arguments.count)
    arguments.append(nil)
    return arguments.withUnsafeMutableBufferPointer { buffer in
      var start = buffer.baseAddress
      return LLVMFuzzerRunDriver(&count, &start, testOneInput)
    }
  }
}

/// The reader that the command names.
private let reader = Readers.named(CommandLine.arguments[1])!

/// Of the processor: libFuzzer's limit is of the clock on the wall, which goes on while others work.
private let mostSeconds = 5.0

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = Array(UnsafeBufferPointer(start: start, count: count))
  let before = clock()
  expectTypedErrors { try reader.read(input[...]) }
  let seconds = Double(clock() - before) / Double(CLOCKS_PER_SEC)
  precondition(seconds <= mostSeconds, "\(seconds) s for one input")
  return 0
}

@_cdecl("LLVMFuzzerCustomMutator")
public func mutate(
  _ data: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int, _ seed: CUnsignedInt
) -> Int {
  var random = SplitMix(seed: UInt64(seed))
  if reader.isText && random.next() % 3 == 0 {
    let input = Array(UnsafeBufferPointer(start: data, count: count))
    if let mutated = NumberMutation.apply(to: input, &random), mutated.count <= room {
      data.update(from: mutated, count: mutated.count)
      return mutated.count
    }
  }
  return LLVMFuzzerMutate(data, count, room)
}
