import CKernels

/// Vector operations on a `WorkerPool`, for vectors of up to `count` elements.
///
/// Every operation is split into blocks of `blockSize` elements whatever the number of threads,
/// and the partial sums of the blocks are added by a fixed tree. A result therefore
/// has the same bits for every number of threads. Sums are taken in double.
///
/// The partial sums live in memory that is allocated once, so no operation allocates. For the
/// same reason one object serves one caller at a time.
public final class VectorOperations<Scalar: EngineScalar> {
  /// What an inner product of two vectors is.
  public enum InnerProduct: Sendable, Equatable {
    /// `x . y`
    case euclidean
    /// Vectors are pairs `[y, q]` of halves with `q = M y` for a fixed positive semi-definite M, and
    /// stand for the elements `M^(1/2) y`: `<(y, q), (y', q')> = y . q'`. Products with M carry the
    /// given relative rounding, below which no square is resolved.
    case paired(rounding: Double)
  }

  /// Elements in a block: 256 KiB in float32, large enough to hide the cost of handing it out.
  public static var blockSize: Int { 1 << 16 }

  /// The threads that share the work.
  public let pool: WorkerPool
  /// Scalars of a vector.
  public let count: Int
  /// What `dot` computes.
  public let innerProduct: InnerProduct
  /// How many vectors `vectors` has made: all that a solve takes comes from there.
  public private(set) var vectorsMade = 0
  private let partials: UnsafeMutablePointer<Double>
  private let capacity: Int

  /// - Parameter count: Scalars of a vector; even for pairs.
  public init(pool: WorkerPool, count: Int, innerProduct: InnerProduct = .euclidean) {
    precondition(count >= 0, "VectorOperations: negative count \(count)")
    precondition(
      innerProduct == .euclidean || count % 2 == 0, "VectorOperations: \(count) is not even")
    self.pool = pool
    self.count = count
    self.innerProduct = innerProduct
    capacity = 3 * max(1, (count + Self.blockSize - 1) / Self.blockSize)
    partials = .allocate(capacity: capacity)
    partials.initialize(repeating: 0, count: capacity)
  }

  deinit { partials.deallocate() }

  /// So many vectors of zeros of this space, one behind the other.
  public func vectors(_ number: Int = 1) -> Vector<Scalar> {
    vectorsMade += number
    return Vector(count: number * count)
  }

  // MARK: - Sums

  /// `<x, y>`
  public func dot(_ x: Vector<Scalar>, _ y: Vector<Scalar>) -> Double {
    let n = common(x, y)
    let pairing = pairing(n)
    return sumOfProducts(x.pointer, y.pointer + pairing.partner, count: pairing.count)
  }

  /// `<x, x>`, never negative. Of pairs at least what rounding leaves of it, so that a vector is
  /// not taken for zero because its halves are nearly orthogonal.
  public func square(_ x: Vector<Scalar>) -> Double {
    guard case .paired(let rounding) = innerProduct else { return dot(x, x) }
    let half = common(x, x) / 2
    let (y, q) = (x.pointer, x.pointer + half)
    let sizes = sumOfProducts(y, y, count: half) * sumOfProducts(q, q, count: half)
    return max(dot(x, x), rounding * sizes.squareRoot())
  }

  /// `|x| = <x, x>^(1/2)`
  public func norm(_ x: Vector<Scalar>) -> Double { square(x).squareRoot() }

  private func sumOfProducts(
    _ x: UnsafePointer<Scalar>, _ y: UnsafePointer<Scalar>, count n: Int
  ) -> Double {
    let sums = partials
    forEachBlock(n) { block, range in
      sums[block] = ck_dot(
        Scalar.kernelType, x + range.lowerBound, y + range.lowerBound, range.count)
    }
    return total(blocks: blocks(n), stride: 1, offset: 0)
  }

  /// How many entries of one vector meet entries of the other, and where those begin.
  public func pairing(_ n: Int) -> (count: Int, partner: Int) {
    innerProduct == .euclidean ? (n, 0) : (n / 2, n / 2)
  }

  /// `|x - y|_2`, from the differences themselves: the three inner products that give the same
  /// number in exact arithmetic cancel when the vectors are close.
  public func distance(_ x: Vector<Scalar>, _ y: Vector<Scalar>) -> Double {
    let n = common(x, y)
    let sums = partials
    if innerProduct != .euclidean {
      let half = n / 2
      forEachBlock(half) { block, range in
        let (x, y) = (x.pointer + range.lowerBound, y.pointer + range.lowerBound)
        sums[block] = productOfDifferences(x, y, x + half, y + half, range.count)
      }
      return max(total(blocks: blocks(half), stride: 1, offset: 0), 0).squareRoot()
    }
    forEachBlock(n) { block, range in
      let (x, y) = (x.pointer + range.lowerBound, y.pointer + range.lowerBound)
      sums[block] = productOfDifferences(x, y, x, y, range.count)
    }
    return total(blocks: blocks(n), stride: 1, offset: 0).squareRoot()
  }

  /// What one step of conjugate gradients leaves behind, in double.
  public struct StepSums: Sendable, Equatable {
    /// `r . r`
    public var residualSquared: Double
    /// `x . b`
    public var iterateDotRightHandSide: Double
    /// `x . r`
    public var iterateDotResidual: Double
  }

  /// The inner products of an iterate and its residual.
  public func stepSums(
    x: Vector<Scalar>, r: Vector<Scalar>, b: Vector<Scalar>
  ) -> StepSums {
    StepSums(
      residualSquared: square(r), iterateDotRightHandSide: dot(x, b),
      iterateDotResidual: dot(x, r))
  }

