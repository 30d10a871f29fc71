import GraphModule
import TensorModule

/// `K = G G^T` of per-sample gradients, `[R N, R N]` in double, from whatever form each parameter
/// has them in (method.md 3):
/// * factored, few positions: `K += (A A^T) * (B B^T)` element by element, summed over positions;
/// * factored, many positions: tiles of the per-sample matrices `b_n^T a_n`, one `syrk` each;
/// * explicit: tiles of the rows.
///
/// Kept divided by the square of `unit`, a power of two near the largest norm: gradients of 1e-160
/// are numbers, their products are not.
package struct GramMatrix: Sendable {
  package let count: Int
  package let unit: Double
  /// `K / unit^2`, row-major, symmetric.
  package let scaled: [Double]

  package init(count: Int, unit: Double, scaled: [Double]) {
    precondition(scaled.count == count * count, "GramMatrix: \(scaled.count) values, \(count) rows")
    self.count = count
    self.unit = unit
    self.scaled = scaled
  }

  /// K itself, which may underflow.
  package subscript(row: Int, column: Int) -> Double { scaled(row, column) * unit * unit }

  package func scaled(_ row: Int, _ column: Int) -> Double { scaled[row * count + column] }

  /// `|g_row|_2`
  package func norm(_ row: Int) -> Double { unit * scaled(row, row).squareRoot() }
}

extension PerSampleGradients {
  /// The Gram matrix of all rows over all trainable parameters.
  package func gramMatrix() -> GramMatrix {
    var total = [Double](repeating: 0, count: count * count)
    for entry in entries {
      let part = gram(entry)
      total.withUnsafeMutableBufferPointer { total in
        part.withUnsafeBufferPointer { part in
          Kernels.add(
            part.baseAddress!, total.baseAddress!, total.baseAddress!, count: count * count)
        }
      }
    }
    let norms = (0..<count).map { total[$0 * count + $0].squareRoot() * scales[$0] }
    let unit = powerOfTwo(near: norms.max() ?? 0)
    for i in 0..<count {
      for j in 0...i {
        let value = total[i * count + j] * (scales[i] / unit) * (scales[j] / unit)
        total[i * count + j] = value
        total[j * count + i] = value
      }
    }
    return GramMatrix(count: count, unit: unit, scaled: total)
  }

  /// Lower triangle of one entry's contribution, before scales.
  private func gram(_ entry: Entry) -> [Double] {
    switch entry {
    case .explicit(let parameter, let rows):
      let columns = linearization.program.graph.parameters[parameter.index].count
      return gramOfRows(UnsafePointer(rows.pointer), rows: count, columns: columns)
    case .factored(let node, let factors, _, let bias, let rows):
      let inputs = linearization.inputRows(node: node, factors)
      if prefersPairs(factors) {
        return gramOfPairs(factors, inputs: inputs, hasBias: bias != nil, rows: rows)
      }
      var total: [Double]
      switch inputs {
      case .dense(let a): total = gramOfOuterProducts(factors, inputs: a, rows: rows)
      case .oneHot(let indices): total = gramOfTables(factors, indices: indices, rows: rows)
      }
      if bias != nil {
        let sums = positionSums(factors, rows: rows)
        let part = gramOfRows(
          UnsafePointer(sums.pointer), rows: count, columns: factors.outputs)
        for i in total.indices { total[i] += part[i] }
      }
      return total
    }
  }

  // MARK: - Pairs of positions

  /// Pairs of rows cost `(N T)^2 in + (R N T)^2 out` operations, explicit tiles `R N T in out`
  /// at the engine's rate and `(R N)^2 in out`.
  private func prefersPairs(_ factors: Factorization) -> Bool {
    let (inputs, outputs) = (Double(factors.inputs), Double(factors.outputs))
    let rows = Double(samples * factors.positions)
    let drawnRows = Double(draws) * rows
    guard drawnRows * drawnRows <= Double(1 << 25) else { return false }
    let inputWork = factors.rows == .oneHot ? 0 : rows * rows * inputs
    let pairs = inputWork + drawnRows * drawnRows * outputs
    let tiles =
      drawnRows * inputs * outputs + Double(count) * Double(count) * inputs * outputs
    return pairs <= tiles
  }

  /// `K_(dn)(em) = sum_ts (a_nt . a_ms + [bias]) (b_dnt . b_ems)`
  private func gramOfPairs(
    _ factors: Factorization, inputs: InputRows<S>, hasBias: Bool, rows: Vector<S>
  ) -> [Double] {
    let positions = factors.positions
    let inputRows = samples * positions
    var a: [Double]
    switch inputs {
    case .dense(let pointer):
      a = gramOfRows(pointer, rows: inputRows, columns: factors.inputs)
    case .oneHot(let indices):
      a = [Double](repeating: 0, count: inputRows * inputRows)
      for t in 0..<inputRows {
        for s in 0...t where indices[t] == indices[s] { a[t * inputRows + s] = 1 }
      }
    }
    if hasBias { for i in a.indices { a[i] += 1 } }
    let drawnRows = draws * inputRows
    let b = gramOfRows(
      UnsafePointer(rows.pointer), rows: drawnRows, columns: factors.outputs)
    var result = [Double](repeating: 0, count: count * count)
    let (count, samples) = (count, samples)
    result.withUnsafeMutableBufferPointer { result in
      a.withUnsafeBufferPointer { a in
        b.withUnsafeBufferPointer { b in
          // Rows of the result are independent.
          linearization.pool.run(count) { i, _ in
            for j in 0...i {
              var sum = 0.0
              for t in 0..<positions {
                let at = (i % samples) * positions + t
                let bt = i * positions + t
                for s in 0..<positions {
                  let asIndex = (j % samples) * positions + s
                  let bs = j * positions + s
                  // Only lower triangles are filled.
                  let (hiA, loA) = (max(at, asIndex), min(at, asIndex))
                  let (hiB, loB) = (max(bt, bs), min(bt, bs))
                  sum += a[hiA * inputRows + loA] * b[hiB * drawnRows + loB]
                }
              }
              result[i * count + j] = sum
            }
          }
        }
      }
    }
    return result
  }

