import TensorModule

/// The directions of the residuals so far, against which each new one is made orthogonal.
///
/// In exact arithmetic the residuals of conjugate gradients are orthogonal and the solve ends after
/// as many steps as the operator has different eigenvalues. Rounding destroys the orthogonality as
/// soon as one eigenvalue has converged, and the solve then finds it again and again: on spectra
/// that fade over many orders, as F's does, most of its steps are spent on repetitions. One pass
/// of block Gram-Schmidt over the kept residuals costs `4 k P` operations in step k, little beside
/// a product with F, and brings the exact behaviour back. Orthogonality to the square root of
/// the rounding unit is enough (Simon 1984), so the sums may be taken in `Scalar`.
final class ResidualHistory<Scalar: EngineScalar> {
  private let operations: VectorOperations<Scalar>
  /// Directions per piece of memory.
  private let slab: Int
  /// `[slab, P]` each, row-major.
  private var slabs: [Vector<Scalar>] = []
  private lazy var coefficients = Vector<Scalar>(count: slab)
  private lazy var partials = Vector<Scalar>(count: blocks * slab)
  private var count = 0
  private var capacity = 0

  init(operations: VectorOperations<Scalar>) {
    self.operations = operations
    slab = SolveLimits.slab(of: operations.count)
  }

  /// Of the entries of a vector that meet those of another.
  private var blocks: Int {
    let size = VectorOperations<Scalar>.blockSize
    return (operations.pairing(operations.count).count + size - 1) / size
  }

  /// Forgets all, and keeps up to so many from now on.
  func begin(capacity: Int) { (self.capacity, count) = (capacity, 0) }

  /// Keeps the direction of `r`, if there is room.
  func append(_ r: Vector<Scalar>, norm: Double) {
    guard count < capacity, norm > 0 else { return }
    if count == slabs.count * slab { slabs.append(operations.vectors(slab)) }
    let row = slabs[count / slab].pointer + (count % slab) * operations.count
    operations.forEachBlock(operations.count) { _, range in
      Kernels.axpby(
        1 / norm, r.pointer + range.lowerBound, 0, row + range.lowerBound, count: range.count)
    }
    count += 1
  }

  /// Takes the kept directions out of `r`.
  func orthogonalize(_ r: Vector<Scalar>) {
    let (p, blocks) = (operations.count, self.blocks)
    // In the inner product of the operations: the first entries of one against these of the other.
    let (length, partner) = operations.pairing(p)
    for (index, piece) in slabs.enumerated() where index * slab < count {
      let rows = min(slab, count - index * slab)
      operations.forEachBlock(length) { block, range in
        BLAS.multiply(
          rows: rows, columns: range.count, piece.pointer + range.lowerBound, stride: p,
          r.pointer + partner + range.lowerBound, into: partials.pointer + block * slab)
      }
      for row in 0..<rows {
        var sum = 0.0
        for block in 0..<blocks { sum += Double(partials.pointer[block * slab + row]) }
        coefficients.pointer[row] = Scalar(-sum)
      }
      operations.forEachBlock(p) { _, range in
        BLAS.addTransposedProduct(
          rows: rows, columns: range.count, piece.pointer + range.lowerBound, stride: p,
          coefficients.pointer, to: r.pointer + range.lowerBound)
      }
    }
  }
}
