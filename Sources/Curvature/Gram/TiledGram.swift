import GraphModule
import TensorModule

/// Which products of rows a Gram matrix holds. Products with the sum of the first draw's rows it
/// always holds.
package enum GramProducts: Sendable {
  /// Of all rows with each other.
  case all
  /// Of the rows of the first draw, and of those of the others; the first draw's rows make the sum.
  case perBlock
  /// Of every row with itself; the first draw's rows make the sum.
  case norms
}

/// Which products `X X^T` of rows are formed, and how the sum is made.
struct GramBlocks {
  let rows: Int
  /// Rows before it and rows from it on are two blocks, without entries between them.
  let split: Int
  /// Rows before it have no products with each other.
  var first = 0
  /// Whether the rows of a tile are multiplied in the engine's precision, and only then added in double.
  var isInEngine = false
  /// Nothing but the diagonal.
  var isDiagonal = false
  /// Of the sum of the first rows with which every row is multiplied too; empty: without it.
  var sumWeights: [Double] = []

  /// Scalars of a sum: the products, `[rows - first, rows]` or their diagonal, and one more row of products
  /// with the sum of the first rows.
  var sumCount: Int { firstDot + rows }

  /// Doubles of a lane: a sum, a tile of so many columns, and the sum and the products of its rows, each
  /// from a cache line on.
  func laneParts(width: Int) -> [ByteCount] {
    let (n, m) = (ByteCount(rows), ByteCount(width))
    return [(isDiagonal ? n : ByteCount(rows - first) * n) + n, n * m, m, n]
      .map { ByteCount(($0 + 7).value / 8) * 8 }
  }
  /// Where that row begins.
  var firstDot: Int { isDiagonal ? rows : (rows - first) * rows }

  /// Where the product of two rows is; of a diagonal that of a row with itself.
  func place(_ row: Int, _ column: Int) -> Int {
    isDiagonal ? row : (row - first) * rows + column
  }
}

extension GramBlocks {
  var inDouble: GramBlocks {
    var other = self
    other.isInEngine = false
    return other
  }

  /// Adds `T T^T` of a tile, `[rows, columns]`: the lower triangles of blocks, and what is left of them from the first
  /// row on.
  fileprivate func addProducts(
    _ tile: UnsafePointer<Double>, columns: Int, to out: UnsafeMutablePointer<Double>
  ) {
    for (begin, end) in [(first, split), (split, rows)] where end > begin {
      BLAS.symmetricRankUpdate(
        n: end - begin, k: columns, tile + begin * columns, lda: columns,
        out + place(begin, begin), ldc: rows)
    }
    BLAS.gemm(
      transposeB: true, m: first > 0 ? rows - first : 0, n: first, k: columns,
      tile + first * columns, lda: columns, tile, ldb: columns, beta: 1, out, ldc: rows)
  }
}

/// How the columns of a product are cut into tiles, whose products are summed: what the engine computes
/// in, and what plans of memory count.
struct GramTiling {
  /// Columns of a tile at the most.
  let width: Int
  /// What a tile has of the rows of a weight, the rows of a table, or columns.
  let block: Int
  let tiles: Int

  /// Scalars of one tile: half a megabyte of doubles, so that it stays in the second-level cache.
  static var scalars: Int { 1 << 16 }

  private init(_ count: Int, of columns: Int, together block: Int) {
    self.block = block
    width = block * columns
    tiles = (count + block - 1) / max(block, 1)
  }

  /// Of a matrix `[rows, columns]`.
  init(rows: Int, columns: Int) {
    self.init(columns, of: 1, together: max(1, min(columns, Self.scalars / max(rows, 1))))
  }

  /// Of `rows` gradients of a weight, formed some rows of the weight at once. Products with fewer than 16
  /// run far below the rate of larger ones.
  init(outerProducts factors: Factorization, rows: Int) {
    self.init(
      factors.outputs, of: factors.inputs,
      together: min(factors.outputs, max(16, Self.scalars / max(rows * factors.inputs, 1))))
  }

  /// Of `rows` gradients of a table of which so many rows are read.
  init(table factors: Factorization, used: Int, rows: Int) {
    self.init(
      used, of: factors.outputs,
      together: max(1, min(used, Self.scalars / max(rows * factors.outputs, 1))))
  }

