import CKernels
import TensorModule
import Testing

private let cases = [
  WindowCase((5, 6, 3), kernel: (3, 3), padding: (1, 1)),
  WindowCase((7, 5, 4), kernel: (3, 2), stride: (2, 3), padding: (1, 0)),
  WindowCase((9, 8, 2), kernel: (3, 3), padding: (2, 2), dilation: (2, 2)),
  WindowCase((6, 6, 6), kernel: (3, 3), padding: (1, 1), groups: 6),
  WindowCase(
    (6, 7, 6), kernel: (2, 3), stride: (1, 2), padding: (0, 1), dilation: (3, 2), groups: 3),
  WindowCase((4, 4, 5), kernel: (4, 4), stride: (4, 4)),
  WindowCase((3, 3, 70), kernel: (1, 1)),
  WindowCase((3, 3, 70), kernel: (2, 2), padding: (1, 1), groups: 1),
  WindowCase((1, 9, 2), kernel: (1, 5), padding: (0, 2)),
  // Whole kernel rows and columns lie outside.
  WindowCase((2, 2, 1), kernel: (5, 5), padding: (4, 4)),
]
/// As PyTorch asks, padding is at most half the window.
private let poolCases = [
  WindowCase((6, 6, 3), kernel: (2, 2), stride: (2, 2)),
  WindowCase((7, 5, 17), kernel: (3, 3), stride: (2, 1), padding: (1, 1)),
  WindowCase((9, 9, 2), kernel: (3, 2), padding: (1, 1), dilation: (2, 3)),
  WindowCase((4, 4, 300), kernel: (4, 4)),
]

@Suite struct WindowTests {
  @Test(arguments: cases) func unfoldPicksWhatANaiveLoopPicks(c: WindowCase) {
    func check<S: EngineScalar>(_: S.Type) {
      var w = c.window
      let image = (0..<c.imageCount).map { S($0 + 1) }
      var rows = [S](repeating: .nan, count: c.rowCount)
      ck_unfold(S.kernelType, &w, image, &rows)
      let (groups, width) = (Int(w.groups), Int(w.channels / w.groups))
      var expected: [S] = []
      for taps in c.offsets {
        for group in 0..<groups {
          for tap in taps {
            for i in 0..<width { expected.append(tap.map { image[$0 + group * width + i] } ?? 0) }
          }
        }
      }
      #expect(rows == expected)
    }
    check(Float.self)
    check(Double.self)
  }

  @Test(arguments: cases) func foldIsTheTransposeOfUnfoldAndAdds(c: WindowCase) {
    func check<S: EngineScalar>(_: S.Type) {
      var w = c.window
      var random = TestRandom(seed: 61)
      // Small integers: every sum is exact, so the identity holds to the bit.
      let x = (0..<c.imageCount).map { _ in S(random.uniform(-8, 8).rounded()) }
      let y = (0..<c.rowCount).map { _ in S(random.uniform(-8, 8).rounded()) }
      var rows = [S](repeating: .nan, count: c.rowCount)
      ck_unfold(S.kernelType, &w, x, &rows)
      var image = x
      ck_fold(S.kernelType, &w, y, &image)
      let left = zip(rows, y).reduce(S(0)) { $0 + $1.0 * $1.1 }
      let right = zip(zip(image, x), x).reduce(S(0)) { $0 + ($1.0.0 - $1.0.1) * $1.1 }
      #expect(left == right)
    }
    check(Float.self)
    check(Double.self)
  }

