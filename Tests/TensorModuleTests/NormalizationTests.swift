import CKernels
import TensorModule
import Testing

private struct Case: CustomTestStringConvertible {
  var name: String
  var shape: ck_normalization
  var testDescription: String { name }
  var count: Int { Int(shape.items * shape.outer * shape.stride) }

  /// The elements of one group of one item.
  func members(_ item: Int, _ group: Int) -> [Int] {
    let (outer, inner, stride) = (Int(shape.outer), Int(shape.inner), Int(shape.stride))
    return (0..<outer).flatMap { o in
      (0..<inner).map { item * outer * stride + o * stride + group * inner + $0 }
    }
  }

  func forEachGroup(_ body: (_ index: Int, _ members: [Int]) -> Void) {
    for item in 0..<Int(shape.items) {
      for group in 0..<Int(shape.groups) {
        body(item * Int(shape.groups) + group, members(item, group))
      }
    }
  }
}

private func shape(
  _ items: Int, _ groups: Int, _ outer: Int, _ inner: Int, _ stride: Int, centered: Bool
) -> ck_normalization {
  ck_normalization(
    items: items, groups: groups, outer: outer, inner: inner, stride: stride,
    centered: centered ? 1 : 0, epsilon: 1e-5)
}

private let cases = [
  Case(name: "layer norm", shape: shape(3, 1, 1, 19, 19, centered: true)),
  Case(name: "RMS norm", shape: shape(3, 1, 1, 16, 16, centered: false)),
  Case(name: "group norm", shape: shape(2, 3, 6, 4, 12, centered: true)),
  Case(name: "instance norm", shape: shape(2, 5, 9, 1, 5, centered: true)),
]

private func normalize<S: EngineScalar>(_ c: Case, _ x: [S]) -> (xhat: [S], rstd: [Double]) {
  var s = c.shape
  var xhat = [S](repeating: .nan, count: x.count)
  var rstd = [Double](repeating: .nan, count: Int(s.items * s.groups))
  ck_normalize(S.kernelType, &s, x, &xhat, &rstd)
  return (xhat, rstd)
}

private func derivative<S: EngineScalar>(
  _ c: Case, _ xhat: [S], _ rstd: [Double], _ dx: [S], onto start: [S]? = nil
) -> [S] {
  var s = c.shape
  var out = start ?? [S](repeating: .nan, count: dx.count)
  ck_normalize_derivative(S.kernelType, &s, xhat, rstd, dx, &out, start == nil ? 0 : 1)
  return out
}

@Suite struct NormalizationTests {
  @Test(arguments: cases) fileprivate func normalizeFollowsItsDefinition(c: Case) {
    var random = TestRandom(seed: 51)
    let x: [Double] = random.array(c.count, 1, 3)
    let found = normalize(c, x)
    let single = normalize(c, x.map(Float.init))
    c.forEachGroup { index, members in
      let n = Double(members.count)
      let mean = c.shape.centered == 1 ? members.map { x[$0] }.reduce(0, +) / n : 0
      let variance = members.map { (x[$0] - mean) * (x[$0] - mean) }.reduce(0, +) / n
      let rstd = 1 / (variance + 1e-5).squareRoot()
      // A few roundings of sums of at most 24 terms.
      #expect(abs(found.rstd[index] / rstd - 1) < 1e-14)
      for i in members {
        #expect(abs(found.xhat[i] - (x[i] - mean) * rstd) < 1e-13)
        // Float inputs differ by 2^-24 of at most 3, times rstd of at most 10.
        #expect(abs(Double(single.xhat[i]) - (x[i] - mean) * rstd) < 4e-6)
      }
    }
  }

  @Test func layerNormKeepsItsDigitsWhenTheMeanIsLarge() {
    let c = cases[0]
    var random = TestRandom(seed: 52)
    // Multiples of 2^-10 near 8192: exact in float; a one-pass variance would lose all digits.
    let centred = (0..<c.count).map { _ in (random.uniform(-1, 1) * 1024).rounded() / 1024 }
    let found = normalize(c, centred.map { Float($0 + 8192) })
    let expected = normalize(c, centred)
    // One rounding to float of what the doubles give.
    for i in centred.indices { #expect(abs(Double(found.xhat[i]) - expected.xhat[i]) < 2e-7) }
  }

  @Test(arguments: cases) fileprivate func derivativeAgreesWithCentralDifferences(c: Case) {
    var random = TestRandom(seed: 53)
    let x: [Double] = random.array(c.count)
    let dx: [Double] = random.array(c.count)
    let (xhat, rstd) = normalize(c, x)
    let found = derivative(c, xhat, rstd, dx)
    let h = 1e-5
    let plus = normalize(c, zip(x, dx).map { $0 + h * $1 }).xhat
    let minus = normalize(c, zip(x, dx).map { $0 - h * $1 }).xhat
    for i in x.indices {
      // h^2 times a third derivative of up to about 50, and rounding 1e-16 / h.
      #expect(abs(found[i] - (plus[i] - minus[i]) / (2 * h)) < 1e-8)
    }
  }

  @Test(arguments: cases) fileprivate func derivativeIsSymmetric(c: Case) {
    func check<S: EngineScalar>(_: S.Type, _ tolerance: Double) {
      var random = TestRandom(seed: 54)
      let x: [S] = random.array(c.count)
      let (a, b): ([S], [S]) = (random.array(c.count), random.array(c.count))
      let (xhat, rstd) = normalize(c, x)
      func dot(_ u: [S], _ v: [S]) -> Double {
        zip(u, v).reduce(0) { $0 + Double($1.0) * Double($1.1) }
      }
      let left = dot(a, derivative(c, xhat, rstd, b))
      let right = dot(derivative(c, xhat, rstd, a), b)
      #expect(abs(left - right) < tolerance)
    }
    // Sums of up to 90 products of order one, each rounded to S.
    check(Float.self, 1e-5)
    check(Double.self, 1e-13)
  }

  @Test func derivativeAccumulatesAndWorksInPlace() {
    let c = cases[2]
    var random = TestRandom(seed: 55)
    let x: [Double] = random.array(c.count)
    let dx: [Double] = random.array(c.count)
    let (xhat, rstd) = normalize(c, x)
    let plain = derivative(c, xhat, rstd, dx)
    let added = derivative(c, xhat, rstd, dx, onto: x)
    // One rounding more, of numbers below 8.
    for i in x.indices { #expect(abs(added[i] - (x[i] + plain[i])) <= 0x1p-50) }
    var inPlace = dx
    var s = c.shape
    inPlace.withUnsafeMutableBytes {
      ck_normalize_derivative(CK_F64, &s, xhat, rstd, $0.baseAddress, $0.baseAddress, 0)
    }
    #expect(inPlace == plain)
  }
}
