import TensorModule

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

// Products with the root A of `H = A A^T` (method.md 2), `B = A^T J`, `F = B^T B`, `g = B^T w`, and
// for cross-entropy a root with one column fewer. All in double; rows that are not scored have
// zero probabilities, so that they come out as zeros.
extension OutputState {
  /// `A^T q` of a chunk, `[n, O C]` to `[n, O C]`: `sqrt(M p) (q - p . q)` for cross-entropy.
  package func multiplyRootTransposed<T: EngineScalar>(
    chunk: Chunk, _ q: UnsafePointer<T>, into u: UnsafeMutablePointer<Double>
  ) {
    let count = chunk.count * positions * classes
    let first = chunk.first * positions * classes
    Kernels.toDouble(q, u, count: count)
    switch loss {
    case .squaredError where hessianDiagonal.count == 0: break
    case .squaredError, .binaryCrossEntropy:
      for i in 0..<count { u[i] *= hessianDiagonal.pointer[first + i].squareRoot() }
    case .crossEntropy:
      for row in 0..<chunk.count * positions {
        let (p, u) = (probabilities.pointer + first + row * classes, u + row * classes)
        let weight = rootOfWeight(first / classes + row)
        var mean = 0.0
        for c in 0..<classes { mean += p[c] * u[c] }
        for c in 0..<classes { u[c] = weight * p[c].squareRoot() * (u[c] - mean) }
      }
    }
  }

  /// `A^T q` of all samples, `[N, O C]`.
  package func multiplyRootTransposed(_ q: Vector<Double>) -> Vector<Double> {
    let u = Vector<Double>(count: q.count)
    for chunk in schedule.chunks {
      let first = chunk.first * positions * classes
      multiplyRootTransposed(
        chunk: chunk, UnsafePointer(q.pointer + first), into: u.pointer + first)
    }
    return u
  }

  /// `A u` of all samples, `[N, O C]` in place: `sqrt(M) (sqrt(p) u - p (sqrt(p) . u))` for
  /// cross-entropy.
  package func multiplyRoot(_ u: Vector<Double>) {
    switch loss {
    case .squaredError where hessianDiagonal.count == 0: break
    case .squaredError, .binaryCrossEntropy:
      for i in 0..<u.count { u.pointer[i] *= hessianDiagonal.pointer[i].squareRoot() }
    case .crossEntropy:
      for row in 0..<samples * positions {
        let (p, u) = (probabilities.pointer + row * classes, u.pointer + row * classes)
        let weight = rootOfWeight(row)
        var sum = 0.0
        for c in 0..<classes {
          u[c] *= weight * p[c].squareRoot()
          sum += u[c]
        }
        for c in 0..<classes { u[c] -= p[c] * sum }
      }
    }
  }

  /// w of all samples, `[N, O C]`: `u = A w`.
  package func rootWeights() -> Vector<Double> {
    let all = Vector<Double>(count: samples * positions * classes)
    for position in 0..<positions {
      for column in 0..<classes {
        let weights = rootWeights(position: position, class: column)
        for n in 0..<samples {
          all.pointer[(n * positions + position) * classes + column] = weights[n]
        }
      }
    }
    return all
  }

  // MARK: - The root of full rank

  /// Columns of the root of full rank, per position: C - 1 for cross-entropy, whose A has
  /// `A sqrt(p) = 0`; C otherwise.
  package var rootRank: Int { loss == .crossEntropy ? classes - 1 : classes }