  /// Sums that are formed side by side: fewer where there is little to do, since each has to be cleared
  /// and added. Their memory is 128 MB at the most.
  func lanes(rows: Int) -> Int {
    let square = Double(rows) * Double(rows)
    let operations = square * Double(tiles * width)
    let most = max(1, Int(min(8, Double(1 << 24) / max(square, 1))))
    let wanted = operations < 0x1p27 ? 2 : operations < 0x1p28 ? 4 : 8
    return max(1, min(tiles, wanted, most))
  }
}

// Symmetric products in double over tiles of columns, on all workers.
extension Linearization {
  /// Adds the lower triangle of `X X^T`, X `[rows, columns]`, and a row of products with the weighted
  /// sum of the first rows.
  func addGram(
    ofRows x: [UnsafePointer<S>], columns: Int, _ blocks: GramBlocks, _ lanes: GramLanes<S>,
    to total: Vector<Double>
  ) {
    add(symmetricSum(ofRows: x, columns: columns, blocks, lanes), blocks, to: total)
  }

  /// The same product alone.
  func symmetricSum(
    ofRows x: [UnsafePointer<S>], columns: Int, _ blocks: GramBlocks, _ lanes: GramLanes<S>
  ) -> UnsafePointer<Double> {
    let rows = blocks.rows
    let tiling = GramTiling(rows: rows, columns: columns)
    return symmetricSum(blocks, lanes, tiling) { tile, width, lane in
      let begin = tile * tiling.block
      width = min(tiling.block, columns - begin)
      for i in 0..<rows {
        Kernels.toDouble(x[i] + begin, lane.tile + i * width, count: width)
      }
    }
  }

  func add(_ sum: UnsafePointer<Double>, _ blocks: GramBlocks, to total: Vector<Double>) {
    pool.forEachRange(blocks.sumCount) { _, range in
      let target = total.pointer + range.lowerBound
      Kernels.add(sum + range.lowerBound, target, target, count: range.count)
    }
  }

  /// `sum_tiles T T^T` where `fill` writes tile T to its lane as `[rows, width]`, `width` at most the
  /// given.
  ///
  /// - Returns: The lower triangle and the products with the sum as `GramBlocks` places them, in the
  ///   memory of the lanes: until they are used again.
  func symmetricSum(
    _ blocks: GramBlocks, _ memory: GramLanes<S>, _ tiling: GramTiling,
    fill: (_ tile: Int, _ width: inout Int, _ lane: GramLanes<S>.Lane) -> Void
  ) -> UnsafePointer<Double> {
    let rows = blocks.rows
    return sum(over: tiling, blocks, memory) { place, lane in
      let (tile, out) = (lane.tile, lane.partial)
      var actual = tiling.width
      fill(place, &actual, lane)
      if blocks.isDiagonal {
        for i in 0..<rows {
          let row = UnsafePointer(tile + i * actual)
          out[blocks.place(i, i)] += Kernels.dot(row, row, count: actual)
        }
      } else if blocks.isInEngine {
        let tile = UnsafePointer(lane.scratch(0))
        lane.addProducts(
          blocks, [StridedRows(rows: tile, start: 0, count: rows)], stride: actual, columns: actual)
      } else {
        blocks.addProducts(tile, columns: actual, to: out)
      }
      if blocks.sumWeights.isEmpty { return }
      let (sum, products) = (lane.sum, lane.products)
      Kernels.zero(sum, count: actual)
      for (i, weight) in blocks.sumWeights.enumerated() {
        Kernels.axpby(weight, tile + i * actual, 1, sum, count: actual)
      }
      BLAS.multiply(
        rows: rows, columns: actual, tile, stride: actual, sum, into: products)
      let dots = out + blocks.firstDot
      Kernels.add(products, dots, dots, count: rows)
    }
  }

  /// A sum over tiles, each added to the `partial` of its lane.
  private func sum(
    over tiling: GramTiling, _ blocks: GramBlocks, _ memory: GramLanes<S>,
    add: (_ tile: Int, _ lane: GramLanes<S>.Lane) -> Void
  ) -> UnsafePointer<Double> {
    // Fixed lanes, added by a fixed tree: the same bits for every number of threads.
    let ranges = Schedule.split(tiling.tiles, into: tiling.lanes(rows: blocks.rows))
    let lanes = memory.lanes(ranges.count)
    pool.run(ranges.count) { number, _ in
      let lane = lanes[number]
      lane.reserve(blocks, width: tiling.width)
      Kernels.zero(lane.partial, count: blocks.sumCount)
      for place in ranges[number] { add(place, lane) }
    }
    let whole = lanes[0].partial
    if lanes.count == 1 { return UnsafePointer(whole) }
    pool.forEachRange(blocks.sumCount) { _, range in
      SummationTree.add(
        lanes.map { UnsafePointer($0.partial + range.lowerBound) }, count: range.count,
        to: whole + range.lowerBound)
    }
    return UnsafePointer(whole)
  }
}

