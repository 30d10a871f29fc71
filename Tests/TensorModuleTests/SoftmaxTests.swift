import CKernels
import Foundation
import TensorModule
import Testing

/// Columns on both sides of the vector widths (8 and 16), and one.
private let widths = [1, 2, 7, 8, 9, 15, 16, 17, 33, 200]

/// The softmax of attention and its derivative against plain sums in double.
@Suite struct SoftmaxTests {
  /// Exponentials of a few ulps, one rounding of the reciprocal sum and one of the product. In
  /// double the kernel's sum has errors too. Both begin with the rounded difference from the
  /// largest score.
  @Test func rowsAreNormalisedExponentials() {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 41)
      for columns in widths {
        let rows = 3
        let scores: [S] = random.array(rows * columns, -6, 6)
        let bias: [S] = random.array(rows * columns, -3, 3)
        // Hidden keys in another place for every width; a causal bias hides more.
        let mask = (0..<columns).map { Int32(columns > 2 && $0 % 3 == columns % 3 ? 0 : 1) }
        var causal = bias
        for r in 0..<rows {
          for c in 0..<columns where c > r && mask[0] == 1 { causal[r * columns + c] = -.infinity }
        }
        for (bias, mask) in [(nil, nil), (bias, nil), (nil, mask), (bias, mask), (causal, mask)]
          as [([S]?, [Int32]?)]
        {
          var out = scores
          ck_softmax(S.kernelType, bias, mask, rows, columns, &out)
          var sum = scores
          if let bias { sum = zip(scores, bias).map { $0 + $1 } }
          let expected = softmax(sum, mask: mask, columns: columns)
          expectUlps(out, expected, within: 6, "\(columns) columns")
        }
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func extremeScoresNeitherOverflowNorVanish() {
    func check<S: EngineScalar>(_: S.Type) {
      let large = S.greatestFiniteMagnitude / 4
      var out: [S] = [large, -large, large, 0, -large, -large, 1000, 1000, 1000]
      ck_softmax(S.kernelType, nil, nil, 3, 3, &out)
      let third = S(1.0 / 3)
      #expect(out[..<6] == [0.5, 0, 0.5, 1, 0, 0])
      expectUlps(Array(out[6...]), [Double](repeating: Double(third), count: 3), within: 1)
    }
    check(Float.self)
    check(Double.self)
  }

  /// As with a mask that adds the least finite number: Transformers gives equal weights.
  @Test func rowsWithoutAKeyHaveEqualWeights() {
    func check<S: EngineScalar>(_: S.Type) {
      for columns in widths {
        var out = [S](repeating: 3, count: columns)
        let mask = [Int32](repeating: 0, count: columns)
        ck_softmax(S.kernelType, nil, mask, 1, columns, &out)
        #expect(out == [S](repeating: S(1 / Double(columns)), count: columns))
        out = (0..<columns).map { S($0) }
        let bias = [S](repeating: -.infinity, count: columns)
        ck_softmax(S.kernelType, bias, nil, 1, columns, &out)
        #expect(out == [S](repeating: S(1 / Double(columns)), count: columns))
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func notANumberStaysOne() {
    func check<S: EngineScalar>(_: S.Type) {
      for columns in widths {
        var out = [S](repeating: 1, count: columns)
        out[columns / 2] = .nan
        ck_softmax(S.kernelType, nil, nil, 1, columns, &out)
        #expect(out.contains { $0.isNaN }, "\(columns) columns")
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func derivativeIsDiagonalMinusOuterProduct() {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 42)
      for columns in widths {
        let rows = 3
        let scores: [S] = random.array(rows * columns, -4, 4)
        let x: [S] = random.array(rows * columns, -2, 2)
        var p = scores
        ck_softmax(S.kernelType, nil, nil, rows, columns, &p)
        for factor in [1.0, -0.375] {
          var out = x
          ck_softmax_derivative(S.kernelType, p, rows, columns, factor, &out)
          var expected = [Double](repeating: 0, count: x.count)
          var scale = expected
          for r in 0..<rows {
            let row = r * columns..<(r + 1) * columns
            let mean = row.reduce(0.0) { $0 + Double(p[$1]) * Double(x[$1]) }
            for i in row {
              expected[i] = factor * Double(p[i]) * (Double(x[i]) - mean)
              // x and its mean are at most 2, rounded before they are subtracted.
              scale[i] = abs(factor) * Double(p[i]) * 4
            }
          }
          // In double the mean here is a sum in another order: one rounding per eight terms.
          expectUlps(out, expected, scale: scale, within: 2, "\(columns) columns")
        }
      }
    }
    check(Float.self)
    check(Double.self)
  }

  private func softmax<S: EngineScalar>(
    _ scores: [S], mask: [Int32]?, columns: Int
  ) -> [Double] {
    var result = [Double](repeating: 0, count: scores.count)
    for first in stride(from: 0, to: scores.count, by: columns) {
      let row = first..<first + columns
      let visible = row.filter { mask?[$0 - first] != 0 }
      let best = visible.map { scores[$0] }.max()!
      for i in visible { result[i] = exp(Double(scores[i] - best)) }
      // Two sums: of the terms, and of what the first loses (Neumaier 1974; terms are positive).
      var (sum, lost) = (0.0, 0.0)
      for i in row {
        let (before, term) = (sum, result[i])
        sum += term
        lost += before >= term ? (before - sum) + term : (term - sum) + before
      }
      sum += lost
      for i in row { result[i] /= sum }
    }
    return result
  }
}
