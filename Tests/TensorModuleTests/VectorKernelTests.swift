import CKernels
import TensorModule
import Testing

/// None, one, less than a vector, and several blocks with a rest.
private let lengths = [0, 1, 7, 4096, 1_000_003]

/// Sums of products in double over at most a million terms, in another order than ours: a random
/// walk of rounding errors, sqrt(n) 2^-53 of the sum of magnitudes, and a margin of ten.
private func tolerance(_ n: Int, _ magnitude: Double) -> Double {
  10 * Double(n).squareRoot() * 0x1p-53 * magnitude
}

@Suite struct VectorKernelTests {
  @Test(arguments: lengths) func dotAgreesWithANaiveSumInDouble(n: Int) {
    func check<S: EngineScalar>(_: S.Type) {
      let (x, y): (Vector<S>, Vector<S>) = (vector(n, seed: 41), vector(n, seed: 42))
      var (sum, magnitude) = (0.0, 0.0)
      for i in 0..<n {
        let product = Double(x.pointer[i]) * Double(y.pointer[i])
        sum += product
        magnitude += abs(product)
      }
      let found = ck_dot(S.kernelType, x.pointer, y.pointer, n)
      #expect(abs(found - sum) <= tolerance(n, magnitude))
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func dotOfManyOnesIsExact() {
    let n = 300_001
    let x = Vector<Float>(count: n)
    ck_fill(CK_F32, 1, x.pointer, n)
    #expect(ck_dot(CK_F32, x.pointer, x.pointer, n) == Double(n))
  }

  @Test(arguments: lengths) func conjugateGradientStepAgreesWithNaiveLoops(n: Int) {
    func check<S: EngineScalar>(_: S.Type) {
      let (v, w, g): (Vector<S>, Vector<S>, Vector<S>) = (
        vector(n, seed: 43), vector(n, seed: 44), vector(n, seed: 45)
      )
      let (x, r): (Vector<S>, Vector<S>) = (vector(n, seed: 46), vector(n, seed: 47))
      let (x0, r0): (Vector<S>, Vector<S>) = (vector(n, seed: 46), vector(n, seed: 47))
      var sums = [Double](repeating: .nan, count: 3)
      ck_conjugate_gradient_step(
        S.kernelType, 0.37, v.pointer, w.pointer, x.pointer, r.pointer, g.pointer, n, &sums)
      var worst = 0.0
      var expected = [0.0, 0, 0]
      var magnitude = [0.0, 0, 0]
      for i in 0..<n {
        let (a, b) = (Double(x.pointer[i]), Double(r.pointer[i]))
        let exactX = Double(x0.pointer[i]) + 0.37 * Double(v.pointer[i])
        let exactR = Double(r0.pointer[i]) - 0.37 * Double(w.pointer[i])
        worst = max(worst, abs(a - exactX), abs(b - exactR))
        let products = (b * b, a * Double(g.pointer[i]), a * b)
        expected[0] += products.0
        expected[1] += products.1
        expected[2] += products.2
        magnitude[0] += abs(products.0)
        magnitude[1] += abs(products.1)
        magnitude[2] += abs(products.2)
      }
      // Half an ulp of a number below 2, once (fused, or float from double) or twice.
      #expect(worst <= Double(S(1).ulp))
      for k in 0..<3 { #expect(abs(sums[k] - expected[k]) <= tolerance(n, magnitude[k])) }
    }
    check(Float.self)
    check(Double.self)
  }

  private func vector<S: EngineScalar>(_ n: Int, seed: UInt64) -> Vector<S> {
    var random = TestRandom(seed: seed)
    let vector = Vector<S>(count: n)
    for i in 0..<n { vector.pointer[i] = S(Double(Int64(bitPattern: random.next())) * 0x1p-63) }
    return vector
  }
}