  /// `x += alpha v`, `r -= alpha w`, and the Euclidean inner products of the new `x` and `r`, in one pass.
  public func conjugateGradientStep(
    alpha: Double, v: Vector<Scalar>, w: Vector<Scalar>, x: Vector<Scalar>, r: Vector<Scalar>,
    b: Vector<Scalar>
  ) -> StepSums {
    let n = common(x, r)
    precondition(
      v.count == n && w.count == n && b.count == n,
      "VectorOperations: \(v.count), \(w.count) and \(b.count) elements beside \(n)")
    let sums = partials
    forEachBlock(n) { block, range in
      let at = range.lowerBound
      ck_conjugate_gradient_step(
        Scalar.kernelType, alpha, v.pointer + at, w.pointer + at, x.pointer + at, r.pointer + at,
        b.pointer + at, range.count, sums + 3 * block)
    }
    let blocks = blocks(n)
    return StepSums(
      residualSquared: total(blocks: blocks, stride: 3, offset: 0),
      iterateDotRightHandSide: total(blocks: blocks, stride: 3, offset: 1),
      iterateDotResidual: total(blocks: blocks, stride: 3, offset: 2))
  }

  /// Index of the first element that is NaN or infinite, `nil` if there is none.
  public func firstNonFinite(_ x: Vector<Scalar>) -> Int? {
    let n = common(x, x)
    let found = partials
    forEachBlock(n) { block, range in
      let index = ck_first_nonfinite(
        Scalar.kernelType, x.pointer + range.lowerBound, range.count)
      found[block] = index < range.count ? Double(range.lowerBound + Int(index)) : -1
    }
    for block in 0..<blocks(n) where found[block] >= 0 { return Int(found[block]) }
    return nil
  }

  // MARK: - Element-wise

  /// `y = a x + b y`. With `b = 0`, `y` is not read.
  public func axpby(_ a: Double, _ x: Vector<Scalar>, _ b: Double, _ y: Vector<Scalar>) {
    forEachBlock(common(x, y)) { _, range in
      ck_axpby(
        Scalar.kernelType, a, x.pointer + range.lowerBound, b, y.pointer + range.lowerBound,
        range.count)
    }
  }

  /// `out = x * y`, element by element; `out` may be either.
  public func multiply(_ x: Vector<Scalar>, _ y: Vector<Scalar>, into out: Vector<Scalar>) {
    let n = common(x, y)
    precondition(out.count == n, "VectorOperations: \(out.count) elements beside \(n)")
    forEachBlock(n) { _, range in
      let at = range.lowerBound
      ck_multiply(
        Scalar.kernelType, x.pointer + at, y.pointer + at, out.pointer + at, range.count, 0)
    }
  }

  /// `y = x`, bit by bit.
  public func copy(_ x: Vector<Scalar>, to y: Vector<Scalar>) {
    forEachBlock(common(x, y)) { _, range in
      Kernels.copy(
        x.pointer + range.lowerBound, y.pointer + range.lowerBound, count: range.count)
    }
  }

  /// `x = value`
  public func fill(_ x: Vector<Scalar>, _ value: Double) {
    forEachBlock(common(x, x)) { _, range in
      ck_fill(Scalar.kernelType, value, x.pointer + range.lowerBound, range.count)
    }
  }

  // MARK: - Blocks

  private func common(_ x: Vector<Scalar>, _ y: Vector<Scalar>) -> Int {
    precondition(
      x.count == y.count && x.count <= count,
      "VectorOperations for \(count) elements: \(x.count) and \(y.count)")
    return x.count
  }

  private func blocks(_ n: Int) -> Int { (n + Self.blockSize - 1) / Self.blockSize }

  /// Calls `body` for every block of `0 ..< n`, at the same time on several threads. One block,
  /// or one thread, runs where it is: the pool does not start a worker for it.
  public func forEachBlock(_ n: Int, _ body: (_ block: Int, _ range: Range<Int>) -> Void) {
    let size = Self.blockSize
    pool.run(blocks(n)) { block, _ in
      body(block, block * size..<min(n, (block + 1) * size))
    }
  }

  private func total(blocks: Int, stride: Int, offset: Int) -> Double {
    SummationTree.sum(blocks) { partials[stride * $0 + offset] }
  }
}

// MARK: -

/// `(x - y) . (p - q)` in double.
private func productOfDifferences<Scalar: EngineScalar>(
  _ x: UnsafePointer<Scalar>, _ y: UnsafePointer<Scalar>, _ p: UnsafePointer<Scalar>,
  _ q: UnsafePointer<Scalar>, _ n: Int
) -> Double {
  func numbers<T>(_ pointer: UnsafePointer<Scalar>, _: T.Type) -> UnsafePointer<T> {
    UnsafeRawPointer(pointer).assumingMemoryBound(to: T.self)
  }
  var sum = 0.0
  if Scalar.self == Float.self {
    let (x, y) = (numbers(x, Float.self), numbers(y, Float.self))
    let (p, q) = (numbers(p, Float.self), numbers(q, Float.self))
    for i in 0..<n { sum += (Double(x[i]) - Double(y[i])) * (Double(p[i]) - Double(q[i])) }
  } else {
    let (x, y) = (numbers(x, Double.self), numbers(y, Double.self))
    let (p, q) = (numbers(p, Double.self), numbers(q, Double.self))
    for i in 0..<n { sum += (x[i] - y[i]) * (p[i] - q[i]) }
  }
  return sum
}
