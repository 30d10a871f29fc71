import Curvature
import Metrics
import TensorModule

// The halves of an indicator for many directions from stacked jvps (method.md 2).
extension BatchProblem {
  /// The two halves of an indicator, and the indicator of the unscaled direction: gamma does not
  /// depend on the scale, but the square of a scale may leave the range of numbers.
  package struct Halves {
    package let fisherQuadratic: Double
    package let gradientDot: Double
    package let unscaled: Indicator
    /// `J d` of the unscaled direction, `[N, O C]`, where it was asked for.
    package let tangent: Vector<Double>?
  }

  /// `d^T F d` and `d^T g` for several directions, those of a kind in one pass.
  ///
  /// - Parameter keepsTangents: Whether `J d` is to be kept.
  package func quadratics(
    _ directions: [DirectionForm<S>], keepsTangents: Bool = false
  ) -> [Halves] {
    var results = [Halves?](repeating: nil, count: directions.count)
    var formed: [Int] = []
    var combined: [(basis: PerSampleGradients<S>, places: [Int])] = []
    for (place, direction) in directions.enumerated() {
      switch direction {
      case .explicit, .stored: formed.append(place)
      case .combination(let combination):
        if let known = combined.firstIndex(where: { $0.basis === combination.basis }) {
          combined[known].places.append(place)
        } else {
          combined.append((combination.basis, [place]))
        }
      }
    }
    let width = linearization.directionsPerPass
    for places in [formed] + combined.map(\.places) {
      for first in stride(from: 0, to: places.count, by: width) {
        let group = places[first..<min(first + width, places.count)]
        let found = quadraticsOfOnePass(group.map { directions[$0] }, keepsTangents)
        for (place, halves) in zip(group, found) { results[place] = halves }
      }
    }
    return results.map { $0! }
  }

  package func quadratics(_ directions: [ScaledVector<S>]) -> [Halves] {
    quadratics(directions.map { .explicit($0) })
  }

  /// All of one kind, and of one basis.
  private func quadraticsOfOnePass(
    _ directions: [DirectionForm<S>], _ keepsTangents: Bool
  ) -> [Halves] {
    let count = directions.count
    let size = linearization.logitCount
    let sums = Vector<Double>(count: 2 * count * linearization.samples)
    let kept = keepsTangents ? directions.map { _ in tangentStore() } : []
    let score = { (chunk: Schedule.Chunk, tangents: UnsafeMutablePointer<S>) in
      for r in 0..<count {
        let q = UnsafePointer(tangents) + r * chunk.count * size
        // Each chunk writes to the row of its first sample.
        let row = sums.pointer + 2 * (chunk.first * count + r)
        row[0] = self.output.multiply(.fisher, chunk: chunk, q)
        row[1] = self.output.gradientDot(self.output.gradient, chunk: chunk, q)
        if keepsTangents {
          Kernels.toDouble(q, kept[r].pointer + chunk.first * size, count: chunk.count * size)
        }
      }
    }
    var pointers: [[UnsafePointer<S>?]] = []
    var weights: [[Double]] = []
    var scales: [Double] = []
    var basis: PerSampleGradients<S>?
    for direction in directions {
      switch direction {
      case .explicit(let scaled):
        pointers.append(linearization.pointers(scaled.vector))
        scales.append(scaled.scale)
      case .stored(let stored):
        pointers.append(stored.pointers)
        scales.append(1)
      case .combination(let combination):
        weights.append(combination.weights)
        scales.append(combination.scale)
        basis = combination.basis
      }
    }
    if let basis { basis.jvp(weights, score) } else { linearization.jvp(pointers, score) }
    withExtendedLifetime(directions) {}
    return directions.indices.map { r in
      var (quadratic, dot) = (0.0, 0.0)
      for chunk in linearization.schedule.chunks {
        quadratic += sums[2 * (chunk.first * count + r)]
        dot += sums[2 * (chunk.first * count + r) + 1]
      }
      let scale = scales[r]
      return Halves(
        fisherQuadratic: quadratic * scale * scale, gradientDot: dot * scale,
        unscaled: Indicator(fisherQuadratic: quadratic, gradientDot: dot),
        tangent: keepsTangents ? kept[r] : nil)
    }
  }

  private func tangentStore() -> Vector<Double> {
    Vector(count: linearization.samples * linearization.logitCount)
  }
}