/// Rows below each other, from one of a stack on.
struct StridedRows<S: EngineScalar> {
  let rows: UnsafePointer<S>
  let start: Int
  let count: Int
}

extension Linearization {
  /// `symmetricSum` of rows as they lie, in the engine's precision.
  func symmetricSum(
    _ runs: [StridedRows<S>], columns: Int, _ blocks: GramBlocks, _ memory: GramLanes<S>
  ) -> UnsafePointer<Double> {
    let tiling = GramTiling(rows: blocks.rows, columns: columns)
    return sum(over: tiling, blocks, memory) { place, lane in
      let begin = place * tiling.block
      lane.addProducts(
        blocks, runs.map { StridedRows(rows: $0.rows + begin, start: $0.start, count: $0.count) },
        stride: columns, columns: min(tiling.block, columns - begin))
    }
  }
}

/// The memory of `symmetricSum`, used again from one parameter to the next: fresh memory would
/// cost more time than many of the products.
final class GramLanes<S: EngineScalar> {
  /// The memory of one worker at a time: one block, which is large enough for a huge page where its
  /// parts would not be.
  final class Lane {
    /// A sum.
    private(set) var partial: UnsafeMutablePointer<Double>
    /// `[rows, width]`
    private(set) var tile: UnsafeMutablePointer<Double>
    /// `[width]` and `[rows]`
    private(set) var sum: UnsafeMutablePointer<Double>
    private(set) var products: UnsafeMutablePointer<Double>
    private var memory = Vector<Double>(count: 0)
    private var scratch = Vector<S>(count: 0)
    /// Products in the engine's precision.
    private var own = Vector<S>(count: 0)
    private var ownInDouble = Vector<Double>(count: 0)

    init() {
      (partial, tile, sum, products) = (
        memory.pointer, memory.pointer, memory.pointer, memory.pointer
      )
    }

    /// Room for sums of this size, with whatever was left in it.
    func reserve(_ blocks: GramBlocks, width: Int) {
      let sizes = blocks.laneParts(width: width).map(\.value)
      grow(&memory, sizes.reduce(0, +))
      partial = memory.pointer
      tile = partial + sizes[0]
      sum = tile + sizes[1]
      products = sum + sizes[2]
    }

    /// Room in the engine's precision.
    func scratch(_ count: Int) -> UnsafeMutablePointer<S> {
      grow(&scratch, count)
      return scratch.pointer
    }

    /// The same as `GramBlocks.addProducts` of `columns` columns of rows as they lie, `stride` apart.
    fileprivate func addProducts(
      _ blocks: GramBlocks, _ runs: [StridedRows<S>], stride: Int, columns: Int
    ) {
      let (first, rows) = (blocks.first, blocks.rows)
      grow(&own, (rows - first) * rows)
      grow(&ownInDouble, rows)
      // Some rows at a time: the upper triangle is not wanted.
      let width = 64
      for run in runs where run.start + run.count > first {
        for begin in Swift.stride(
          from: max(first, run.start), to: run.start + run.count, by: width)
        {
          let end = min(begin + width, run.start + run.count)
          let target = own.pointer + (begin - first) * rows
          for other in runs where other.start < end {
            BLAS.gemm(
              transposeB: true, m: end - begin, n: min(other.count, end - other.start), k: columns,
              run.rows + (begin - run.start) * stride, lda: stride, other.rows, ldb: stride,
              target + other.start, ldc: rows)
          }
          for i in begin..<end {
            Kernels.toDouble(own.pointer + (i - first) * rows, ownInDouble.pointer, count: i + 1)
            let sum = partial + blocks.place(i, 0)
            Kernels.add(ownInDouble.pointer, sum, sum, count: i + 1)
          }
        }
      }
    }

    private func grow<T>(_ vector: inout Vector<T>, _ count: Int) {
      if vector.count >= count { return }
      vector = Vector(count: 0)  // Not both at once.
      vector = Vector(unsetCount: count)
    }
  }

  private var lanes: [Lane] = []

  func lanes(_ count: Int) -> [Lane] {
    while lanes.count < count { lanes.append(Lane()) }
    return Array(lanes[..<count])
  }
}
