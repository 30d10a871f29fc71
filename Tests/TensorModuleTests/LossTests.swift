import CKernels
import Foundation
import TensorModule
import Testing

private struct CrossEntropy {
  var p, loss, rest, certificate: [Double]

  init<S: EngineScalar>(_ z: [S], _ labels: [Int64], classes: Int) {
    let rows = labels.count
    p = [Double](repeating: .nan, count: rows * classes)
    loss = [Double](repeating: .nan, count: rows)
    rest = loss
    certificate = loss
    ck_cross_entropy(
      S.kernelType, z, labels, rows, classes, &p, &loss, &rest, &certificate)
  }
}

private func relative(_ found: Double, _ expected: Double) -> Double {
  found == expected ? 0 : abs(found / expected - 1)
}

/// Fewer classes than lanes, not a multiple, a multiple, many.
private let classCounts = [1, 2, 10, 16, 1003]

@Suite struct LossTests {
  @Test(arguments: classCounts) func crossEntropyAgreesWithTheNaiveFormulas(classes: Int) {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 71)
      let rows = 5
      let z: [S] = random.array(rows * classes, -3, 3)
      let labels = (0..<rows).map { Int64($0 * 7 % classes) }
      let found = CrossEntropy(z, labels, classes: classes)
      for r in 0..<rows {
        let e = z[r * classes..<(r + 1) * classes].map { exp(Double($0)) }
        let total = e.reduce(0, +)
        let y = Int(labels[r])
        // Sums of up to a thousand terms of one sign; the naive 1 - p_y loses a few digits more.
        for c in 0..<classes { #expect(relative(found.p[r * classes + c], e[c] / total) < 1e-14) }
        #expect(abs(found.loss[r] + log(e[y] / total)) < 1e-14)
        #expect(abs(found.rest[r] - (1 - e[y] / total)) < 1e-14)
        #expect(abs(found.certificate[r] / (total / e[y] - 1 + 1e-300) - 1) < 1e-13 || classes == 1)
      }
      if classes == 1 { #expect(found.loss == [0, 0, 0, 0, 0] && found.certificate == found.loss) }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test(arguments: crossEntropyReferences.indices)
  func crossEntropyKeepsItsRelativePrecisionHoweverSureItIs(index: Int) {
    let c = crossEntropyReferences[index]
    let found = CrossEntropy(c.logits, [c.label], classes: 4)
    // About ten roundings, all of terms of one sign.
    let tolerance = 2e-15
    #expect(relative(found.loss[0], c.loss) < tolerance)
    #expect(relative(found.rest[0], c.rest) < tolerance)
    #expect(relative(found.certificate[0], c.certificate) < tolerance)
    let q = [1.0, -2, 0.5, 3]
    var (quadratic, dot) = ([Double.nan], [Double.nan])
    ck_cross_entropy_hessian(CK_F64, found.p, q, 1, 4, nil, 1, &quadratic, nil)
    ck_cross_entropy_gradient_dot(CK_F64, found.p, [c.label], q, 1, 4, nil, &dot)
    #expect(relative(quadratic[0], c.fisherQuadratic) < 2 * tolerance)
    // Its terms may have both signs; they cancel by less than a factor of ten here.
    #expect(relative(dot[0], c.gradientDot) < 10 * tolerance)
  }

  @Test func certificateOverflowsToInfinityAndMaskedClassesAreZero() {
    let found = CrossEntropy(
      [1000.0, -1000, 0, 1, -.infinity, 2], [1, 0], classes: 3)
    #expect(found.certificate[0] == .infinity)
    #expect(found.loss[0] == 2000)
    #expect(found.rest[0] == 1)
    #expect(found.p[4] == 0)
    #expect(relative(found.loss[1], 1 + log1p(exp(-1.0))) < 1e-15)
  }

  @Test func nanInARowStaysInThatRow() {
    for position in 0..<9 {
      var z = [Double](repeating: 0.5, count: 18)
      z[position] = .nan
      let found = CrossEntropy(z, [3, 3], classes: 9)
      #expect(found.p[..<9].allSatisfy(\.isNaN) && found.p[9...].allSatisfy { $0 == 1.0 / 9 })
      #expect(found.loss[0].isNaN && found.loss[1].isFinite)
      var quadratic = [0.0, 0]
      ck_cross_entropy_hessian(CK_F64, found.p, z, 2, 9, nil, 1, &quadratic, nil)
      #expect(quadratic[0].isNaN && quadratic[1] == 0)
    }
  }

  @Test func rowsThatAreNotScoredGiveZerosEverywhere() {
    func check<S: EngineScalar>(_: S.Type) {
      let classes = 11
      var random = TestRandom(seed: 72)
      let z: [S] = random.array(3 * classes)
      let labels: [Int64] = [4, -100, 0]
      let found = CrossEntropy(z, labels, classes: classes)
      #expect(found.loss[1] == 0 && found.rest[1] == 0 && found.certificate[1] == 0)
      #expect(found.loss[0] > 0 && found.loss[2] > 0)
      var u = [S](repeating: .nan, count: z.count)
      var (squares, dot) = ([Double.nan, .nan, .nan], [Double.nan, .nan, .nan])
      ck_cross_entropy_gradient(
        S.kernelType, found.p, found.rest, labels, 3, classes, nil, 1, &u, &squares)
      ck_cross_entropy_gradient_dot(S.kernelType, found.p, labels, z, 3, classes, nil, &dot)
      #expect(u[classes..<2 * classes].allSatisfy { $0 == 0 } && squares[1] == 0 && dot[1] == 0)
      var rest = [Double.nan, .nan, .nan]
      ck_cross_entropy_rest(found.p, labels, 3, classes, &rest)
      #expect(rest[1] == 0)
      ck_cross_entropy_hessian(S.kernelType, found.p, z, 3, classes, nil, 1, &squares, &u)
      #expect(u[classes..<2 * classes].allSatisfy { $0 == 0 } && squares[1] == 0)
      #expect(squares[0] > 0 && squares[2] > 0)
    }
    check(Float.self)
    check(Double.self)
  }

  @Test(arguments: classCounts) func gradientDotAndHessianAgreeWithDenseFormulas(classes: Int) {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 73)
      let (rows, scale) = (4, 0.75)
      let z: [S] = random.array(rows * classes, -3, 3)
      let q: [S] = random.array(rows * classes)
      let labels = (0..<rows).map { Int64($0 * 5 % classes) }
      let ce = CrossEntropy(z, labels, classes: classes)
      var u = [S](repeating: .nan, count: z.count)
      var hq = u
      var (squares, dot, quadratic, rest) = (ce.loss, ce.loss, ce.loss, ce.loss)
      let t = S.kernelType
      ck_cross_entropy_gradient(t, ce.p, ce.rest, labels, rows, classes, nil, scale, &u, &squares)
      ck_cross_entropy_gradient_dot(t, ce.p, labels, q, rows, classes, nil, &dot)
      ck_cross_entropy_hessian(t, ce.p, q, rows, classes, nil, scale, &quadratic, &hq)
      ck_cross_entropy_rest(ce.p, labels, rows, classes, &rest)
      // Naive formulas in double cancel to about 1e-16 of numbers of order one; S rounds once.
      let rounding = Double(S(0.5).ulp) + 1e-15
      for r in 0..<rows {
        let row = r * classes..<(r + 1) * classes
        let (p, v) = (Array(ce.p[row]), q[row].map { Double($0) })
        let mean = zip(p, v).reduce(0) { $0 + $1.0 * $1.1 }
        let gradient = p.indices.map { p[$0] - ($0 == Int(labels[r]) ? 1 : 0) }
        for c in 0..<classes {
          #expect(abs(Double(u[r * classes + c]) - scale * gradient[c]) < rounding)
          #expect(abs(Double(hq[r * classes + c]) - scale * p[c] * (v[c] - mean)) < rounding)
        }
        #expect(abs(squares[r] - gradient.reduce(0) { $0 + $1 * $1 }) < 1e-14)
        #expect(abs(dot[r] - zip(gradient, v).reduce(0) { $0 + $1.0 * $1.1 }) < 1e-14)
        let second = zip(p, v).reduce(0) { $0 + $1.0 * $1.1 * $1.1 }
        #expect(abs(quadratic[r] - (second - mean * mean)) < 1e-14)
        #expect(relative(rest[r], ce.rest[r]) < 1e-14)
      }
      var inPlace = q
      inPlace.withUnsafeMutableBytes {
        ck_cross_entropy_hessian(
          t, ce.p, $0.baseAddress, rows, classes, nil, scale, nil, $0.baseAddress)
      }
      #expect(inPlace == hq)
    }
    check(Float.self)
    check(Double.self)
  }

