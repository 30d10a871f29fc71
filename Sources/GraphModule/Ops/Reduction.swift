import TensorModule

/// Sums, means, variances and extremes over some dimensions.
package struct Reduction: Operation {
  package enum Kind: Sendable, Equatable {
    case sum
    case mean
    /// Squared distances from the mean, over the number of entries less the correction.
    case variance(correction: Double)
    /// Where several are equal, each has its share of the derivative, as in PyTorch.
    case maximum
    case minimum
  }
  package let kind: Kind
  package let axes: [Int]
  package let keepsDimensions: Bool
  private var shape: [Int] = []
  /// Of the output, 0 along what is reduced.
  private var outputStrides: [Int] = []
  private var count = 1
  private var outputCount = 1

  package init(_ kind: Kind, axes: [Int], keepsDimensions: Bool = false) {
    self.kind = kind
    self.axes = axes
    self.keepsDimensions = keepsDimensions
  }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let x = try operands.real(0)
    guard Set(axes).count == axes.count, axes.allSatisfy(x.shape.indices.contains),
      x.shape.count < StridedAxes.maximum
    else { throw operands.mismatch(0, "dimensions \(axes)") }
    var kept = x.shape
    for axis in axes { kept[axis] = 1 }
    let type = try ValueType(
      keepsDimensions ? kept : x.shape.indices.filter { !axes.contains($0) }.map { x.shape[$0] })
    (shape, count, outputCount) = (x.shape, x.count, type.count)
    outputStrides = broadcastStrides(kept, to: x.shape) ?? []
    if case .variance(let correction) = kind, Double(count / outputCount) <= correction {
      throw operands.mismatch(0, "more than \(correction) entries to each variance")
    }
    return type
  }

  package var operationCount: Int { count }

  package func readsOneRow(_ input: Int) -> Bool { true }

  /// Variances keep distances from the mean, extremes the share of each entry.
  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [false], saved: isLinear || !use.anyInputActive ? 0 : count)
  }

  package func scratch(samples: Int, directions: Int) -> Int {
    isLinear ? 0 : samples * (2 * count + outputCount)
  }

  private var isLinear: Bool { kind == .sum || kind == .mean }

  /// What one term of the derivative is multiplied by.
  private var factor: Double {
    let entries = Double(count / outputCount)
    switch kind {
    case .sum, .maximum, .minimum: return 1
    case .mean: return 1 / entries
    case .variance(let correction): return 2 / (entries - correction)
    }
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let (x, stride) = (pass.value(0), pass.stride(0))
    let reduced = reducing(pass.samples, stride: stride)
    let own = pass.keepsSaved ? pass.saved : pass.scratch
    switch kind {
    case .sum, .mean: Kernels.contract(reduced, alpha: factor, x, to: pass.output)
    case .variance:
      let mean = pass.scratch + pass.samples * count
      Kernels.contract(reduced, alpha: Double(outputCount) / Double(count), x, to: mean)
      copyRows(x, stride: stride, samples: pass.samples, to: own)
      Kernels.contract(
        repeating(pass.samples), alpha: -1, UnsafePointer(mean), to: own, accumulate: true)
      Kernels.contract(
        reducing(pass.samples, stride: count), alpha: factor / 2, UnsafePointer(own),
        UnsafePointer(own), to: pass.output)
    case .maximum, .minimum:
      // Entries that belong together side by side.
      let (rows, shares) = (pass.scratch + pass.samples * count, own)
      Kernels.contract(sorting(pass.samples, stride: stride, isOutward: true), x, to: rows)
      Kernels.rowExtremes(
        rows, isMaximum: kind == .maximum, rows: pass.samples * outputCount,
        columns: count / outputCount, pass.output, shares: rows)
      Kernels.contract(
        sorting(pass.samples, stride: count, isOutward: false), UnsafePointer(rows), to: shares)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    for r in 0..<pass.directions {
      Kernels.contract(
        reducing(pass.samples, stride: count), alpha: factor,
        pass.tangent(0)! + r * pass.samples * count, isLinear ? nil : UnsafePointer(pass.saved),
        to: pass.output + r * pass.samples * outputCount)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    for r in 0..<pass.directions {
      Kernels.contract(
        repeating(pass.samples), alpha: factor, pass.cotangent(direction: r),
        isLinear ? nil : UnsafePointer(pass.saved), to: target + r * pass.samples * count,
        accumulate: accumulate)
    }
  }

  // MARK: - Axes

  /// From entries, and a second array like them, to outputs.
  private func reducing(_ samples: Int, stride: Int) -> StridedAxes {
    var result = StridedAxes()
    result.append(samples, a: stride, b: count, out: outputCount)
    for (axis, own) in rowMajorStrides(shape).enumerated() {
      result.append(shape[axis], a: own, b: own, out: outputStrides[axis])
    }
    return result
  }

  /// From outputs, times an array like the entries, to entries.
  private func repeating(_ samples: Int) -> StridedAxes {
    var result = StridedAxes()
    result.append(samples, a: outputCount, b: count, out: count)
    for (axis, own) in rowMajorStrides(shape).enumerated() {
      result.append(shape[axis], a: outputStrides[axis], b: own, out: own)
    }
    return result
  }

  private func copyRows<S: EngineScalar>(
    _ x: UnsafePointer<S>, stride: Int, samples: Int, to out: UnsafeMutablePointer<S>
  ) {
    var result = StridedAxes()
    result.append(samples, a: stride, out: count)
    result.append(count, a: 1, out: 1)
    Kernels.contract(result, x, to: out)
  }

  /// Between the entries and `[outputs, entries of each]`.
  private func sorting(_ samples: Int, stride: Int, isOutward: Bool) -> StridedAxes {
    let own = rowMajorStrides(shape)
    let order = shape.indices.filter { !axes.contains($0) } + axes
    let sorted = rowMajorStrides(order.map { shape[$0] })
    var result = StridedAxes()
    result.append(samples, a: stride, out: count)
    for (place, axis) in order.enumerated() {
      let (x, row) = (own[axis], sorted[place])
      result.append(shape[axis], a: isOutward ? x : row, out: isOutward ? row : x)
    }
    return result
  }
}
