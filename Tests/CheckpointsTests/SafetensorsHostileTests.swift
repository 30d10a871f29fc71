import Testing

@testable import Checkpoints

/// One minimal file per defect. The header is given as text, so that the defect can be seen.
@Suite struct SafetensorsHostileTests {
  struct Case: CustomTestStringConvertible {
    var claim: String
    var bytes: [UInt8]
    var message: String
    var testDescription: String { claim }

    init(_ claim: String, _ bytes: [UInt8], _ message: String) {
      (self.claim, self.bytes, self.message) = (claim, bytes, message)
    }
  }

  static let cutShort = "The file was probably cut short; copy or save it again."
  static let damaged = "The file is damaged or of another kind; save it again."
  static let badlyWritten =
    "The file was not written correctly; save it again with a safetensors or numpy library."

  static let cases: [Case] = [
    Case(
      "an empty file", [],
      """
      the data end after 0 bytes, at least 8 are needed
        at FILE
        \(cutShort)
      """),
    Case(
      "seven bytes", [2, 0, 0, 0, 0, 0, 0],
      """
      the data end after 7 bytes, at least 8 are needed
        at FILE
        \(cutShort)
      """),
    Case(
      "a header longer than the file", littleEndian(UInt64(9)) + Array("{}".utf8),
      """
      the data end after 10 bytes, at least 17 are needed
        at FILE
        \(cutShort)
      """),
    Case(
      "a header above the cap", littleEndian(UInt64(100_000_001)) + Array("{}".utf8),
      """
      the header claims 100000001 bytes, at most 100000000 are accepted
        at FILE, byte 0
        \(damaged)
      """),
    Case(
      "a header length beyond Int", littleEndian(UInt64.max) + Array("{}".utf8),
      """
      the header claims 18446744073709551615 bytes, at most 100000000 are accepted
        at FILE, byte 0
        \(damaged)
      """),
    Case(
      "an empty header", safetensors(""),
      """
      the header is not valid JSON: found the end, expected a value
        at FILE, byte 8
        \(damaged)
      """),
    Case(
      "a header that is a list", safetensors("[]"),
      """
      the header is a list of 0, expected an object
        at FILE, byte 8
      """),
    Case(
      "text after the header", safetensors("{}x"),
      """
      the header is not valid JSON: found 'x', expected the end
        at FILE, byte 10
        \(damaged)
      """),
    Case(
      "the same tensor twice",
      safetensors(
        #"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"#
          + #""a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#),
      """
      the header is not valid JSON: the key "a" occurs twice in one object
        at FILE, byte 61
        \(damaged)
      """),
    Case(
      "the same key twice in a tensor",
      safetensors(#"{"a":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}"#),
      """
      the header is not valid JSON: the key "dtype" occurs twice in one object
        at FILE, byte 27
        \(damaged)
      """),
    Case(
      "a name that is no UTF-8",
      littleEndian(UInt64(6)) + Array(#"{""#.utf8) + [0xFF] + Array(#"":{"#.utf8),
      """
      the header is not valid JSON: a string is not valid UTF-8
        at FILE, byte 9
        \(damaged)
      """),
    Case(
      "a deeply nested header", safetensors(#"{"a":{"b":{"c":{"d":1}}}}"#),
      """
      the header is not valid JSON: nested deeper than 3 levels
        at FILE, byte 28
        \(damaged)
      """),
    Case(
      "more dimensions than anybody has",
      safetensors(
        #"{"a":{"dtype":"U8","shape":[0"# + String(repeating: ",0", count: 256)
          + #"],"data_offsets":[0,0]}}"#),
      """
      the header is not valid JSON: an array has more than 256 elements
        at FILE, byte 548
        \(damaged)
      """),
    Case(
      "a tensor that is no object", safetensors(#"{"a":1}"#),
      """
      header is 1, expected an object
        at FILE, tensor a
      """),
    Case(
      "an unknown key in a tensor",
      safetensors(#"{"a":{"dtype":"U8","shapes":[0],"data_offsets":[0,0]}}"#),
      """
      unknown key header.shapes
        at FILE, tensor a
        Did you mean shape?
      """),
    Case(
      "a tensor without a shape", safetensors(#"{"a":{"dtype":"U8","data_offsets":[0,0]}}"#),
      """
      header.shape is missing
        at FILE, tensor a
      """),
    Case(
      "an unknown dtype",
      safetensors(#"{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#, data: [0]),
      """
      unknown dtype "F8_E4M3"
        at FILE, tensor a
        Known are F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL; convert it and save again.
      """),
    Case(
      "a dtype that is no string",
      safetensors(#"{"a":{"dtype":8,"shape":[1],"data_offsets":[0,1]}}"#, data: [0]),
      """
      header.dtype is 8, expected a string
        at FILE, tensor a
      """),
    Case(
      "a negative dimension",
      safetensors(#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#, data: [0]),
      """
      shape [-1] is negative or too large to address
        at FILE, tensor a
        \(badlyWritten)
      """),
    Case(
      "a fractional dimension",
      safetensors(#"{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}"#, data: [0]),
      """
      header.shape[0] is 1.0, expected an integer
        at FILE, tensor a
      """),
    Case(
      "a dimension beyond Int",
      safetensors(
        #"{"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,1]}}"#, data: [0]),
      """
      header.shape[0] is 1e+20, expected an integer
        at FILE, tensor a
      """),
    Case(
      "a shape whose product overflows",
      safetensors(
        #"{"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#),
      """
      shape [4294967296, 4294967296] is negative or too large to address
        at FILE, tensor a
        \(badlyWritten)
      """),
    Case(
      "an overflow behind a zero dimension",
      safetensors(
        #"{"a":{"dtype":"U8","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}"#),
      """
      shape [0, 4294967296, 4294967296] is negative or too large to address
        at FILE, tensor a
        \(badlyWritten)
      """),
    Case(
      "three offsets",
      safetensors(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}"#, data: [0]),
      """
      header.data_offsets is a list of 3, expected two integers
        at FILE, tensor a
      """),
    Case(
      "reversed offsets",
      safetensors(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}"#, data: [0]),
      """
      the data offsets [1, 0] are negative or reversed
        at FILE, tensor a
        \(badlyWritten)
      """),
    Case(
      "a negative offset",
      safetensors(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}"#, data: [0]),
      """
      the data offsets [-1, 0] are negative or reversed
        at FILE, tensor a
        \(badlyWritten)
      """),
    Case(
      "a size that is not that of the shape",
      safetensors(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, data: [0, 0, 0, 0]),
      """
      4 bytes of data, but F32 of shape [2] takes 8
        at FILE, tensor a
        \(badlyWritten)
      """),
    Case(
      "data beyond the end",
      safetensors(#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, data: [0]),
      """
      the data end at byte 2 of a data section of 1 byte
        at FILE, tensor a
        \(cutShort)
      """),
    Case(
      "two tensors over the same bytes",
      safetensors(
        #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"#
          + #""b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, data: [0, 0]),
      """
      the data overlap those of tensor a
        at FILE, tensor b, byte 114
        \(badlyWritten)
      """),
    Case(
      "a hole between tensors",
      safetensors(
        #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"#
          + #""b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#, data: [0, 0, 0]),
      """
      1 byte of the data section belongs to no tensor
        at FILE, byte 114
        \(badlyWritten)
      """),
    Case(
      "a hole before the first tensor",
      safetensors(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#, data: [0, 0, 0]),
      """
      2 bytes of the data section belong to no tensor
        at FILE, byte 61
        \(badlyWritten)
      """),
    Case(
      "bytes after the last tensor", safetensors("{}", data: [0, 0, 0]),
      """
      3 bytes of the data section belong to no tensor
        at FILE, byte 10
        \(badlyWritten)
      """),
    Case(
      "metadata that are no strings", safetensors(#"{"__metadata__":{"epoch":3}}"#),
      """
      __metadata__.epoch is 3, expected a string
        at FILE
      """),
    Case(
      "metadata that are no object", safetensors(#"{"__metadata__":"x"}"#),
      """
      __metadata__ is "x", expected an object
        at FILE
      """),
  ]

  @Test(arguments: cases) func isRefusedWithItsReason(_ hostile: Case) throws {
    let file = TemporaryFile(hostile.bytes)
    let found = message(for: file.path) {
      _ = try SafetensorsReader(MappedFile(path: file.path))
    }
    #expect(found == hostile.message)
  }
}
