import GraphModule
import TensorModule

// Gram matrices of factored gradients, from products of pairs of positions.
extension RowStack {
  /// `K_ij = sum_ts (a_it . a_js + [bias]) (b_it . b_js)`, all of them whatever the blocks: the
  /// products with the sum rest on them.
  func addGramOfPairs(
    _ entry: Int, node: Int, _ factors: Factorization, hasBias: Bool,
    _ blocks: GramBlocks, _ lanes: GramLanes<S>, to total: Vector<Double>
  ) {
    let positions = factors.positions
    let kernel = batch.rowKernel(node: node, factors, hasBias: hasBias, lanes)
    let inputRows = batch.samples * positions
    let drawnRows = count * positions
    let own = rows(entry, size: positions * factors.outputs)
    let drawnBlocks = GramBlocks(
      rows: drawnRows, split: drawnRows, first: blocks.first * positions,
      isInEngine: blocks.isInEngine)
    let b = sum(
      of: own.flatMap { row in (0..<positions).map { row + $0 * factors.outputs } },
      columns: factors.outputs, drawnBlocks, lanes)
    let (a, out) = (kernel.pointer, total.pointer)
    let places = sampleOfRow
    let (first, weights) = (blocks.first, blocks.sumWeights)
    if positions == 1 && !blocks.isDiagonal {
      return addProducts(kernel, b, blocks, places, to: out)
    }
    /// For i >= j: of the products of cotangents only the lower triangle is filled.
    func product(_ i: Int, _ j: Int) -> Double {
      var sum = 0.0
      for t in 0..<positions {
        let at = a + (places[i] * positions + t) * inputRows + places[j] * positions
        let bt = i * positions + t
        for s in 0..<positions {
          let bs = j * positions + s
          sum += at[s] * b[drawnBlocks.place(max(bt, bs), min(bt, bs))]
        }
      }
      return sum
    }
    // Rows of the result are independent.
    linearization.pool.run(count - first) { place, _ in
      let i = first + place
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

  /// The same for one position and all products of rows: draws of the whole batch are runs of entries that
  /// lie side by side.
  private func addProducts(
    _ kernel: Vector<Double>, _ b: UnsafePointer<Double>, _ blocks: GramBlocks,
    _ places: [Int], to out: UnsafeMutablePointer<Double>
  ) {
    let (count, batch, border, weights) = (count, batch.samples, blocks.first, blocks.sumWeights)
    let a = UnsafePointer(kernel.pointer)
    var runs: [(first: Int, end: Int, isWhole: Bool)] = []
    for (part, start) in zip(parts, starts) {
      if part.linearization.origin == nil {
        for draw in 0..<part.draws {
          runs.append((start + draw * batch, start + (draw + 1) * batch, true))
        }
      } else {
        runs.append((start, start + part.count, false))
      }
    }
    let known = runs
    weights.withUnsafeBufferPointer { weights in
      places.withUnsafeBufferPointer { places in
        linearization.pool.run(count - border) { place, _ in
          let i = border + place
          let at = a + places[i] * batch
          let (own, target) = (b + place * count, out + place * count)
          var dot = 0.0
          for run in known where run.first <= i {
            let end = min(run.end, i + 1)
            if run.isWhole {
              let (own, target) = (own + run.first, target + run.first)
              for m in 0..<end - run.first { target[m] += at[m] * own[m] }
            } else {
              for m in run.first..<end { target[m] += at[places[m]] * own[m] }
            }
          }
          if weights.isEmpty { return }
          for j in 0..<min(i + 1, weights.count) { dot += weights[j] * (at[places[j]] * own[j]) }
          for j in min(i + 1, weights.count)..<weights.count {
            dot += weights[j] * (at[places[j]] * b[j * count + i])
          }
          out[blocks.firstDot + i] += dot
        }
      }
    }
  }
}

extension Factorization {
  /// The same as for a whole Gram matrix, of the products of some rows with all.
  ///
  /// - Parameter samples: Of the batch, whose kernel is there if its own matrix is of pairs.
  func prefersPairs(samples: Int, border: Int, of count: Int) -> Bool {
    let (columns, outputs, t) = (Double(inputs), Double(outputs), Double(positions))
    let (border, count) = (Double(border), Double(count))
    // As of a whole matrix of so many rows; and no kernel that it has not and that is large.
    guard count * t * count * t <= 0x1p25 else { return false }
    let isKnown = prefersPairs(samples: samples, draws: 1, isDiagonal: false)
    let inputRows = Double(samples) * t
    guard isKnown || rows == .oneHot || inputRows * inputRows <= 0x1p20 else { return false }
    let kernel = isKnown || rows == .oneHot ? 0 : inputRows * inputRows * columns
    let tiles = count * t * columns * outputs + border * count * columns * outputs
    return kernel + border * t * count * t * outputs <= tiles
  }
}
