import GraphModule
import TensorModule

extension PerSampleGradients {
  /// `J d` for directions `d = sum_rows weights[row] g_row` that are not formed, all of them in one
  /// pass; `body` gets each chunk's tangents `[R, n, O C]`.
  ///
  /// A layer whose kernel is smaller than its weight adds `(A A^T) W B` to the tangent of its
  /// output. That product is taken in double: where the rows cancel, it is there that they do, and
  /// what is left is rounded to S only afterwards. Of all other parameters the blocks of d are formed.
  ///
  /// - Parameter weights: Per direction `[R N]`; of the order of 1, so that tangents are numbers.
  package func jvp(
    _ weights: [[Double]],
    _ body: (_ chunk: Schedule.Chunk, _ tangents: UnsafeMutablePointer<S>) -> Void
  ) {
    let source = RowTangents(self, weights: weights)
    let blocks = weights.map { set in
      let vector = Vector<S>(count: source.blockCount)
      accumulate(zip(set, scales).map(*), into: vector, offsets: source.offsets)
      return vector
    }
    let pointers = blocks.map { UnsafePointer($0.pointer) }
    linearization.reserve(directions: weights.count, tangents: true, cotangents: false)
    linearization.forEachChunk { chunk, _, executor in
      body(chunk, executor.jvp(pointers, offsets: source.offsets, adding: source))
    }
    withExtendedLifetime(blocks) {}
  }
}

/// What directions in the span of per-sample gradients bring to the tangents of layers that answer
/// with their kernels.
private struct RowTangents<S: EngineScalar>: TangentSource {
  private struct Layer {
    let factors: Factorization
    /// `[N T, N T]`
    let kernel: Vector<Double>
    /// Output cotangents `[draws, N T, out]`.
    let rows: Vector<Double>
  }
  /// Where the parameters of other layers lie in a direction's block.
  let offsets: [Int?]
  let blockCount: Int
  private let layers: [Int: Layer]
  private let samples: Int
  private let pool: WorkerPool?
  /// Per direction: the draws that take part, and the weights of their rows.
  private let weights: [(draws: Range<Int>, rows: [Double])]

  init(_ gradients: PerSampleGradients<S>, weights: [[Double]]) {
    let linearization = gradients.linearization
    samples = gradients.samples
    pool = linearization.sharesProducts ? linearization.pool : nil
    var layers: [Int: Layer] = [:]
    var answered = Set<ParameterID>()
    for entry in gradients.entries {
      guard case .factored(let node, let factors, let weight, let bias, let rows) = entry,
        factors.prefersRowKernel(samples: samples)
      else { continue }
      answered.insert(weight)
      if let bias { answered.insert(bias) }
      layers[node] = Layer(
        factors: factors,
        kernel: linearization.rowKernel(node: node, factors, hasBias: bias != nil),
        rows: linearization.inDouble(rows))
    }
    self.layers = layers
    var offsets = [Int?](repeating: nil, count: linearization.program.graph.parameters.count)
    var end = 0
    for parameter in linearization.program.trainable where !answered.contains(parameter) {
      offsets[parameter.index] = end
      end += linearization.program.graph.parameters[parameter.index].count
    }
    self.offsets = offsets
    blockCount = end
    self.weights = weights.map { set in
      let scaled = zip(set, gradients.scales).map(*)
      let taking = (0..<gradients.draws).filter { d in
        scaled[d * gradients.samples..<(d + 1) * gradients.samples].contains { $0 != 0 }
      }
      let draws = (taking.first ?? 0)..<(taking.last.map { $0 + 1 } ?? 0)
      return (
        draws,
        Array(scaled[draws.lowerBound * gradients.samples..<draws.upperBound * gradients.samples])
      )
    }
  }

  func addTangents(_ pass: TangentPass<S>, first: Int) {
    guard let layer = layers[pass.nodeIndex] else { return }
    let (positions, outputs) = (layer.factors.positions, layer.factors.outputs)
    let all = samples * positions
    let count = pass.samples * positions
    let kernel = layer.kernel.pointer + first * positions * all
    // Columns whose products stay in the second-level cache.
    let block = min(outputs, max(64, (1 << 16) / max(count, 1)))
    let blocks = (outputs + block - 1) / block
    let products = { (task: Int) in
      let set = weights[task / blocks]
      if set.draws.isEmpty { return }
      let begin = task % blocks * block
      let width = min(block, outputs - begin)
      let k = set.draws.count * all
      withUnsafeTemporaryAllocation(of: Double.self, capacity: count * (k + width)) { scratch in
        let weighted = scratch.baseAddress!
        let product = weighted + count * k
        withUnsafeTemporaryAllocation(of: Double.self, capacity: k) { weights in
          for m in 0..<k { weights[m] = set.rows[m / positions] }
          for i in 0..<count {
            for d in 0..<set.draws.count {
              Kernels.multiply(
                UnsafePointer(kernel + i * all), weights.baseAddress! + d * all,
                weighted + i * k + d * all, count: all)
            }
          }
        }
        let rows = layer.rows.pointer + set.draws.lowerBound * all * outputs
        BLAS.gemm(
          m: count, n: width, k: k, UnsafePointer(weighted), lda: k,
          UnsafePointer(rows + begin), ldb: outputs, product, ldc: width)
        let output = pass.output + task / blocks * count * outputs
        for i in 0..<count {
          Kernels.addRounded(product + i * width, output + i * outputs + begin, count: width)
        }
      }
    }
    let tasks = weights.count * blocks
    if let pool {
      pool.run(tasks) { task, _ in products(task) }
    } else {
      (0..<tasks).forEach(products)
    }
  }
}

extension Linearization {
  /// The same numbers in double: themselves, or a copy.
  fileprivate func inDouble(_ rows: Vector<S>) -> Vector<Double> {
    if let rows = rows as? Vector<Double> { return rows }
    let copy = Vector<Double>(count: rows.count)
    let block = 1 << 16
    pool.run((rows.count + block - 1) / block) { task, _ in
      let first = task * block
      Kernels.toDouble(
        rows.pointer + first, copy.pointer + first, count: min(block, rows.count - first))
    }
    return copy
  }
}
