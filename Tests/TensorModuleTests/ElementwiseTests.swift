import CKernels
import TensorModule
import Testing

private let lengths = [0, 1, 7, 16, 1029]

@Suite struct ElementwiseTests {
  @Test func multiplyAndAddAreExactlyRoundedAlsoInPlace() {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 21)
      for n in lengths {
        let (a, b): ([S], [S]) = (random.array(n), random.array(n))
        let product = zip(a, b).map { $0 * $1 }
        let sum = zip(a, b).map { $0 + $1 }
        var out = [S](repeating: .nan, count: n)
        ck_multiply(S.kernelType, a, b, &out, n, 0)
        #expect(out == product)
        ck_add(S.kernelType, a, b, &out, n)
        #expect(out == sum)
        out = a
        out.withUnsafeMutableBytes {
          ck_multiply(S.kernelType, $0.baseAddress, b, $0.baseAddress, n, 0)
        }
        #expect(out == product)
        out = b
        out.withUnsafeMutableBytes { ck_add(S.kernelType, a, $0.baseAddress, $0.baseAddress, n) }
        #expect(out == sum)
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func theLargestIsThatOfTheMagnitudesAndTellsWhatIsNotFinite() {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 23)
      for n in lengths {
        var x: [S] = random.array(n)
        #expect(Kernels.largest(x, count: n) == Double(x.map(abs).max() ?? 0))
        for value in [-S.infinity, S.nan, -S.nan] where n > 0 {
          x[n / 2] = value
          #expect(!Kernels.largest(x, count: n).isFinite)
        }
      }
      let small = [-S.leastNonzeroMagnitude, -S.zero]
      #expect(Kernels.largest(small, count: 2) == Double(S.leastNonzeroMagnitude))
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func multiplyAccumulateAddsToWhatIsThere() {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 22)
      for n in lengths {
        let (a, b, c): ([S], [S], [S]) = (random.array(n), random.array(n), random.array(n))
        var out = c
        ck_multiply(S.kernelType, a, b, &out, n, 1)
        // Fused or not: half an ulp of the product, half of the sum, both below 2.
        expectUlps(
          out, (0..<n).map { Double(c[$0]) + Double(a[$0]) * Double(b[$0]) },
          scale: [Double](repeating: 2, count: n), within: 1)
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func axpbyRoundsOnceAndDoesNotReadYWhenBIsZero() {
    var random = TestRandom(seed: 23)
    for n in lengths {
      let (x, y): ([Float], [Float]) = (random.array(n), random.array(n))
      var out = y
      ck_axpby(CK_F32, 0.3, x, -1.7, &out, n)
      // The double sum's own error is 2^-29 of a float ulp, except where it cancels.
      expectUlps(
        out, (0..<n).map { 0.3 * Double(x[$0]) - 1.7 * Double(y[$0]) }, within: 0.5001)
      out = [Float](repeating: .nan, count: n)
      ck_axpby(CK_F32, 0.5, x, 0, &out, n)
      #expect(out == x.map { $0 / 2 })
    }
  }

  @Test func fillSetsEveryElement() {
    for n in lengths {
      var x = [Float](repeating: .nan, count: n)
      ck_fill(CK_F32, 0.1, &x, n)
      #expect(x == [Float](repeating: 0.1, count: n))
      var y = [Double](repeating: .nan, count: n)
      ck_fill(CK_F64, 0.1, &y, n)
      #expect(y == [Double](repeating: 0.1, count: n))
    }
  }

  @Test func firstNonfiniteFindsTheFirstOfNanAndInfinity() {
    func check<S: EngineScalar>(_: S.Type) {
      let n = 2500
      // The largest finite number and subnormals are finite.
      var x = [S](repeating: S.greatestFiniteMagnitude, count: n)
      x[3] = S.leastNonzeroMagnitude
      #expect(ck_first_nonfinite(S.kernelType, x, n) == n)
      #expect(ck_first_nonfinite(S.kernelType, x, 0) == 0)
      for (position, bad) in [(2499, S.nan), (1024, -S.infinity), (1023, S.infinity), (0, -S.nan)] {
        x[position] = bad
        #expect(ck_first_nonfinite(S.kernelType, x, n) == position)
      }
    }
    check(Float.self)
    check(Double.self)
  }
}
