import Foundation
import Metrics
import Testing

@Suite struct SummaryTests {
  @Test func summaryOfKnownValues() throws {
    let summary = Summary([2, 4, 4, 4, 5, 5, 7, 9])
    #expect(summary.count == 8)
    #expect(summary.mean == 5)
    let deviation = try #require(summary.standardDeviation)
    // sum of squares 32 over n - 1 = 7; a handful of roundings.
    #expect(abs(deviation - (32.0 / 7).squareRoot()) <= 8 * Double.ulpOfOne)
    let error = try #require(summary.standardError)
    #expect(abs(error - deviation / 8.0.squareRoot()) <= 2 * Double.ulpOfOne)
    #expect(summary.min == 2 && summary.median == 4.5 && summary.max == 9)
  }

  @Test func oneValueHasNoDeviation() {
    let summary = Summary([3.5])
    #expect(summary.mean == 3.5 && summary.median == 3.5)
    #expect(summary.standardDeviation == nil && summary.standardError == nil)
  }

  @Test func noValuesHaveNoMean() {
    let summary = Summary([Double]())
    #expect(summary.count == 0 && summary.mean.isNaN && summary.median.isNaN)
    #expect(summary.standardDeviation == nil)
  }

  @Test func equalValuesHaveZeroDeviationAndTheirOwnMean() {
    let summary = Summary(Array(repeating: 0.1, count: 10))
    #expect(summary.mean == 0.1)
    #expect(summary.standardDeviation == 0)
  }

  @Test func deviationDoesNotCancelUnderALargeOffset() throws {
    let deviation = try #require(Summary([1e9 + 1, 1e9 + 2, 1e9 + 3]).standardDeviation)
    // The textbook difference of squares would be off by 1e18 eps = 200. The mean carries one ulp
    // of 1e9, 1.2e-7, which enters squared, and so do its summands.
    #expect(abs(deviation - 1) <= 1e-7)
  }

  @Test func extremeValuesNeitherOverflowNorUnderflow() throws {
    let large = Summary([-1.5e308, 1.5e308])
    #expect(large.mean == 0)
    #expect(abs(large.median) == 0)
    let small = try #require(Summary([1e-300, 3e-300]).standardDeviation)
    #expect(abs(small / (2.0.squareRoot() * 1e-300) - 1) <= 8 * Double.ulpOfOne)
  }

  @Test func orderOfValuesDoesNotChangeABit() {
    let values = (0..<101).map { sin(Double($0)) * exp(Double($0) / 7) }
    #expect(Summary(values) == Summary(values.reversed()))
  }

  @Test func nonFiniteValuesShow() {
    let withNaN = Summary([1, .nan, 2])
    #expect(withNaN.count == 3 && withNaN.mean.isNaN && withNaN.max.isNaN)
    #expect(withNaN.standardDeviation?.isNaN == true)
    let infinite = Summary([1, .infinity, 2])
    #expect(infinite.mean == .infinity && infinite.max == .infinity)
    #expect(infinite.min == 1 && infinite.median == 2)
    #expect(infinite.standardDeviation?.isNaN == true)
    #expect(Summary([-.infinity, .infinity]).mean.isNaN)
  }
}
