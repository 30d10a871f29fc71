import CKernels
import GraphModule
import TensorModule

/// The gradients `g = J_n^T w` of every sample for R cotangents per sample ("draws"), in the
/// cheapest form each parameter allows: rows of factors where the layer factors, explicit rows
/// otherwise. No matrix of `R N x P` exists when the large layers factor.
///
/// Row `d N + n` belongs to draw d and sample n. Gradients are `scales[row]` times what is
/// stored: a sample that is fitted to 1e-30 keeps its digits in single precision.
package final class PerSampleGradients<S: EngineScalar> {
  let linearization: Linearization<S>
  package let draws: Int
  package let scales: [Double]
  let entries: [Entry]

  enum Entry {
    /// Output cotangents `[R, N T, out]`; the inputs are with the linearization.
    case factored(
      node: Int, factors: Factorization, weight: ParameterID, bias: ParameterID?, rows: Vector<S>)
    /// `[R N, count]`
    case explicit(parameter: ParameterID, rows: Vector<S>)
  }

  init(linearization: Linearization<S>, draws: Int, scales: [Double]) {
    precondition(
      scales.count == draws * linearization.samples,
      "PerSampleGradients: \(scales.count) scales for \(draws) x \(linearization.samples) rows")
    self.linearization = linearization
    self.draws = draws
    self.scales = scales
    let plan = linearization.plan
    let samples = linearization.samples
    var entries: [Entry] = []
    for (index, route) in plan.routes.enumerated() {
      guard case .factored(let factors, let weight, let bias)? = route else { continue }
      entries.append(
        .factored(
          node: index, factors: factors, weight: weight, bias: bias,
          rows: Vector(count: draws * samples * factors.positions * factors.outputs)))
    }
    for parameter in plan.program.trainable where plan.accumulatorOffsets[parameter.index] != nil {
      let count = plan.program.graph.parameters[parameter.index].count
      entries.append(
        .explicit(parameter: parameter, rows: Vector(count: draws * samples * count)))
    }
    self.entries = entries
  }

  /// R N
  package var count: Int { draws * samples }
  package var samples: Int { linearization.samples }

  var collector: Collector {
    var factored: [Int: Vector<S>] = [:]
    var explicit: [ParameterID: Vector<S>] = [:]
    for entry in entries {
      switch entry {
      case .factored(let node, _, _, _, let rows): factored[node] = rows
      case .explicit(let parameter, let rows): explicit[parameter] = rows
      }
    }
    return Collector(
      plan: linearization.plan, samples: samples, factored: factored, explicit: explicit)
  }

  struct Collector: GradientCollector {
    let plan: GradientPlan
    let samples: Int
    let factored: [Int: Vector<S>]
    let explicit: [ParameterID: Vector<S>]

    func collect(_ pass: CotangentPass<S>, first: Int) {
      if let rows = factored[pass.nodeIndex] {
        let size = pass.node.size
        for d in 0..<pass.directions {
          Kernels.copy(
            pass.cotangent(direction: d), rows.pointer + (d * samples + first) * size,
            count: pass.samples * size)
        }
        return
      }
      for (slot, parameter) in pass.node.parameters.enumerated() {
        guard let rows = explicit[parameter] else { continue }
        let count = plan.program.graph.parameters[parameter.index].count
        for d in 0..<pass.directions {
          pass.node.operation.addPerSampleGradients(
            pass, slot: slot, direction: d, to: rows.pointer + (d * samples + first) * count,
            stride: count)
        }
      }
    }
  }

  /// `sum_rows coefficient[row] g_row` for several sets of coefficients `[R N]`: one product per
  /// layer each, no backward pass.
  ///
  /// - Returns: The sums, each as a vector with a scale, so that neither coefficients of 1e-12 nor
  ///   of 1e12 leave the range of single precision.
  package func weightedSums(_ coefficients: [[Double]]) -> [ScaledVector<S>] {
    coefficients.map { set in
      precondition(set.count == count, "weightedSums: \(set.count) coefficients, \(count) rows")
      let scaled = zip(set, scales).map(*)
      let largest = scaled.reduce(0) { max($0, abs($1)) }
      let unit = powerOfTwo(near: largest)
      let vector = Vector<S>(count: linearization.parameterCount)
      accumulate(scaled.map { $0 / unit }, into: vector)
      return ScaledVector(vector: vector, scale: unit)
    }
  }

  private func accumulate(_ weights: [Double], into result: Vector<S>) {
    let pool = linearization.pool
    let offsets = linearization.program.offsets
    var tasks: [() -> Void] = []
    for entry in entries {
      switch entry {
      case .factored(let node, let factors, let weight, let bias, let rows):
        // The draws share their inputs: weigh and add their cotangents first.
        let combined = combine(rows, weights: weights, size: factors.positions * factors.outputs)
        let factored = FactoredRows(
          factors: factors, count: samples * factors.positions,
          inputs: linearization.inputRows(node: node, factors),
          cotangents: UnsafePointer(combined.pointer))
        let gradient = factored.gradientTasks(
          weight: result.pointer + offsets[weight.index]!,
          bias: bias.map { result.pointer + offsets[$0.index]! })
        tasks += gradient.map { task in { withExtendedLifetime(combined) { task() } } }
      case .explicit(let parameter, let rows):
        let count = linearization.program.graph.parameters[parameter.index].count
        let target = result.pointer + offsets[parameter.index]!
        let block = 4096
        let narrow = Vector<S>(weights.map { S($0) })
        for begin in stride(from: 0, to: count, by: block) {
          let length = min(block, count - begin)
          tasks.append { [self] in
            BLAS.gemm(
              m: 1, n: length, k: self.count, narrow.pointer, lda: self.count,
              rows.pointer + begin, ldb: count, target + begin, ldc: length)
          }
        }
      }
    }
    pool.run(tasks.count) { task, _ in tasks[task]() }
  }

  private func combine(_ rows: Vector<S>, weights: [Double], size: Int) -> Vector<S> {
    let combined = Vector<S>(count: samples * size)
    let scratch = Vector<S>(count: draws > 1 ? samples * size : 0)
    weights.withUnsafeBufferPointer { weights in
      for d in 0..<draws {
        let slice = weights[d * samples..<(d + 1) * samples]
        if slice.allSatisfy({ $0 == 0 }) { continue }
        let target = d == 0 ? combined : scratch
        Kernels.scaleRows(
          by: weights.baseAddress! + d * samples, group: 1, rows.pointer + d * samples * size,
          rows: samples, columns: size, target.pointer)
        if d > 0 {
          Kernels.add(scratch.pointer, combined.pointer, combined.pointer, count: samples * size)
        }
      }
    }
    return combined
  }

  /// One gradient, written out: `[P]` in double, for dense references and checks.
  package func row(_ index: Int, into row: UnsafeMutablePointer<Double>) {
    let vector = Vector<S>(count: linearization.parameterCount)
    let offsets = linearization.program.offsets
    let sample = index % samples
    for entry in entries {
      switch entry {
      case .factored(let node, let factors, let weight, let bias, let rows):
        let positions = factors.positions
        let inputs: InputRows<S>
        switch linearization.inputRows(node: node, factors) {
        case .dense(let a): inputs = .dense(a + sample * positions * factors.inputs)
        case .oneHot(let indices): inputs = .oneHot(indices + sample * positions)
        }
        let single = FactoredRows(
          factors: factors, count: positions, inputs: inputs,
          cotangents: UnsafePointer(rows.pointer + index * positions * factors.outputs))
        let tasks = single.gradientTasks(
          weight: vector.pointer + offsets[weight.index]!,
          bias: bias.map { vector.pointer + offsets[$0.index]! })
        for task in tasks { task() }
      case .explicit(let parameter, let rows):
        let count = linearization.program.graph.parameters[parameter.index].count
        Kernels.copy(
          rows.pointer + index * count, vector.pointer + offsets[parameter.index]!, count: count)
      }
    }
    Kernels.toDouble(vector.pointer, row, count: vector.count)
    ck_axpby(CK_F64, 0, row, scales[index], row, vector.count)
  }
}

/// A vector times a power of two that single precision need not be able to hold.
package struct ScaledVector<S: EngineScalar>: Sendable {
  package let vector: Vector<S>
  package let scale: Double

  package init(vector: Vector<S>, scale: Double) {
    self.vector = vector
    self.scale = scale
  }
}

/// The power of two next to a positive number, 1 for zero: multiplying by it is exact.
package func powerOfTwo(near value: Double) -> Double {
  guard value > 0, value.isFinite else { return 1 }
  return Double(sign: .plus, exponent: value.exponent, significand: 1)
}