  /// Column j of the root of full rank at one position of every sample of a chunk, divided by its
  /// size (`rootSizes`).
  ///
  /// For cross-entropy it is A times the reflection that takes `sqrt(p)` to `-e_c`, c the most
  /// probable class, without column c of the product: with `k = sqrt(p_c) / (1 + sqrt(p_c))` and i
  /// the j-th class other than c, `sqrt(p_i) ((e_i - p) - k (e_c - p))`. Nothing cancels, and
  /// without the factor in front its entries are of the order of 1 however sure the model is.
  package func writeFullRankColumn(
    _ column: Int, position: Int, chunk: Chunk, to out: UnsafeMutablePointer<S>
  ) {
    Kernels.zero(out, count: chunk.count * positions * classes)
    for sample in 0..<chunk.count {
      let row = (chunk.first + sample) * positions + position
      let target = out + (sample * positions + position) * classes
      guard isScored(row) else { continue }
      guard loss == .crossEntropy else {
        target[column] = 1
        continue
      }
      let p = probabilities.pointer + row * classes
      let (kept, other) = keptClass(row, column)
      let share = p[other].squareRoot() / (1 + p[other].squareRoot())
      var rest = 0.0  // 1 - p_c as the sum of the others
      for c in 0..<classes where c != other { rest += p[c] }
      for c in 0..<classes { target[c] = S(-p[c] * (1 - share)) }
      target[kept] = S(1 - p[kept] * (1 - share))
      target[other] = S(-p[other] - share * rest)
    }
  }

  /// The factor that `writeFullRankColumn` leaves out, per sample; zero where it is not scored.
  package func rootSizes(_ column: Int, position: Int) -> [Double] {
    (0..<samples).map { n in
      let row = n * positions + position
      guard isScored(row) else { return 0 }
      switch loss {
      case .squaredError: return rootOfWeight(row * classes + column)
      case .binaryCrossEntropy: return hessianDiagonal[row * classes + column].squareRoot()
      case .crossEntropy:
        return rootOfWeight(row)
          * probabilities[row * classes + keptClass(row, column).kept].squareRoot()
      }
    }
  }

  /// w in the coordinates of the root of full rank, per sample; its norm is that of w.
  package func fullRankWeights(_ column: Int, position: Int) -> [Double] {
    guard loss == .crossEntropy else { return rootWeights(position: position, class: column) }
    return (0..<samples).map { n in
      let row = n * positions + position
      guard isScored(row) else { return 0 }
      let (kept, other) = keptClass(row, column)
      return fullRankWeight(row, .one(kept), top: other)
    }
  }

  /// What has a column of the root of full rank at a position.
  enum FullRankClass {
    case one(Int)
    /// Classes taken together, the label not among them: the sum of their probabilities, and of their u
    /// where labels are soft.
    case several(mass: Double, gradient: Double)
  }

  /// `w_i - sqrt(p_i) w_c / (1 + sqrt(p_c))` at one position, with w_c and w_i as in `rootWeights`, c the
  /// most probable class.
  func fullRankWeight(_ row: Int, _ kept: FullRankClass, top other: Int) -> Double {
    let p = probabilities.pointer + row * classes
    let mass: Double
    switch kept {
    case .one(let c): mass = p[c]
    case .several(let sum, _): mass = sum
    }
    let (root, otherRoot) = (mass.squareRoot(), p[other].squareRoot())
    let weight = rootOfWeight(row)
    switch gradient {
    case .softmax(let labels, let rest, _):
      let label = Int(labels[row])
      if label == other {
        return weight * (root * (1 + rest[row] / (otherRoot * (1 + otherRoot))))
      }
      let share = otherRoot / (1 + otherRoot)
      if case .one(label) = kept { return weight * (-(rest[row] + mass * share) / root) }
      return weight * (root * (1 - share))
    case .centred(let u), .elementwise(let u):
      let others = u[row * classes + other]
      let own: Double
      switch kept {
      case .one(let c): own = u[row * classes + c]
      case .several(_, let sum): own = sum
      }
      let direct = own == 0 ? 0 : own / root
      return (direct - root * others / (otherRoot * (1 + otherRoot))) / weight
    }
  }

  func isScored(_ row: Int) -> Bool { labels.isEmpty || labels[row] >= 0 }

  /// The class of a column of the root of full rank, and the most probable class, which has none.
  private func keptClass(_ row: Int, _ column: Int) -> (kept: Int, other: Int) {
    let p = probabilities.pointer + row * classes
    var other = 0
    for c in 1..<classes where p[c] > p[other] { other = c }
    return (column < other ? column : column + 1, other)
  }
}