  @Test(arguments: classCounts) func weightsMultiplyRows(classes: Int) {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 75)
      let (rows, t) = (3, S.kernelType)
      let z: [S] = random.array(rows * classes, -3, 3)
      let q: [S] = random.array(rows * classes)
      let labels = (0..<rows).map { Int64($0 * 5 % classes) }
      let ce = CrossEntropy(z, labels, classes: classes)
      // Powers of two: exact.
      let weights = [2.0, 0.25, 8]
      func values(_ weights: [Double]?) -> [[Double]] {
        var (squares, dot, quadratic) = (ce.loss, ce.loss, ce.loss)
        var u = [S](repeating: .nan, count: z.count)
        var hq = u
        ck_cross_entropy_gradient(
          t, ce.p, ce.rest, labels, rows, classes, weights, 1, &u, &squares)
        ck_cross_entropy_gradient_dot(t, ce.p, labels, q, rows, classes, weights, &dot)
        ck_cross_entropy_hessian(t, ce.p, q, rows, classes, weights, 1, &quadratic, &hq)
        return [squares, dot, quadratic, u.map { Double($0) }, hq.map { Double($0) }]
      }
      let (plain, weighted) = (values(nil), values(weights))
      #expect(weighted[0] == zip(plain[0], weights).map { $0 * $1 * $1 })
      for k in 1...2 { #expect(weighted[k] == zip(plain[k], weights).map { $0 * $1 }) }
      for k in 3...4 {
        #expect(weighted[k] == plain[k].indices.map { plain[k][$0] * weights[$0 / classes] })
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test(arguments: classCounts) func massesAgreeWithTheNaiveFormulas(classes: Int) {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 76)
      let rows = 4
      let z: [S] = random.array(rows * classes, -3, 3)
      var masses: [Double] = random.array(rows * classes, 0, 2)
      for c in 0..<classes { masses[classes + c] = 0 }  // a row that is not scored
      for c in 0..<classes { masses[2 * classes + c] = c == classes / 2 ? 1 : 0 }  // one class
      var (p, u) = ([Double](repeating: .nan, count: z.count), masses)
      var (weight, loss, certificate) = (
        [Double](repeating: .nan, count: rows), [Double](repeating: .nan, count: rows),
        [Double](repeating: .nan, count: rows)
      )
      ck_cross_entropy_of_masses(
        S.kernelType, z, rows, classes, &p, &u, &weight, &loss, &certificate)
      for r in 0..<rows {
        let range = r * classes..<(r + 1) * classes
        let m = Array(masses[range])
        let total = m.reduce(0, +)
        let e = z[range].map { exp(Double($0)) }
        let sum = e.reduce(0, +)
        if total == 0 {
          #expect(weight[r] == 0 && loss[r] == 0 && certificate[r] == 0)
          #expect(p[range].allSatisfy { $0 == 0 } && u[range].allSatisfy { $0 == 0 })
          continue
        }
        // Sums of up to a thousand terms; a naive u loses what its two terms have in common.
        #expect(relative(weight[r], total) < 1e-14)
        let naive = m.indices.reduce(0) { $0 - m[$1] * log(e[$1] / sum) }
        #expect(relative(loss[r], naive) < 1e-13 || classes == 1)
        var square = 0.0
        for c in 0..<classes {
          let slope = total * e[c] / sum - m[c]
          #expect(abs(u[range.lowerBound + c] - slope) < 1e-12)
          square += slope * slope / (total * e[c] / sum)
        }
        #expect(relative(certificate[r], square) < 1e-12 || classes == 1)
      }
      // The row of one class is what the plain loss makes of it.
      let plain = CrossEntropy(
        Array(z[2 * classes..<3 * classes]), [Int64(classes / 2)], classes: classes)
      #expect(relative(loss[2], plain.loss[0]) < 1e-14)
      #expect(relative(-u[2 * classes + classes / 2], plain.rest[0]) < 1e-14)
      #expect(relative(certificate[2], plain.certificate[0]) < 1e-13)
      let q: [S] = random.array(rows * classes)
      var dot = weight
      ck_centred_gradient_dot(S.kernelType, u, q, rows, classes, &dot)
      for r in 0..<rows {
        let terms = (0..<classes).map { u[r * classes + $0] * Double(q[r * classes + $0]) }
        let scale = terms.reduce(0) { $0 + abs($1) }
        #expect(abs(dot[r] - terms.reduce(0, +)) <= 1e-13 * scale)
      }
      // What all of q has in common is lost without a trace.
      let same = [S](repeating: 12345.678, count: rows * classes)
      ck_centred_gradient_dot(S.kernelType, u, same, rows, classes, &dot)
      #expect(dot == [0, 0, 0, 0])
    }
    check(Float.self)
    check(Double.self)
  }

