import Foundation
import Testing

@testable import Checkpoints

struct SettingTextTests {
  /// Journals have notes of checkpoints as strings, of before some of them named settings.
  @Test(arguments: [#"["allow more with ","memory"," or less"]"#, #""a note""#])
  func textsOfJournalsAreRead(_ json: String) throws {
    let text = try JSONDecoder().decode(SettingText.self, from: Data(json.utf8))
    #expect(text == (json.hasPrefix("[") ? "allow more with \(.memory) or less" : "a note"))
  }

  @Test(arguments: ["[]", #"["a","memory"]"#, "3"])
  func otherThingsAreNone(_ json: String) {
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(SettingText.self, from: Data(json.utf8))
    }
  }
}
