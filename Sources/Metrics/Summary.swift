import Foundation

/// What a set of numbers looks like: one per batch, usually.
///
/// Values that are not finite take part: a NaN makes everything but the count NaN, and an infinite
/// value shows in the mean and the extremes. Leaving them out is for whoever knows why they are
/// there.
public struct Summary: Equatable, Sendable {
  /// How many there are.
  public var count: Int
  /// NaN for no values, as are `min`, `median` and `max`.
  public var mean: Double
  /// Of the sample: `sqrt(sum (x - mean)^2 / (n - 1))`. `nil` for fewer than two values.
  public var standardDeviation: Double?
  /// The least value.
  public var min: Double
  /// The middle value, or the mean of the two middle ones.
  public var median: Double
  /// The largest value.
  public var max: Double

  /// Of the mean: `standardDeviation / sqrt(n)`, for independent values.
  public var standardError: Double? { standardDeviation.map { $0 / Double(count).squareRoot() } }

  /// Of values in any order; sums are taken in the given one.
  public init(_ values: some Collection<Double>) {
    count = values.count
    (mean, standardDeviation, min, median, max) = (.nan, nil, .nan, .nan, .nan)
    if values.isEmpty { return }
    let ordered = values.sorted()
    let n = Double(count)
    if ordered.contains(where: \.isNaN) {
      if count > 1 { standardDeviation = .nan }
      return
    }
    (min, max) = (ordered[0], ordered[count - 1])
    // In ascending order and about the middle value: the same bits for every order of the values,
    // no cancellation, and exact for equal values.
    let middle = ordered[count / 2]
    median = count % 2 == 1 ? middle : ordered[count / 2 - 1] / 2 + middle / 2
    guard min.isFinite && max.isFinite else {
      mean = ordered.reduce(0, +)
      if count > 1 { standardDeviation = .nan }
      return
    }
    // Each difference is divided before it is added, so that no sum overflows.
    mean = middle + ordered.reduce(0) { $0 + ($1 / n - middle / n) }
    guard count > 1 else { return }
    let largest = Swift.max(abs(max - mean), abs(min - mean))
    guard largest > 0 && largest.isFinite else {
      standardDeviation = largest
      return
    }
    let sum = ordered.reduce(0) {
      let scaled = ($1 - mean) / largest
      return $0 + scaled * scaled
    }
    standardDeviation = largest * (sum / (n - 1)).squareRoot()
  }
}
