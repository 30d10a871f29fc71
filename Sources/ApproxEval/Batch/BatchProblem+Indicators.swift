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
    /// Per sample how gamma answers to changes of `J d`.
    package let sensitivity: GammaSensitivity
    /// `J d` of the unscaled direction, `[N, O C]`, where it was asked for.
    package let tangent: Vector<Double>?

    var withoutTangent: Halves {
      Halves(
        fisherQuadratic: fisherQuadratic, gradientDot: gradientDot, unscaled: unscaled,
        sensitivity: sensitivity, tangent: nil)
    }
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

  /// The same of directions whose `J d` is known, `[N, O C]` each.
  func quadratics(ofTangents tangents: [Vector<Double>]) -> [Halves] {
    let size = linearization.logitCount
    let sums = SampleSums(linearization.schedule, width: 2 * tangents.count)
    let parts = Vector<Double>(count: 3 * tangents.count * linearization.samples)
    let chunks = linearization.schedule.chunks
    linearization.pool.run(chunks.count) { number, _ in
      let chunk = chunks[number]
      let q = Vector<S>(count: chunk.count * size)
      for (r, tangent) in tangents.enumerated() {
        Kernels.fromDouble(tangent.pointer + chunk.first * size, q.pointer, count: q.count)
        writeHalves(
          chunk, overwriting: q.pointer, to: sums[chunk] + 2 * r,
          parts: parts.pointer + 3 * (r * linearization.samples + chunk.first))
      }
    }
    return tangents.enumerated().map { r, tangent in
      halves(r, sums, parts, scale: 1, tangent: tangent)
    }
  }

  /// The halves of direction `r` of a pass.
  private func halves(
    _ r: Int, _ sums: SampleSums, _ parts: Vector<Double>, scale: Double, tangent: Vector<Double>?
  ) -> Halves {
    let (quadratic, dot) = (sums.total(2 * r), sums.total(2 * r + 1))
    return Halves(
      fisherQuadratic: quadratic * scale * scale, gradientDot: dot * scale,
      unscaled: Indicator(fisherQuadratic: quadratic, gradientDot: dot),
      sensitivity: sensitivity(
        UnsafePointer(parts.pointer + 3 * r * linearization.samples), quadratic: quadratic,
        gradientDot: dot), tangent: tangent)
  }

  /// All of one kind, and of one basis.
  private func quadraticsOfOnePass(
    _ directions: [DirectionForm<S>], _ keepsTangents: Bool
  ) -> [Halves] {
    let count = directions.count
    let size = linearization.logitCount
    let sums = SampleSums(linearization.schedule, width: 2 * count)
    // Per direction and sample u . q, |H q|^2 and u . H q, H over `unit`.
    let parts = Vector<Double>(count: 3 * count * linearization.samples)
    let kept = keepsTangents ? directions.map { _ in tangentStore() } : []
    let score = { (chunk: Schedule.Chunk, tangents: UnsafeMutablePointer<S>) in
      for r in 0..<count {
        let q = UnsafePointer(tangents) + r * chunk.count * size
        if keepsTangents {
          Kernels.toDouble(q, kept[r].pointer + chunk.first * size, count: chunk.count * size)
        }
        self.writeHalves(
          chunk, overwriting: tangents + r * chunk.count * size,
          to: sums[chunk] + 2 * r,
          parts: parts.pointer + 3 * (r * self.linearization.samples + chunk.first))
      }
    }
    var pointers: [[UnsafePointer<S>?]] = []
    var weights: [[Double]] = []
    var scales: [Double] = []
    var cancels: [Bool] = []
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
        cancels.append(combination.cancels)
        scales.append(combination.scale)
        basis = combination.basis
      }
    }
    if let basis {
      basis.jvp(weights, inDouble: cancels, score)
    } else {
      linearization.jvp(pointers, score)
    }
    withExtendedLifetime(directions) {}
    return directions.indices.map { r in
      halves(r, sums, parts, scale: scales[r], tangent: keepsTangents ? kept[r] : nil)
    }
  }

  /// `q^T H q` and `u . q` of a chunk's samples to `row`, what `sensitivity` reads to `parts`.
  ///
  /// - Parameter q: Tangents, which are not needed any more.
  private func writeHalves(
    _ chunk: Schedule.Chunk, overwriting q: UnsafeMutablePointer<S>,
    to row: UnsafeMutablePointer<Double>, parts: UnsafeMutablePointer<Double>
  ) {
    let size = linearization.logitCount
    let dots = UnsafeMutableBufferPointer(start: parts, count: chunk.count)
    output.writeGradientDots(output.gradient, chunk: chunk, UnsafePointer(q), to: parts)
    row[1] = dots.reduce(0, +)
    row[0] = output.multiply(
      .fisher, chunk: chunk, UnsafePointer(q), into: q, scale: 1 / curvatureUnit)
    output.writeGradientDots(
      output.gradient, chunk: chunk, UnsafePointer(q), to: parts + chunk.count)
    for n in 0..<chunk.count {
      let hq = UnsafePointer(q + n * size)
      parts[2 * chunk.count + n] = Kernels.dot(hq, hq, count: size)
    }
  }

  /// - Parameter parts: Chunk by chunk `u_n . q_n`, `u_n . H q_n` and `|H q_n|^2`, H over its unit.
  private func sensitivity(
    _ parts: UnsafePointer<Double>, quadratic: Double, gradientDot: Double
  ) -> GammaSensitivity {
    let unit = curvatureUnit
    let scaled = quadratic / unit
    var tangents: [Double] = []
    var logits: [Double] = []
    for chunk in linearization.schedule.chunks {
      let own = parts + 3 * chunk.first
      for n in 0..<chunk.count {
        let product = own[2 * chunk.count + n].squareRoot()
        let u = output.gradientNorms[chunk.first + n] / gradientDot
        let mixed = own[chunk.count + n] / scaled / gradientDot
        let square = (product / scaled) * (product / scaled) - 2 * mixed + u * u
        tangents.append(max(square, 0).squareRoot())
        logits.append(product * unit / abs(gradientDot))
      }
    }
    return GammaSensitivity(tangents: tangents, logits: logits, quadratic: quadratic)
  }

  private func tangentStore() -> Vector<Double> {
    Vector(count: linearization.samples * linearization.logitCount)
  }
}
