import GraphModule
import TensorModule

extension PerSampleGradients {
  /// `J d` for directions `d = sum_rows weights[row] g_row` that are not formed, all of them in one
  /// pass; `body` gets each chunk's tangents `[R, n, O C]`.
  ///
  /// A layer whose kernel is smaller than its weight adds `(A A^T) W B` to the tangent of its
  /// output. Of all other parameters the blocks of d are formed.
  ///
  /// - Parameters:
  ///   - weights: Per direction `[R N]`; of the order of 1, so that tangents are numbers.
  ///   - inDouble: Per direction whether that product and those blocks are summed in double: where the rows cancel,
  ///     it is there that they do, and what is left is rounded to S only afterwards. Without it no digits are
  ///     lost that a vector of S and its products would keep. By default for none.
  package func jvp(
    _ weights: [[Double]], inDouble: [Bool]? = nil,
    _ body: (_ chunk: Schedule.Chunk, _ tangents: UnsafeMutablePointer<S>) -> Void
  ) {
    let exact = inDouble ?? weights.map { _ in false }
    let source = RowTangents(self, weights: weights, isExact: exact)
    let blocks = zip(weights, exact).map { set, isExact in
      let stored = zip(set, scales).map(*)
      let vector = Vector<S>(count: source.blockCount)
      if isExact && S.self != Double.self {
        let sum = Vector<Double>(count: source.blockCount)
        accumulate(stored, into: sum, offsets: source.offsets)
        Kernels.fromDouble(sum.pointer, vector.pointer, count: source.blockCount)
      } else {
        accumulate(stored, into: vector, offsets: source.offsets)
      }
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
    /// A, where a table is the weight too, and what is read from that.
    let tied: (inputs: UnsafePointer<S>, indices: UnsafePointer<Int32>, Table)?

    typealias Table = PerSampleGradients<S>.Table
  }
  /// Where the parameters of other layers lie in a direction's block.
  let offsets: [Int?]
  let blockCount: Int
  private let layers: [Int: Layer]
  /// Per table that is the weight of one of these layers too its node.
  private let layersOfTables: [Int: Int]
  private let samples: Int
  private let draws: Int
  private let pool: WorkerPool?
  /// Per direction `[draws N]`, for the rows as they are stored.
  private let weights: [[Double]]
  /// Per direction whether its products are in double.
  private let isExact: [Bool]

  init(_ gradients: PerSampleGradients<S>, weights: [[Double]], isExact: [Bool]) {
    self.isExact = isExact
    let linearization = gradients.linearization
    samples = gradients.samples
    draws = gradients.draws
    pool = linearization.sharesProducts ? linearization.pool : nil
    var layers: [Int: Layer] = [:]
    var layersOfTables: [Int: Int] = [:]
    var answered = Set<ParameterID>()
    for entry in gradients.entries {
      guard
        case .factored(let node, let factors, let weight, let bias, let rows, let table) = entry,
        factors.prefersRowKernel(samples: samples)
      else { continue }
      answered.insert(weight)
      if let bias { answered.insert(bias) }
      layers[node] = Layer(
        factors: factors,
        kernel: linearization.rowKernel(node: node, factors, hasBias: bias != nil), rows: rows,
        tied: table.flatMap { table in
          guard case .dense(let inputs) = linearization.inputRows(node: node, factors) else {
            return nil
          }
          layersOfTables[table.table.node] = node
          return (inputs, linearization.indices(of: table.table), table)
        })
    }
    (self.layers, self.layersOfTables) = (layers, layersOfTables)
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
    if let node = layersOfTables[pass.nodeIndex], let layer = layers[node] {
      for direction in weights.indices {
        addLayer(layer, toTable: pass, first: first, direction: direction)
      }
      return
    }
    guard let layer = layers[pass.nodeIndex] else { return }
    if layer.tied != nil {
      for direction in weights.indices {
        addTable(of: layer, pass, first: first, direction: direction)
      }
    }
    let all = samples * layer.factors.positions
    let count = pass.samples * layer.factors.positions
    let kernel = UnsafePointer(layer.kernel.pointer + first * layer.factors.positions * all)
    let (exact, plain) = (
      weights.indices.filter { isExact[$0] }, weights.indices.filter { !isExact[$0] }
    )
    addTangents(of: exact, pass, layer, kernel)
    if plain.isEmpty { return }
    if S.self == Double.self { return addTangents(of: plain, pass, layer, kernel) }
    withUnsafeTemporaryAllocation(of: S.self, capacity: count * all) {
      Kernels.fromDouble(kernel, $0.baseAddress!, count: count * all)
      addTangents(of: plain, pass, layer, UnsafePointer($0.baseAddress!))
    }
  }

  /// Those of some directions, with products in precision T.
  private func addTangents<T: EngineScalar>(
    of chosen: [Int], _ pass: TangentPass<S>, _ layer: Layer, _ kernel: UnsafePointer<T>
  ) {
    let outputs = layer.factors.outputs
    // Directions and columns whose sums stay in the second-level cache.
    let all = samples * layer.factors.positions
    let group = min(chosen.count, max(1, (1 << 10) / all))
    if group == 0 { return }
    let groups = (chosen.count + group - 1) / group
    let scalars = (1 << 16) * MemoryLayout<Double>.stride / MemoryLayout<T>.stride
    let block = min(outputs, max(64, scalars / (all * group)))
    let blocks = (outputs + block - 1) / block
    let add = { (task: Int) in
      let (begin, direction) = (task % blocks * block, task / blocks * group)
      addTangents(
        pass, layer, kernel, columns: begin..<min(begin + block, outputs),
        directions: Array(chosen[direction..<min(direction + group, chosen.count)]))
    }
    if let pool {
      pool.run(groups * blocks) { task, _ in add(task) }
    } else {
      (0..<groups * blocks).forEach(add)
    }
  }

  /// `(A A^T) (sum_d W_d B_d)` for some columns of B and some directions, side by side: the draws share
  /// their inputs.
  private func addTangents<T: EngineScalar>(
    _ pass: TangentPass<S>, _ layer: Layer, _ kernel: UnsafePointer<T>, columns: Range<Int>,
    directions: [Int]
  ) {
    let (positions, outputs) = (layer.factors.positions, layer.factors.outputs)
    let all = samples * positions
    let count = pass.samples * positions
    let width = columns.count
    let weights = directions.map { self.weights[$0] }
    let wide = weights.count * width
    withUnsafeTemporaryAllocation(of: T.self, capacity: (all + count) * wide + width) {
      let sums = $0.baseAddress!
      let product = sums + all * wide
      let converted = product + count * wide
      Kernels.zero(sums, count: all * wide)
      for d in 0..<draws {
        for t in 0..<all {
          let place = d * samples + t / positions
          if !weights.contains(where: { $0[place] != 0 }) { continue }
          let stored = UnsafePointer(
            layer.rows.pointer + (d * all + t) * outputs + columns.lowerBound)
          let row = inPrecision(stored, converted, count: width)
          for (r, set) in weights.enumerated() where set[place] != 0 {
            Kernels.axpby(set[place], row, 1, sums + t * wide + r * width, count: width)
          }
        }
      }
      BLAS.gemm(
        m: count, n: wide, k: all, kernel, lda: all, UnsafePointer(sums), ldb: wide, product,
        ldc: wide)
      for (r, direction) in directions.enumerated() {
        let output = pass.output + direction * count * outputs + columns.lowerBound
        for i in 0..<count {
          add(UnsafePointer(product + i * wide + r * width), to: output + i * outputs, width)
        }
      }
    }
  }

  /// Numbers of the engine in precision T, S or double: where they are, or converted.
  private func inPrecision<T: EngineScalar>(
    _ x: UnsafePointer<S>, _ converted: UnsafeMutablePointer<T>, count: Int
  ) -> UnsafePointer<T> {
    if T.self == S.self { return UnsafeRawPointer(x).assumingMemoryBound(to: T.self) }
    let target = UnsafeMutableRawPointer(converted).assumingMemoryBound(to: Double.self)
    Kernels.toDouble(x, target, count: count)
    return UnsafePointer(converted)
  }

  /// `y += x`
  private func add<T: EngineScalar>(
    _ x: UnsafePointer<T>, to y: UnsafeMutablePointer<S>, _ count: Int
  ) {
    let raw = UnsafeRawPointer(x)
    if T.self == S.self {
      return Kernels.add(raw.assumingMemoryBound(to: S.self), y, y, count: count)
    }
    Kernels.addRounded(raw.assumingMemoryBound(to: Double.self), y, count: count)
  }

  // MARK: - Tables that are weights too

  // With the rows B of the layer and E of the table, whose row i is read where the columns of Z are one, d is
  // `B^T W A + Z^T W E`: what one of the two has to the other is small beside what each has to itself, and
  // taken in double.

  /// `A (W E)^T Z` at the outputs of the layer.
  private func addTable(
    of layer: Layer, _ pass: TangentPass<S>, first: Int, direction: Int
  ) {
    guard let (inputs, indices, table) = layer.tied else { return }
    let (columns, outputs) = (layer.factors.inputs, layer.factors.outputs)
    let count = pass.samples * layer.factors.positions
    let read = samples * table.table.factors.positions
    withUnsafeTemporaryAllocation(
      of: Double.self, capacity: (count + read) * columns + count * read
    ) {
      let a = $0.baseAddress!
      let e = a + count * columns
      let product = e + read * columns
      Kernels.toDouble(
        inputs + first * layer.factors.positions * columns, a, count: count * columns)
      weigh(table, direction: direction, to: e)
      BLAS.gemm(
        transposeB: true, m: count, n: read, k: columns, UnsafePointer(a), lda: columns,
        UnsafePointer(e), ldb: columns, product, ldc: read)
      for row in 0..<count {
        let output = pass.output + (direction * count + row) * outputs
        for t in 0..<read { output[Int(indices[t])] += S(product[row * read + t]) }
      }
    }
  }

  /// `Z (B^T W A + Z^T W E)` at the rows that have been read from the table.
  private func addLayer(
    _ layer: Layer, toTable pass: TangentPass<S>, first: Int, direction: Int
  ) {
    guard let (inputs, indices, table) = layer.tied else { return }
    let (columns, outputs) = (layer.factors.inputs, layer.factors.outputs)
    let (positions, all) = (layer.factors.positions, samples * layer.factors.positions)
    let count = pass.samples * table.table.factors.positions
    let read = samples * table.table.factors.positions
    let own = indices + first * table.table.factors.positions
    withUnsafeTemporaryAllocation(
      of: Double.self, capacity: (all + read + count) * columns + count * all
    ) {
      let a = $0.baseAddress!
      let e = a + all * columns
      let sums = e + read * columns
      let b = sums + count * columns
      Kernels.toDouble(inputs, a, count: all * columns)
      weigh(table, direction: direction, to: e)
      for t in 0..<count {
        for s in 0..<all {
          var sum = 0.0
          for d in 0..<draws {
            let weight = weights[direction][d * samples + s / positions]
            if weight == 0 { continue }
            sum += weight * Double(layer.rows.pointer[(d * all + s) * outputs + Int(own[t])])
          }
          b[t * all + s] = sum
        }
      }
      BLAS.gemm(
        m: count, n: columns, k: all, UnsafePointer(b), lda: all, UnsafePointer(a), ldb: columns,
        sums, ldc: columns)
      for t in 0..<count {
        let sum = sums + t * columns
        for other in 0..<read where indices[other] == own[t] {
          Kernels.add(e + other * columns, sum, sum, count: columns)
        }
      }
      Kernels.addRounded(
        sums, pass.output + direction * count * columns, count: count * columns)
    }
  }

  /// `W E`, `[N T, columns]`.
  private func weigh(
    _ table: Layer.Table, direction: Int, to out: UnsafeMutablePointer<Double>
  ) {
    let (positions, columns) = (table.table.factors.positions, table.table.factors.outputs)
    let read = samples * positions
    Kernels.zero(out, count: read * columns)
    withUnsafeTemporaryAllocation(of: Double.self, capacity: columns) { row in
      for d in 0..<draws {
        for t in 0..<read {
          let weight = weights[direction][d * samples + t / positions]
          if weight == 0 { continue }
          Kernels.toDouble(
            table.rows.pointer + (d * read + t) * columns, row.baseAddress!, count: columns)
          Kernels.axpby(weight, row.baseAddress!, 1, out + t * columns, count: columns)
        }
      }
    }
  }
}