  // MARK: - Tiles

  /// Tiles of `b_n^T a_n`: some rows of the weight for all samples at once.
  private func gramOfOuterProducts(
    _ factors: Factorization, inputs: UnsafePointer<S>, rows: Vector<S>
  ) -> [Double] {
    let (inCount, outCount, positions) = (factors.inputs, factors.outputs, factors.positions)
    // Products with fewer than 16 rows run far below the rate of larger ones.
    let block = min(outCount, max(16, tileScalars / max(count * inCount, 1)))
    let tiles = (outCount + block - 1) / block
    return symmetricSum(tiles: tiles, width: block * inCount) { tile, width, target, scratch in
      let begin = tile * block
      let length = min(block, outCount - begin)
      width = length * inCount
      for i in 0..<count {
        BLAS.gemm(
          transposeA: true, m: length, n: inCount, k: positions,
          rows.pointer + i * positions * outCount + begin, lda: outCount,
          inputs + (i % samples) * positions * inCount, ldb: inCount, scratch + i * width,
          ldc: inCount)
      }
      Kernels.toDouble(scratch, target, count: count * width)
    }
  }

  /// Tiles of an embedding's per-sample gradients, over the rows of the table that occur.
  private func gramOfTables(
    _ factors: Factorization, indices: UnsafePointer<Int32>, rows: Vector<S>
  ) -> [Double] {
    let (columns, positions) = (factors.outputs, factors.positions)
    var used: [Int32: [Int]] = [:]
    for t in 0..<samples * positions { used[indices[t], default: []].append(t) }
    let lists = used.sorted { $0.key < $1.key }.map(\.value)
    let block = max(1, min(lists.count, tileScalars / max(count * columns, 1)))
    let tiles = (lists.count + block - 1) / block
    return symmetricSum(tiles: tiles, width: block * columns) { tile, width, target, scratch in
      let first = tile * block
      let length = min(block, lists.count - first)
      width = length * columns
      Kernels.zero(scratch, count: count * width)
      for place in 0..<length {
        for t in lists[first + place] {
          for d in 0..<draws {
            let row = d * samples + t / positions
            let cell = scratch + row * width + place * columns
            let source = rows.pointer + (d * samples * positions + t) * columns
            Kernels.add(source, cell, cell, count: columns)
          }
        }
      }
      Kernels.toDouble(scratch, target, count: count * width)
    }
  }

  /// `[R N, out]`: cotangents summed over positions, the gradients of a bias.
  func positionSums(_ factors: Factorization, rows: Vector<S>) -> Vector<S> {
    let sums = Vector<S>(count: count * factors.outputs)
    for i in 0..<count {
      Kernels.sumRows(
        rows.pointer + i * factors.positions * factors.outputs, rows: factors.positions,
        columns: factors.outputs, sums.pointer + i * factors.outputs, accumulate: false)
    }
    return sums
  }

  /// Lower triangle of `X X^T`, X `[rows, columns]`.
  private func gramOfRows(_ x: UnsafePointer<S>, rows: Int, columns: Int) -> [Double] {
    let block = max(1, min(columns, tileScalars / max(rows, 1)))
    let tiles = (columns + block - 1) / block
    return symmetricSum(rows: rows, tiles: tiles, width: block) { tile, width, target, _ in
      let begin = tile * block
      width = min(block, columns - begin)
      for i in 0..<rows {
        Kernels.toDouble(x + i * columns + begin, target + i * width, count: width)
      }
    }
  }

  /// Scalars of one tile: half a megabyte of doubles, so that it stays in the second-level cache.
  private var tileScalars: Int { 1 << 16 }

  /// `sum_tiles T T^T` where `fill` writes tile T as `[rows, width]`, `width` at most the given.
  private func symmetricSum(
    rows: Int? = nil, tiles: Int, width: Int,
    fill: (
      _ tile: Int, _ width: inout Int, _ target: UnsafeMutablePointer<Double>,
      _ scratch: UnsafeMutablePointer<S>
    ) -> Void
  ) -> [Double] {
    let rows = rows ?? count
    // Fixed lanes, added in order: the same bits for every number of threads.
    let affordable = max(1, (1 << 24) / max(rows * rows, 1))
    let lanes = Schedule.split(tiles, into: max(1, min(tiles, 16, affordable)))
    let partials = lanes.map { _ in Vector<Double>(count: rows * rows) }
    linearization.pool.run(lanes.count) { lane, _ in
      let target = Vector<Double>(count: rows * width)
      let scratch = Vector<S>(count: rows * width)
      for tile in lanes[lane] {
        var actual = width
        fill(tile, &actual, target.pointer, scratch.pointer)
        BLAS.symmetricRankUpdate(
          n: rows, k: actual, target.pointer, lda: actual, partials[lane].pointer, ldc: rows)
      }
    }
    for partial in partials.dropFirst() {
      Kernels.add(partial.pointer, partials[0].pointer, partials[0].pointer, count: rows * rows)
    }
    return partials[0].array
  }
}
