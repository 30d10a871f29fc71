import TensorModule

/// How many iterations of conjugate gradients a batch takes at least, told by the Gram matrix of its gradients.
///
/// `g_n = B_n^T w_n`: the gradients over `|w_n|` are one row of `U^T B` for each sample, with w in their span.
/// The same iteration on these rows alone is one of vectors of length N. It leaves out the rows that slow
/// the real one down: on the digits it came to a fifth of its iterations early in training and four fifths
/// late, and never to more.
enum IterationForecast {
  /// What it computes in.
  static func bytes(samples: Int) -> ByteCount {
    (ByteCount(samples) + ByteCount(min(samples, most) + 4))
      * ByteCount(vector: ByteCount(samples), of: Double.self)
  }

  /// More are not looked for.
  static let most = 256

  /// - Parameters:
  ///   - gram: `g_n . g_m` in any unit.
  ///   - squares: `|w_n|^2`
  ///   - gap: gamma over its bound, less one, that ends it.
  /// - Returns: `most` where it takes more; 0 where there is nothing to solve.
  static func iterations(
    squares: [Double], gap: Double, gram: (_ n: Int, _ m: Int) -> Double
  ) -> Int {
    let kept = squares.indices.filter { squares[$0] > 0 && gram($0, $0) > 0 }
    let count = kept.count
    guard count > 0, squares.allSatisfy(\.isFinite) else { return 0 }
    let target = kept.map { squares[$0].squareRoot() }
    let matrix = Vector<Double>(unsetCount: count * count)
    for (row, i) in kept.enumerated() {
      for (column, j) in kept.enumerated() {
        matrix.pointer[row * count + column] = gram(i, j) / target[row] / target[column]
      }
    }
    // Generalised conjugate residuals: directions of which the products are orthogonal, so that
    // `(w^T B x)^2 / |B x|^2` is a sum of squares.
    var residual = target
    var images: [[Double]] = []
    let whole = target.reduce(0) { $0 + $1 * $1 }
    let enough = whole / ((1 + gap) * (1 + gap))
    var gained = 0.0
    while images.count < min(most, count) {
      var image = [Double](repeating: 0, count: count)
      BLAS.multiply(
        rows: count, columns: count, matrix.pointer, stride: count, residual, into: &image)
      let before = norm(image)
      // Twice is enough.
      for _ in 0..<2 {
        for earlier in images { add(-product(earlier, image), earlier, to: &image) }
      }
      let size = norm(image)
      guard size > 1e-12 * before else { return images.count }
      for i in image.indices { image[i] /= size }
      let step = product(image, residual)
      add(-step, image, to: &residual)
      let part = product(image, target)
      gained += part * part
      images.append(image)
      if gained >= enough { return images.count }
    }
    return images.count == count && count < most ? count : most
  }

  private static func product(_ x: [Double], _ y: [Double]) -> Double {
    x.withUnsafeBufferPointer { x in
      y.withUnsafeBufferPointer {
        Kernels.dot(x.baseAddress!, $0.baseAddress!, count: x.count)
      }
    }
  }

  private static func norm(_ x: [Double]) -> Double { product(x, x).squareRoot() }

  private static func add(_ factor: Double, _ x: [Double], to y: inout [Double]) {
    x.withUnsafeBufferPointer { x in
      y.withUnsafeMutableBufferPointer {
        Kernels.axpby(factor, x.baseAddress!, 1, $0.baseAddress!, count: x.count)
      }
    }
  }
}