  /// Where p has lost its digits or is zero, w comes from the logits, and nothing is NaN.
  @Test func massesOfClassesThatAreRuledOut() {
    for (gap, expected) in [(700.0, exp(700.0) / 4), (720, .infinity), (2000, .infinity)] {
      var (p, u) = ([Double.nan, .nan], [0.5, 0.5])
      var (weight, loss, certificate) = ([Double.nan], [Double.nan], [Double.nan])
      ck_cross_entropy_of_masses(
        CK_F64, [0.0, -gap], 1, 2, &p, &u, &weight, &loss, &certificate)
      #expect(u == [0.5, -0.5])
      #expect(loss[0] == gap / 2)
      #expect(
        certificate[0] == expected || relative(certificate[0], expected) < 1e-14, "gap \(gap)")
    }
  }

  @Test(arguments: classCounts) func diagonalLossesAgreeWithNaiveLoops(classes: Int) {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 74)
      let (rows, scale, t) = (3, -1.5, S.kernelType)
      let q: [S] = random.array(rows * classes)
      let u: [Double] = random.array(rows * classes)
      let h: [Double] = random.array(rows * classes, 0, 2)
      var dot = [Double](repeating: .nan, count: rows)
      var (quadratic, plain) = (dot, dot)
      var hq = [S](repeating: .nan, count: q.count)
      ck_diagonal_gradient_dot(t, u, q, rows, classes, &dot)
      ck_diagonal_hessian(t, h, q, rows, classes, scale, &quadratic, &hq)
      ck_diagonal_hessian(t, nil, q, rows, classes, scale, &plain, nil)
      // Two roundings, perhaps one more to float.
      expectUlps(hq, zip(h, q).map { scale * $0 * Double($1) }, within: 2)
      for r in 0..<rows {
        let row = r * classes..<(r + 1) * classes
        let v = q[row].map { Double($0) }
        // Sums of a thousand products below 2 in another order.
        #expect(abs(dot[r] - zip(u[row], v).reduce(0) { $0 + $1.0 * $1.1 }) < 1e-12)
        #expect(abs(quadratic[r] - zip(h[row], v).reduce(0) { $0 + $1.0 * $1.1 * $1.1 }) < 1e-12)
        #expect(abs(plain[r] - v.reduce(0) { $0 + $1 * $1 }) < 1e-12)
      }
      ck_diagonal_hessian(t, nil, q, rows, classes, 2, nil, &hq)
      #expect(hq == q.map { 2 * $0 })
    }
    check(Float.self)
    check(Double.self)
  }
}
