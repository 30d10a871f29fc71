import GraphModule
import TensorModule

// What each tensor, or layer, adds to a Gram matrix.
extension RowStack {
  /// Adds the lower triangle of one entry's contribution, before scales, and a row of products with
  /// the sum of the first rows times their scales.
  func addGram(
    _ entry: Int, _ blocks: GramBlocks, _ lanes: GramLanes<S>, to total: Vector<Double>
  ) {
    switch parts[0].entries[entry] {
    case .explicit(let parameter, _):
      let columns = linearization.program.graph.parameters[parameter.index].count
      linearization.add(
        sum(of: rows(entry, size: columns), columns: columns, blocks, lanes), blocks, to: total)
    case .factored(let node, let factors, _, let bias, _, let table):
      if table == nil, prefersPairs(factors, blocks) {
        return addGramOfPairs(
          entry, node: node, factors, hasBias: bias != nil, blocks, lanes, to: total)
      }
      switch batch.inputRows(node: node, factors) {
      case .dense:
        addGramOfOuterProducts(entry, node: node, factors, blocks, lanes, to: total)
      case .oneHot:
        addGramOfTables(entry, node: node, factors, blocks, lanes, to: total)
      }
      if bias != nil {
        let sums = factors.positionSums(
          rows(entry, size: factors.positions * factors.outputs))
        let rows = (0..<count).map { UnsafePointer(sums.pointer + $0 * factors.outputs) }
        linearization.addGram(
          ofRows: rows, columns: factors.outputs, blocks.inDouble, lanes, to: total)
      }
    }
  }

  /// The sum of products of rows, `columns` numbers each, that lie below each other in every part.
  func sum(
    of rows: [UnsafePointer<S>], columns: Int, _ blocks: GramBlocks, _ lanes: GramLanes<S>
  ) -> UnsafePointer<Double> {
    if !blocks.isInEngine {
      return linearization.symmetricSum(ofRows: rows, columns: columns, blocks, lanes)
    }
    let each = rows.count / count
    let runs = zip(parts, starts).map { part, start in
      StridedRows(rows: rows[start * each], start: start * each, count: part.count * each)
    }
    return linearization.symmetricSum(runs, columns: columns, blocks, lanes)
  }

  /// Of every row what it has of an entry, `size` numbers each.
  func rows(_ entry: Int, size: Int) -> [UnsafePointer<S>] {
    parts.flatMap { part in
      let first: UnsafePointer<S>
      switch part.entries[entry] {
      case .factored(_, _, _, _, let rows, _), .explicit(_, let rows):
        first = UnsafePointer(rows.pointer)
      }
      return (0..<part.count).map { first + $0 * size }
    }
  }

  /// Of every row its sample in the batch that all are from.
  var sampleOfRow: [Int] { parts.flatMap { part in (0..<part.count).map(part.sample) } }
  var batch: Linearization<S> { parts[0].batch }

  private func prefersPairs(_ factors: Factorization, _ blocks: GramBlocks) -> Bool {
    let base = parts[0]
    if blocks.first == 0 && parts.count == 1 {
      return factors.prefersPairs(
        samples: base.samples, draws: base.draws, isDiagonal: blocks.isDiagonal)
    }
    return factors.prefersPairs(
      samples: batch.samples, border: count - blocks.first, of: count)
  }

  /// Tiles of `b_n^T a_n`: some rows of the weight for all samples at once.
  private func addGramOfOuterProducts(
    _ entry: Int, node: Int, _ factors: Factorization, _ blocks: GramBlocks,
    _ lanes: GramLanes<S>, to total: Vector<Double>
  ) {
    let (inCount, outCount, positions) = (factors.inputs, factors.outputs, factors.positions)
    guard case .dense(let inputs) = batch.inputRows(node: node, factors) else { return }
    let tables = tableRows(entry)
    let (rows, samples) = (rows(entry, size: positions * outCount), sampleOfRow)
    let tiling = GramTiling(outerProducts: factors, rows: count)
    let sum = linearization.symmetricSum(blocks, lanes, tiling) { tile, width, lane in
      let begin = tile * tiling.block
      let length = min(tiling.block, outCount - begin)
      width = length * inCount
      let scratch = lane.scratch(count * width)
      for i in 0..<count {
        BLAS.gemm(
          transposeA: true, m: length, n: inCount, k: positions, rows[i] + begin, lda: outCount,
          inputs + samples[i] * positions * inCount, ldb: inCount, scratch + i * width,
          ldc: inCount)
        tables?[i].add(begin..<begin + length, columns: inCount, to: scratch + i * width)
      }
      if !blocks.isInEngine { Kernels.toDouble(scratch, lane.tile, count: count * width) }
    }
    linearization.add(sum, blocks, to: total)
  }

  /// Of every row what it has of a table that is the layer's weight too.
  func tableRows(_ entry: Int) -> [TableRows<S>]? {
    let tables = parts.flatMap { part -> [TableRows<S>] in
      guard case .factored(_, _, _, _, _, let table?) = part.entries[entry] else { return [] }
      return (0..<part.count).map { part.tableRows(table, row: $0) }
    }
    return tables.isEmpty ? nil : tables
  }

  /// Tiles of an embedding's per-sample gradients, over the rows of the table that occur.
  private func addGramOfTables(
    _ entry: Int, node: Int, _ factors: Factorization, _ blocks: GramBlocks,
    _ lanes: GramLanes<S>, to total: Vector<Double>
  ) {
    let (columns, positions) = (factors.outputs, factors.positions)
    guard case .oneHot(let indices) = batch.inputRows(node: node, factors) else { return }
    let (rows, samples) = (rows(entry, size: positions * columns), sampleOfRow)
    /// Of each row of the table which rows have read it, and where.
    var used: [Int32: [(row: Int, position: Int)]] = [:]
    for (row, sample) in samples.enumerated() {
      for t in 0..<positions {
        used[indices[sample * positions + t], default: []].append((row, t))
      }
    }
    let lists = used.sorted { $0.key < $1.key }.map(\.value)
    let tiling = GramTiling(table: factors, used: lists.count, rows: count)
    let sum = linearization.symmetricSum(blocks, lanes, tiling) { tile, width, lane in
      let first = tile * tiling.block
      let length = min(tiling.block, lists.count - first)
      width = length * columns
      let scratch = lane.scratch(count * width)
      Kernels.zero(scratch, count: count * width)
      for place in 0..<length {
        for (row, t) in lists[first + place] {
          let cell = scratch + row * width + place * columns
          Kernels.add(rows[row] + t * columns, cell, cell, count: columns)
        }
      }
      if !blocks.isInEngine { Kernels.toDouble(scratch, lane.tile, count: count * width) }
    }
    linearization.add(sum, blocks, to: total)
  }
}

extension Factorization {
  /// `[rows, out]`: the cotangents of each row summed over positions, the gradients of a bias.
  func positionSums<S: EngineScalar>(_ rows: [UnsafePointer<S>]) -> Vector<S> {
    let sums = Vector<S>(count: rows.count * outputs)
    for (place, row) in rows.enumerated() {
      Kernels.sumRows(
        row, rows: positions, columns: outputs, sums.pointer + place * outputs, accumulate: false)
    }
    return sums
  }
}
