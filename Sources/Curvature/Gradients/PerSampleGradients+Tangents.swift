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
    let pointers = blocks.map { block in
      source.offsets.map { $0.map { UnsafePointer(block.pointer + $0) } }
    }
    linearization.reserve(directions: weights.count, tangents: true, cotangents: false)
    linearization.forEachChunk(directions: weights.count) { chunk, _, executor in
      body(chunk, executor.jvp(pointers, adding: source))
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
    let rows: Vector<S>
  }
  /// Where the parameters of other layers lie in a direction's block.
  let offsets: [Int?]
  let blockCount: Int
  private let layers: [Int: Layer]
  private let samples: Int
  private let draws: Int
  private let pool: WorkerPool?
  /// Per direction `[draws N]`, for the rows as they are stored.
  private let weights: [[Double]]

  init(_ gradients: PerSampleGradients<S>, weights: [[Double]]) {
    let linearization = gradients.linearization
    samples = gradients.samples
    draws = gradients.draws
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
        kernel: linearization.rowKernel(node: node, factors, hasBias: bias != nil), rows: rows)
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
    self.weights = weights.map { zip($0, gradients.scales).map(*) }
  }

  func addTangents(_ pass: TangentPass<S>, first: Int) {
    guard let layer = layers[pass.nodeIndex] else { return }
    let outputs = layer.factors.outputs
    // Directions and columns whose sums stay in the second-level cache.
    let all = samples * layer.factors.positions
    let group = min(weights.count, max(1, (1 << 10) / all))
    let groups = (weights.count + group - 1) / group
    let block = min(outputs, max(64, (1 << 16) / (all * group)))
    let blocks = (outputs + block - 1) / block
    let add = { (task: Int) in
      let (begin, direction) = (task % blocks * block, task / blocks * group)
      addTangents(
        pass, layer, first: first, columns: begin..<min(begin + block, outputs),
        directions: direction..<min(direction + group, weights.count))
    }
    if let pool {
      pool.run(groups * blocks) { task, _ in add(task) }
    } else {
      (0..<groups * blocks).forEach(add)
    }
  }

  /// `(A A^T) (sum_d W_d B_d)` for some columns of B and some directions, side by side: the draws share
  /// their inputs.
  private func addTangents(
    _ pass: TangentPass<S>, _ layer: Layer, first: Int, columns: Range<Int>,
    directions: Range<Int>
  ) {
    let (positions, outputs) = (layer.factors.positions, layer.factors.outputs)
    let all = samples * positions
    let count = pass.samples * positions
    let kernel = UnsafePointer(layer.kernel.pointer + first * positions * all)
    let width = columns.count
    let weights = Array(weights[directions])
    let wide = weights.count * width
    withUnsafeTemporaryAllocation(of: Double.self, capacity: (all + count) * wide + width) {
      let sums = $0.baseAddress!
      let product = sums + all * wide
      let row = product + count * wide
      Kernels.zero(sums, count: all * wide)
      for d in 0..<draws {
        for t in 0..<all {
          let place = d * samples + t / positions
          if !weights.contains(where: { $0[place] != 0 }) { continue }
          Kernels.toDouble(
            layer.rows.pointer + (d * all + t) * outputs + columns.lowerBound, row, count: width)
          for (r, set) in weights.enumerated() where set[place] != 0 {
            Kernels.axpby(set[place], row, 1, sums + t * wide + r * width, count: width)
          }
        }
      }
      BLAS.gemm(
        m: count, n: wide, k: all, kernel, lda: all, UnsafePointer(sums), ldb: wide, product,
        ldc: wide)
      for r in weights.indices {
        let output =
          pass.output + (directions.lowerBound + r) * count * outputs + columns.lowerBound
        for i in 0..<count {
          Kernels.addRounded(product + i * wide + r * width, output + i * outputs, count: width)
        }
      }
    }
  }
}
