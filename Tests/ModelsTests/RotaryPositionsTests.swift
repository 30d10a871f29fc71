import Checkpoints
import Foundation
import Testing

@testable import Models

/// Angles against their definitions, and the spelling of Transformers 5 against that of 4.
struct RotaryPositionsTests {
  @Test func plainAnglesAreThoseOfTheDefinition() throws {
    let found = try positions(#""rope_theta": 100"#, width: 6, count: 4)
    for t in 0..<4 {
      for column in 0..<6 {
        let angle = Double(t) * pow(100, -Double(2 * (column % 3)) / 6)
        // The same two roundings of the angle.
        #expect(abs(found.cosines[t * 6 + column] - cos(angle)) < 1e-15)
        #expect(abs(found.sines[t * 6 + column] - sin(angle)) < 1e-15)
      }
    }
  }

  @Test func columnsThatAreNotTurnedStay() throws {
    let found = try positions(#""rope_theta": 100"#, width: 8, count: 3, share: 0.5)
    #expect(found.turned == 4)
    for t in 0..<3 {
      #expect(found.cosines[(t * 8 + 4)..<(t * 8 + 8)].allSatisfy { $0 == 1 })
      #expect(found.sines[(t * 8 + 4)..<(t * 8 + 8)].allSatisfy { $0 == 0 })
    }
  }

  @Test(arguments: [
    (
      #""rope_theta": 50, "rope_scaling": {"type": "linear", "factor": 2}"#,
      #""rope_parameters": {"rope_type": "linear", "rope_theta": 50, "factor": 2}"#
    ),
    (
      #""rope_theta": 50"#,
      #""rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 50}}"#
    ),
    (
      #""rope_theta": 50, "rope_scaling": {"rope_type": "yarn", "factor": 4}"#,
      #""rope_parameters": {"rope_type": "yarn", "rope_theta": 50, "factor": 4}"#
    ),
    (
      #""rope_theta": 50, "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "#
        + #""high_freq_factor": 4, "original_max_position_embeddings": 4}"#,
      #""rope_parameters": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "#
        + #""high_freq_factor": 4, "original_max_position_embeddings": 4, "rope_theta": 50}"#
    ),
  ])
  func bothSpellingsSayTheSame(_ before: String, _ now: String) throws {
    #expect(try positions(before) == positions(now))
  }

  /// One wave that stays, one that is stretched eight times, and what is between.
  @Test func wavesOfLlama3() throws {
    let found = try positions(
      #""rope_theta": 10000, "rope_scaling": {"rope_type": "llama3", "factor": 8, "#
        + #""low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64}"#,
      width: 8, count: 2)
    // Frequencies 1, 0.1, 0.01, 0.001: waves of 6.3, 63, 628, 6283 tokens; the ramp is from 16 to 64.
    let smooth = (64 / (2 * Double.pi / 0.1) - 1) / 3
    let expected = [1, (1 - smooth) * 0.1 / 8 + smooth * 0.1, 0.01 / 8, 0.001 / 8]
    for (column, frequency) in expected.enumerated() {
      #expect(abs(found.sines[8 + column] - sin(frequency)) < 1e-15)
    }
  }

  /// Of samples of which the first positions are read the angles are those of whole samples.
  @Test(arguments: [
    #""rope_scaling": {"rope_type": "dynamic", "factor": 2}"#,
    #""rope_scaling": {"rope_type": "longrope", "factor": 4, "short_factor": [1, 1], "#
      + #""long_factor": [2, 3], "original_max_position_embeddings": 4}"#,
  ])
  func anglesOfTheFirstPositions(_ scaling: String) throws {
    let config = try JSONValue(
      parsing: #"{"max_position_embeddings": 8, "rope_theta": 50, \#(scaling)}"#, name: "config",
      file: nil)
    let settings = try RotarySettings(config, width: 4)
    let (all, first) = (try settings.positions(20), try settings.positions(3, of: 20))
    #expect(first.positions == 3)
    #expect(first.sines == Array(all.sines.prefix(3 * 4)))
    #expect(try first != settings.positions(3))
  }

  private func positions(
    _ settings: String, width: Int = 8, count: Int = 6, share: Double? = nil
  ) throws -> RotaryPositions {
    let config = try JSONValue(
      parsing: #"{"max_position_embeddings": 16, \#(settings)}"#, name: "config", file: nil)
    return try RotarySettings(config, width: width).positions(count, share: share)
  }
}
