import GraphModule
import TensorModule

// Gram matrices of factored gradients, from products of pairs of positions.
extension PerSampleGradients {
  /// `K_(dn)(em) = sum_ts (a_nt . a_ms + [bias]) (b_dnt . b_ems)`, all of them whatever the blocks: the
  /// products with the sum rest on them.
  func addGramOfPairs(
    node: Int, _ factors: Factorization, hasBias: Bool, rows: Vector<S>,
    _ blocks: GramBlocks, _ lanes: GramLanes<S>, to total: Vector<Double>
  ) {
    let positions = factors.positions
    let kernel = linearization.sharedRowKernel(node: node, factors, hasBias: hasBias, lanes)
    let inputRows = kernel.batch * positions
    let drawnRows = draws * samples * positions
    let b = linearization.symmetricSum(
      ofRows: rows.pointer, columns: factors.outputs, .init(rows: drawnRows, split: drawnRows),
      lanes)
    let (a, out) = (kernel.values.pointer, total.pointer)
    let (samples, places) = (samples, kernel.samples)
    /// For i >= j: of the products of cotangents only the lower triangle is filled.
    func product(_ i: Int, _ j: Int) -> Double {
      var sum = 0.0
      for t in 0..<positions {
        let at =
          a + (places[i % samples] * positions + t) * inputRows + places[j % samples] * positions
        let bt = i * positions + t
        for s in 0..<positions {
          let bs = j * positions + s
          sum += at[s] * b[max(bt, bs) * drawnRows + min(bt, bs)]
        }
      }
      return sum
    }
    let weights = blocks.sumWeights
    // Rows of the result are independent.
    if positions == 1 && !blocks.isDiagonal {
      return addProducts(kernel, b, weights, firstDot: blocks.firstDot, to: out)
    }
    linearization.pool.run(count) { i, _ in
      var dot = 0.0
      for j in 0...i {
        let value = product(i, j)
        if !blocks.isDiagonal || i == j { out[blocks.place(i, j)] += value }
        if j < weights.count { dot += weights[j] * value }
      }
      if i + 1 < weights.count {
        for j in i + 1..<weights.count { dot += weights[j] * product(j, i) }
      }
      out[blocks.firstDot + i] += dot
    }
  }

  /// The same for one position and all products of rows: runs of `samples` entries lie side by side.
  private func addProducts(
    _ kernel: SharedRowKernel, _ b: UnsafePointer<Double>, _ weights: [Double], firstDot: Int,
    to out: UnsafeMutablePointer<Double>
  ) {
    let (count, samples, batch) = (count, samples, kernel.batch)
    let (a, isOwn) = (UnsafePointer(kernel.values.pointer), kernel.isOwn)
    weights.withUnsafeBufferPointer { weights in
      kernel.samples.withUnsafeBufferPointer { places in
        linearization.pool.run(count) { i, _ in
          let at = a + places[i % samples] * batch
          var dot = 0.0
          for first in stride(from: 0, through: i, by: samples) {
            let length = min(samples, i + 1 - first)
            let (bt, target) = (b + i * count + first, out + i * count + first)
            if isOwn {
              for m in 0..<length { target[m] += at[m] * bt[m] }
            } else {
              for m in 0..<length { target[m] += at[places[m]] * bt[m] }
            }
            for m in 0..<max(0, min(length, weights.count - first)) {
              dot += weights[first + m] * (at[places[m]] * bt[m])
            }
          }
          if weights.isEmpty { return }
          for j in min(i + 1, weights.count)..<weights.count {
            dot += weights[j] * (at[places[j % samples]] * b[j * count + i])
          }
          out[firstDot + i] += dot
        }
      }
    }
  }
}
