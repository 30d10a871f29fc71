import Testing

@testable import Checkpoints

@Suite struct JSONParserTests {
  @Test func everyKindOfValueParses() throws {
    let text = """
       { "a" : [ null, true, false, -0, 12, 1.0, -2.5e-3, 1E2 ], "b":{},
      "c":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud834\\udd1eé" }
      """
    #expect(
      try JSONParser.parse(text)
        == .object([
          "a": .array([
            .null, .bool(true), .bool(false), .integer(0), .integer(12), .real(1), .real(-0.0025),
            .real(100),
          ]),
          "b": .object([:]),
          "c": .string("\"\\/\u{8}\u{c}\n\r\té𝄞é"),
        ]))
  }

  @Test func integersThatDoNotFitBecomeReals() throws {
    #expect(try JSONParser.parse("9223372036854775807") == .integer(.max))
    #expect(try JSONParser.parse("9223372036854775808") == .real(0x1p63))
  }

  @Test func whatIsPrintedParsesToTheSame() throws {
    for seed in UInt64(1)...200 {
      var generator = SeededGenerator(seed: seed)
      let value = randomContent(&generator, depth: 3)
      #expect(try JSONParser.parse(value.text) == value, "seed \(seed)")
    }
  }

  private func randomContent(_ generator: inout SeededGenerator, depth: Int) -> JSONContent {
    switch Int.random(in: 0...(depth > 0 ? 6 : 4), using: &generator) {
    case 0: return .null
    case 1: return .bool(Bool.random(using: &generator))
    case 2: return .integer(Int.random(in: .min ... .max, using: &generator))
    case 3:
      let value = Double(bitPattern: generator.next())
      return .real(value.isFinite ? value : 0.5)
    case 4:
      return .string(
        String(
          String.UnicodeScalarView(
            (0..<4).compactMap { _ in
              Unicode.Scalar(UInt32.random(in: 0...0x10FFFF, using: &generator) >> 4)
            })))
    case 5:
      return .array((0..<3).map { _ in randomContent(&generator, depth: depth - 1) })
    default:
      var members: [String: JSONContent] = [:]
      for index in 0..<3 { members["k\(index)"] = randomContent(&generator, depth: depth - 1) }
      return .object(members)
    }
  }

  /// Text, defect, and the byte where it is.
  static let defects: [(String, CheckpointError.JSONDefect, Int)] = [
    ("", .unexpected(found: "the end", expected: "a value"), 0),
    ("[1,]", .unexpected(found: "']'", expected: "a value"), 3),
    ("[1 2]", .unexpected(found: "'2'", expected: "',' or ']'"), 3),
    (#"{"a" 1}"#, .unexpected(found: "'1'", expected: "':'"), 5),
    (#"{"a":1,}"#, .unexpected(found: "'}'", expected: "a key in quotation marks"), 7),
    (#"{"a":1 "b"}"#, .unexpected(found: "'\"'", expected: "',' or '}'"), 7),
    (#"{"a":1,"\u0061":2}"#, .duplicateKey("a"), 7),
    ("tru", .unexpected(found: "the end", expected: "true"), 3),
    ("NaN", .unexpected(found: "'N'", expected: "a value"), 0),
    ("01", .unexpected(found: "'1'", expected: "the end"), 1),
    ("+1", .unexpected(found: "'+'", expected: "a value"), 0),
    ("-", .unexpected(found: "the end", expected: "a digit"), 1),
    ("1.", .unexpected(found: "the end", expected: "a digit"), 2),
    ("1e", .unexpected(found: "the end", expected: "a digit"), 2),
    ("1e999", .numberOutOfRange("1e999"), 0),
    (#"""#, .unexpected(found: "the end", expected: "the end of a string"), 1),
    ("\"\n\"", .controlCharacter, 1),
    (#""\x""#, .invalidEscape, 1),
    (#""\u12g4""#, .invalidEscape, 1),
    (#""\ud834""#, .invalidEscape, 1),
    (#""\ud834\u0041""#, .invalidEscape, 1),
    (#""\udd1e""#, .invalidEscape, 1),
    ("\u{1}", .unexpected(found: "byte 1", expected: "a value"), 0),
    (String(repeating: "[", count: 200), .nestedDeeper(than: 128), 129),
    ("[\"a" + String(repeating: "\u{301}\u{323}", count: 16) + "\"]", .combiningMarks, 1),
  ]

  /// Sorting the marks of a key took time by the square of their number.
  @Test func marksOfRealTextAreRead() throws {
    let text = "e" + String(repeating: "\u{301}", count: 30) + "x\u{323}"
    #expect(try JSONParser.parse("[\"\(text)\"]") == .array([.string(text)]))
  }

  @Test func textThatATerminalObeysIsWrittenAsEscapes() throws {
    let text = "a\u{1B}\u{85}\u{202E}\u{2028}\u{E0001}ü😀"
    let written = JSONContent.string(text).text
    #expect(written == #""a\u001b\u0085\u202e\u2028\udb40\udc01ü😀""#)
    #expect(try JSONParser.parse(written) == .string(text))
  }

  @Test func everyDefectIsNamedWithItsPlace() {
    for (text, defect, offset) in Self.defects {
      do throws(JSONParser.Failure) {
        _ = try JSONParser.parse(text)
        Issue.record("\(text) parsed")
      } catch {
        #expect(error.defect == defect, "\(text)")
        #expect(error.offset == offset, "\(text)")
      }
    }
  }
}

@Suite struct JSONValueTests {
  private func value() throws -> JSONValue {
    try JSONValue(
      parsing: """
        {"type": "sequential", "eps": 1e-5, "odd key": 1, "nothing": null,
         "layers": [{}, {"kernel_size": "3", "bias": true, "pad": [1, 2.5]}]}
        """, name: "model", file: "f.bin")
  }

  @Test func valuesReadByTheirPath() throws {
    let model = try value()
    #expect(try model["type"].string() == "sequential")
    #expect(try model["eps"].double() == 1e-5)
    #expect(try model["odd key"].double() == 1)
    #expect(try model["layers"][1]["bias"].bool())
    #expect(try model["layers"].array().count == 2)
    #expect(try model["layers"].array()[1].path == "model.layers[1]")
    #expect(try model.keys() == ["eps", "layers", "nothing", "odd key", "type"])
  }

  @Test func absentAndNullTakeTheDefault() throws {
    let model = try value()
    #expect(try model["stride"].integer(default: 1) == 1)
    #expect(try model["nothing"].string(default: "none") == "none")
    #expect(try model["no"]["such"]["place"].double(default: 0.5) == 0.5)
    #expect(try model["layers"][1]["bias"].bool(default: false))
    #expect(!model["stride"].exists && !model["nothing"].exists && model["eps"].exists)
  }

  @Test func errorsNameThePath() throws {
    let model = try value()
    let cases: [(String, () throws -> Void)] = [
      (
        "model.layers[1].kernel_size is \"3\", expected an integer\n  at f.bin",
        { _ = try model["layers"][1]["kernel_size"].integer() }
      ),
      (
        "model.layers[1].kernel_size is \"3\", expected an integer\n  at f.bin",
        { _ = try model["layers"][1]["kernel_size"].integer(default: 1) }
      ),
      (
        "model.layers[3] is missing\n  at f.bin",
        { _ = try model["layers"][3]["kernel_size"].integer() }
      ),
      (
        "model.layer is missing\n  at f.bin\n  Did you mean layers?",
        { _ = try model["layer"][3]["kernel_size"].integer() }
      ),
      (
        "model.type is \"sequential\", expected an object\n  at f.bin",
        { _ = try model["type"]["name"].integer(default: 3) }
      ),
      (
        "model.layers is a list of 2, expected an object\n  at f.bin",
        { _ = try model["layers"]["x"].string() }
      ),
      (
        "model.eps is 1e-05, expected a list\n  at f.bin", { _ = try model["eps"][0].string() }
      ),
      (
        "model.layers[1].pad[1] is 2.5, expected an integer\n  at f.bin",
        { _ = try model["layers"][1]["pad"].integers() }
      ),
      (
        "model[\"odd key\"] is 1, expected true or false\n  at f.bin",
        { _ = try model["odd key"].bool() }
      ),
      (
        "model.nothing is null, expected a number\n  at f.bin",
        { _ = try model["nothing"].double() }
      ),
      (
        "unknown key model.layers[1].pad\n  at f.bin\n  Did you mean padding?",
        {
          try model["layers"][1].requireKeys(in: ["kernel_size", "bias", "padding"])
        }
      ),
      (
        "model.type is \"sequential\", expected vit or t5\n  at f.bin\n  Try the other.",
        { throw model["type"].wrong("vit or t5", hint: "Try the other.") }
      ),
    ]
    for (expected, body) in cases { #expect(message(for: "no path here", body) == expected) }
  }
}
