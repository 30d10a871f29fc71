import TensorModule
import Testing

/// Lengths around the block boundary, and one of several blocks with a rest.
private let lengths = [
  0, 1, 3, VectorOperations<Float>.blockSize - 1, VectorOperations<Float>.blockSize,
  VectorOperations<Float>.blockSize + 1, 5 * VectorOperations<Float>.blockSize + 77,
]

private func randomVector<Scalar: EngineScalar>(_ count: Int, seed: UInt64) -> Vector<Scalar> {
  var random = CounterRandom(seed: seed, batch: 0, sample: 0, stream: .vectors)
  return Vector((0..<count).map { _ in Scalar(random.uniform() - 0.5) })
}

private func operations<Scalar: EngineScalar>(
  _ count: Int, threads: Int = 2
) -> VectorOperations<Scalar> {
  VectorOperations(pool: WorkerPool(threads: threads), count: count)
}

/// What a sum of n products in double can be off by: n unit roundoffs times the sum of the
/// products' absolute values.
private func sumError<Scalar: EngineScalar>(_ x: Vector<Scalar>, _ y: Vector<Scalar>) -> Double {
  Double(x.count) * Double.ulpOfOne
    * zip(x.array, y.array).reduce(0) { $0 + abs(Double($1.0 * $1.1)) }
}

@Suite struct VectorOperationsTests {
  @Test(arguments: lengths) func dotAgreesWithAPlainLoopInFloat(count: Int) {
    checkDot(count, Float.self)
  }
  @Test(arguments: lengths) func dotAgreesWithAPlainLoopInDouble(count: Int) {
    checkDot(count, Double.self)
  }

  private func checkDot<Scalar: EngineScalar>(_ count: Int, _: Scalar.Type) {
    let (x, y): (Vector<Scalar>, Vector<Scalar>) = (
      randomVector(count, seed: 1), randomVector(count, seed: 2)
    )
    let expected = zip(x.array, y.array).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
    let vectors: VectorOperations<Scalar> = operations(count)
    #expect(abs(vectors.dot(x, y) - expected) <= sumError(x, y))
    #expect(vectors.norm(x) == vectors.dot(x, x).squareRoot())
    let squares = zip(x.array, y.array).reduce(0.0) {
      let difference = Double($1.0) - Double($1.1)
      return $0 + difference * difference
    }
    // As above, for a square root.
    #expect(
      abs(vectors.distance(x, y) - squares.squareRoot())
        <= Double(count + 1) * Double.ulpOfOne * squares.squareRoot())
  }

  @Test func resultsHaveTheSameBitsForEveryNumberOfThreads() {
    let count = lengths[lengths.count - 1]
    var found: [[Double]] = []
    for threads in [1, 2, 3, 8] {
      let vectors: VectorOperations<Float> = operations(count, threads: threads)
      let (x, y): (Vector<Float>, Vector<Float>) = (
        randomVector(count, seed: 3), randomVector(count, seed: 4)
      )
      let (v, w): (Vector<Float>, Vector<Float>) = (
        randomVector(count, seed: 5), randomVector(count, seed: 6)
      )
      let dot = vectors.dot(x, y)
      let sums = vectors.conjugateGradientStep(alpha: 0.3, v: v, w: w, x: x, r: y, b: v)
      found.append([
        dot, sums.residualSquared, sums.iterateDotRightHandSide, sums.iterateDotResidual,
        vectors.distance(x, y), vectors.dot(x, y),
      ])
    }
    for other in found.dropFirst() { #expect(other == found[0]) }
  }

  @Test(arguments: lengths) func stepIsTwoUpdatesAndThreeInnerProducts(count: Int) {
    let vectors: VectorOperations<Double> = operations(count)
    let all: [Vector<Double>] = (0..<5).map { randomVector(count, seed: 10 + $0) }
    let (v, w, x, r, b) = (all[0], all[1], all[2], all[3], all[4])
    let (xBefore, rBefore) = (x.array, r.array)
    let alpha = 0.7
    let sums = vectors.conjugateGradientStep(alpha: alpha, v: v, w: w, x: x, r: r, b: b)
    for i in 0..<count {
      // One product and one sum, fused or not: numbers below 1, so two unit roundoffs.
      guard abs(x[i] - (xBefore[i] + alpha * v[i])) <= 2 * Double.ulpOfOne,
        abs(r[i] - (rBefore[i] - alpha * w[i])) <= 2 * Double.ulpOfOne
      else {
        Issue.record("element \(i): x \(x[i]), r \(r[i])")
        break
      }
    }
    #expect(abs(sums.residualSquared - vectors.dot(r, r)) <= sumError(r, r))
    #expect(abs(sums.iterateDotRightHandSide - vectors.dot(x, b)) <= sumError(x, b))
    #expect(abs(sums.iterateDotResidual - vectors.dot(x, r)) <= sumError(x, r))
  }

  @Test(arguments: lengths) func elementWiseOperationsReachEveryElementOnce(count: Int) {
    let vectors: VectorOperations<Float> = operations(count)
    let x: Vector<Float> = randomVector(count, seed: 7)
    let y = Vector<Float>(count: count)
    vectors.fill(y, .nan)
    vectors.axpby(2, x, 0, y)
    #expect(y.array == x.array.map { 2 * $0 }, "b = 0 must not read y")
    vectors.axpby(1, x, -0.5, y)
    #expect(y.array == Array(repeating: 0, count: count))
    vectors.fill(y, 3)
    vectors.multiply(x, y, into: y)
    #expect(y.array == x.array.map { 3 * $0 })
    vectors.copy(x, to: y)
    #expect(y.array == x.array)
  }

  @Test func theFirstOfSeveralNonFiniteElementsIsFound() {
    let count = lengths[lengths.count - 1]
    let vectors: VectorOperations<Float> = operations(count)
    let x: Vector<Float> = randomVector(count, seed: 8)
    #expect(vectors.firstNonFinite(x) == nil)
    for index in [count - 1, 4 * VectorOperations<Float>.blockSize, 70_001, 0] {
      x[index] = index % 2 == 0 ? .nan : -.infinity
      #expect(vectors.firstNonFinite(x) == index)
    }
  }
}
