import Testing

@testable import Metrics

@Suite struct SignTestTests {
  /// Sums of binomial coefficients in exact fractions, by another program.
  @Test(arguments: [
    (10, 9, 0.021484375), (7, 7, 0.015625), (12, 2, 0.03857421875), (20, 12, 0.5034446716308594),
    (100, 97, 2.630866896130179e-25), (1000, 540, 0.01244414627717178),
    (5000, 2700, 1.6458781103442193e-08),
  ])
  func pIsTheSumOfTheTails(n: Int, wins: Int, expected: Double) {
    let p = SignTest(wins: wins, losses: n - wins).p
    // One rounding for each factor of the largest term, and the exponential makes an absolute error of a
    // logarithm of some thousand a relative one.
    #expect(abs(p - expected) <= expected * Double(n + 16) * 4 * Double.ulpOfOne, "\(p)")
    #expect(SignTest(wins: n - wins, losses: wins).p == p, "both sides")
  }

  @Test func everyCountOfTenIsThatOfTheDefinition() {
    // C(10, i)
    let coefficients = [1.0, 10, 45, 120, 210, 252, 210, 120, 45, 10, 1]
    for wins in 0...10 {
      let tail = coefficients.prefix(min(wins, 10 - wins) + 1).reduce(0, +)
      let expected = min(1, 2 * tail / 1024)
      let p = SignTest(wins: wins, losses: 10 - wins).p
      #expect(abs(p - expected) <= 1e-14, "\(wins): \(p)")
    }
  }

  @Test func nothingAndHalfTellNothing() {
    #expect(SignTest(wins: 0, losses: 0).p == 1)
    #expect(SignTest(wins: 1, losses: 0).p == 1)
    #expect(SignTest(wins: 3, losses: 3).p == 1)
    #expect(SignTest(wins: 50_000, losses: 50_000).p == 1)
  }

  @Test func leastIsThatOfAllOnOneSide() {
    for n in [1, 2, 3, 6, 10, 100] {
      let p = SignTest(wins: n, losses: 0).p
      #expect(abs(p - SignTest.least(pairs: n)) <= 1e-13 * p)
    }
    #expect(SignTest.least(pairs: 5) > 0.05 && SignTest.least(pairs: 6) < 0.05)
    #expect(SignTest.least(pairs: 0) == 1)
    // Below the numbers of double.
    #expect(SignTest(wins: 5000, losses: 0).p == 0)
  }
}

@Suite struct HolmTests {
  /// The example of three: 0.01, 0.02, 0.03 become 0.03, 0.04, 0.04.
  @Test func eachIsMultipliedByWhatIsLeftAndNoLessThanTheOneBefore() {
    #expect(
      zip(holmAdjusted([0.02, 0.03, 0.01], of: 3), [0.04, 0.04, 0.03])
        .allSatisfy { abs($0 - $1) < 1e-15 })
    #expect(holmAdjusted([0.5, 0.6], of: 2) == [1, 1])
    #expect(holmAdjusted([], of: 0) == [])
  }

  /// What might have been tested counts as p = 1, which is what it comes to in the list itself.
  @Test func testsThatAreNotGivenCountAsOnes() {
    let some = holmAdjusted([0.001, 0.004], of: 5)
    #expect(some == Array(holmAdjusted([0.001, 0.004, 1, 1, 1], of: 5).prefix(2)))
    #expect(zip(some, [0.005, 0.016]).allSatisfy { abs($0 - $1) < 1e-15 })
  }
}