  @Test(arguments: poolCases) func maxPoolAgreesWithANaiveLoop(c: WindowCase) {
    func check<S: EngineScalar>(_: S.Type) {
      var w = c.window
      var random = TestRandom(seed: 62)
      // Few values, so that there are ties; all negative, so that padding would win as zero.
      let image = (0..<c.imageCount).map { _ in S(random.uniform(-9, -1).rounded()) }
      var out = [S](repeating: .nan, count: c.outCount)
      var index = [Int32](repeating: -1, count: c.outCount)
      ck_max_pool(S.kernelType, &w, image, &out, &index)
      let channels = Int(w.channels)
      for (position, taps) in c.offsets.enumerated() {
        for channel in 0..<channels {
          var winner: Int?
          for offset in taps.compactMap({ $0 }) {
            if winner == nil || image[offset + channel] > image[winner!] {
              winner = offset + channel
            }
          }
          #expect(index[position * channels + channel] == Int32(winner!))
          #expect(out[position * channels + channel] == image[winner!])
        }
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func maxPoolLetsTheFirstNanWinAndMinusInfinityBeAWinner() {
    var w = WindowCase((2, 2, 3), kernel: (2, 2), stride: (2, 2)).window
    let (infinity, nan) = (Float.infinity, Float.nan)
    // Channel 0: NaN between numbers; 1: all minus infinity; 2: two NaN, then plus infinity.
    let image: [Float] = [
      5, -infinity, nan, nan, -infinity, 1, 7, -infinity, nan, 9, -infinity, infinity,
    ]
    var out = [Float](repeating: 0, count: 3)
    var index = [Int32](repeating: -1, count: 3)
    ck_max_pool(CK_F32, &w, image, &out, &index)
    #expect(out[0].isNaN && out[1] == -infinity && out[2].isNaN)
    #expect(index == [3, 1, 2])
  }

  @Test(arguments: poolCases) func averagePoolCountsPaddingAsZeros(c: WindowCase) {
    var w = c.window
    var random = TestRandom(seed: 63)
    let image: [Float] = random.array(c.imageCount)
    var out = [Float](repeating: .nan, count: c.outCount)
    ck_average_pool(CK_F32, &w, image, &out)
    let channels = Int(w.channels)
    var expected: [Double] = []
    for taps in c.offsets {
      for channel in 0..<channels {
        let sum = taps.reduce(0.0) { $0 + ($1.map { Double(image[$0 + channel]) } ?? 0) }
        expected.append(sum / Double(c.taps))
      }
    }
    // The same sum in double, rounded once.
    expectUlps(out, expected, within: 0.5001)
  }

  @Test(arguments: poolCases) func averagePoolTransposeIsItsAdjointAndAdds(c: WindowCase) {
    var w = c.window
    var random = TestRandom(seed: 64)
    let x: [Double] = random.array(c.imageCount)
    let y: [Double] = random.array(c.outCount)
    var pooled = [Double](repeating: .nan, count: c.outCount)
    ck_average_pool(CK_F64, &w, x, &pooled)
    var image = [Double](repeating: 1, count: c.imageCount)
    ck_average_pool_transpose(CK_F64, &w, y, &image)
    let left = zip(pooled, y).reduce(0) { $0 + $1.0 * $1.1 }
    let right = zip(image, x).reduce(0) { $0 + ($1.0 - 1) * $1.1 }
    // Up to 5,000 products below 1, some 2^-52 off after the detour over 1.
    #expect(abs(left - right) < 1e-12)
  }

  @Test func scatterAddIsTheTransposeOfGather() {
    func check<S: EngineScalar>(_: S.Type) {
      let x: [S] = [10, 20, 30]
      let index: [Int32] = [2, 0, 2, 1]
      var out = [S](repeating: .nan, count: 4)
      ck_gather(S.kernelType, x, index, &out, 0, 4)
      #expect(out == [30, 10, 30, 20])
      ck_gather(S.kernelType, [S](arrayLiteral: 1, 2, 3), index, &out, 1, 4)
      #expect(out == [33, 11, 33, 22])
      var sum = x
      ck_scatter_add(S.kernelType, [S](arrayLiteral: 1, 2, 4, 8), index, &sum, 4)
      #expect(sum == [12, 28, 35])
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func placesAreApartByTheStride() {
    // More than one vector, and a rest.
    let index = (0..<37).map { Int32($0 % 5) }
    let first = (0..<37).map { Int32(1000 - $0) }
    var places = [Int32](repeating: -1, count: 38)
    ck_places(index, first, 7, &places, 37)
    for i in 0..<37 { #expect(Int(places[i]) == 1000 - i + 7 * (i % 5)) }
    #expect(places[37] == -1)
  }
}
