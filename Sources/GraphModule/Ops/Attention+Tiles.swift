import TensorModule

/// Attention whose weights are too many to keep: every pass computes them again from queries and keys, for
/// some queries at a time and with whole rows, so that softmax is that of one piece. A tile leaves out keys
/// that none of its queries sees.
struct AttentionTiles<P: Pass> {
  typealias S = P.S

  let attention: Attention
  let pass: P

  /// Scores at a time, [queries, keys].
  struct Tile {
    let queries: Range<Int>
    let keys: Range<Int>
    /// Added to the scores of a head, if anything is.
    let bias: UnsafePointer<S>?
    let mask: UnsafePointer<Int32>?
  }

  private var size: Int { attention.tileRows * attention.keys }
  /// Weights, their derivatives, and what is added to scores.
  private var weights: UnsafeMutablePointer<S> { pass.scratch }
  fileprivate var scores: UnsafeMutablePointer<S> { pass.scratch + size }
  private var bias: UnsafeMutablePointer<S> { pass.scratch + 2 * size }
  /// Derivatives of the cap.
  private var capDerivative: UnsafeMutablePointer<S> { pass.scratch + 3 * size }

  static func scratch(_ attention: Attention) -> Int {
    (attention.cap == nil ? 3 : 4) * attention.tileRows * attention.keys
  }

  /// Calls `body` with every tile of every head of a sample, and its weights P.
  func forEach(
    sample n: Int, table: UnsafePointer<S>?,
    _ body: (_ tile: Tile, _ head: Int, _ weights: UnsafePointer<S>) -> Void
  ) {
    let mask = mask(ofSample: n)
    for first in stride(from: 0, to: attention.queries, by: attention.tileRows) {
      let queries = first..<min(first + attention.tileRows, attention.queries)
      // A query that sees nothing has equal weights for all keys.
      let seen = mask == nil ? attention.buckets?.keys(seenBy: queries) : nil
      let keys = seen ?? 0..<attention.keys
      if attention.buckets != nil, table == nil { addBias(queries, keys, table: nil, head: 0) }
      for h in 0..<attention.heads {
        if table != nil { addBias(queries, keys, table: table, head: h) }
        let tile = Tile(
          queries: queries, keys: keys,
          bias: attention.buckets == nil ? nil : UnsafePointer(bias), mask: mask)
        scoreProduct(
          attention.row(pass.value(Attention.q), n, attention.queries, h),
          attention.keyRow(pass.value(Attention.k), n, h), tile, beta: 0,
          into: weights)
        attention.capScores(
          weights, derivative: attention.cap == nil ? nil : capDerivative,
          count: queries.count * keys.count)
        Kernels.softmax(
          weights, bias: tile.bias, mask: tile.mask, rows: queries.count, columns: keys.count)
        body(tile, h, UnsafePointer(weights))
      }
    }
  }

  /// `nil` where the sample hides nothing.
  private func mask(ofSample n: Int) -> UnsafePointer<Int32>? {
    guard attention.hasMask else { return nil }
    let mask = pass.indices(Attention.mask) + n * attention.keys
    return (0..<attention.keys).contains { mask[$0] == 0 } ? mask : nil
  }

  private func addBias(
    _ queries: Range<Int>, _ keys: Range<Int>, table: UnsafePointer<S>?, head: Int
  ) {
    // Not looked up for every pair.
    let (bias, heads, hidden, seen) = (bias, attention.heads, -S.infinity, S.zero)
    for i in 0..<queries.count * keys.count { bias[i] = hidden }
    guard let table else {
      attention.buckets?.forEachVisible(queries, keys) { pair, _ in bias[pair] = seen }
      return
    }
    attention.buckets?.forEachVisible(queries, keys) { pair, row in
      bias[pair] = table[row * heads + head]
    }
  }

  // MARK: - Products

  /// `target = scale a b^T + beta target`, a of all queries and b of all keys of one head.
  fileprivate func scoreProduct(
    _ a: UnsafePointer<S>, _ b: UnsafePointer<S>, scale: Double? = nil, _ tile: Tile, beta: S,
    into target: UnsafeMutablePointer<S>
  ) {
    let (columns, keyColumns) = (attention.columns, attention.keyColumns)
    BLAS.gemm(
      transposeB: true, m: tile.queries.count, n: tile.keys.count, k: attention.width,
      alpha: S(scale ?? attention.scale), a + tile.queries.lowerBound * columns, lda: columns,
      b + tile.keys.lowerBound * keyColumns, ldb: keyColumns, beta: beta, target,
      ldc: tile.keys.count)
  }

  /// Rows of queries `+= alpha p b`, b of all keys.
  fileprivate func mix(
    _ p: UnsafePointer<S>, _ b: UnsafePointer<S>, alpha: Double = 1, _ tile: Tile, beta: S = 1,
    into target: UnsafeMutablePointer<S>
  ) {
    let (columns, keyColumns) = (attention.columns, attention.keyColumns)
    BLAS.gemm(
      m: tile.queries.count, n: attention.width, k: tile.keys.count, alpha: S(alpha), p,
      lda: tile.keys.count, b + tile.keys.lowerBound * keyColumns, ldb: keyColumns, beta: beta,
      target + tile.queries.lowerBound * columns, ldc: columns)
  }

  /// Rows of keys `+= alpha p^T b`, b of all queries.
  fileprivate func mixBack(
    _ p: UnsafePointer<S>, _ b: UnsafePointer<S>, alpha: Double = 1, _ tile: Tile,
    into target: UnsafeMutablePointer<S>
  ) {
    let (columns, keyColumns) = (attention.columns, attention.keyColumns)
    BLAS.gemm(
      transposeA: true, m: tile.keys.count, n: attention.width, k: tile.queries.count,
      alpha: S(alpha), p, lda: tile.keys.count, b + tile.queries.lowerBound * columns,
      ldb: columns, beta: 1, target + tile.keys.lowerBound * keyColumns, ldc: keyColumns)
  }

  fileprivate func softmaxDerivative(_ p: UnsafePointer<S>, _ tile: Tile) {
    Kernels.softmaxDerivative(
      p, scores, rows: tile.queries.count, columns: tile.keys.count, scale: 1)
  }

  /// Tangents behind the cap from those before it, or cotangents the other way round.
  fileprivate func multiplyByCapDerivative(_ tile: Tile) {
    if attention.cap == nil { return }
    Kernels.multiply(
      scores, capDerivative, scores, count: tile.queries.count * tile.keys.count)
  }

  /// Cotangent of the scores before they are scaled, behind the cap.
  fileprivate func scoreCotangent(
    _ b: UnsafePointer<S>, _ p: UnsafePointer<S>, _ tile: Tile, sample n: Int, head h: Int
  ) {
    scoreProduct(
      b, attention.keyRow(pass.value(Attention.v), n, h), scale: 1, tile, beta: 0,
      into: scores)
    softmaxDerivative(p, tile)
  }
}

// MARK: - Passes

extension Attention {
  func forwardInTiles<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let tiles = AttentionTiles(attention: self, pass: pass)
    for n in 0..<pass.samples {
      tiles.forEach(sample: n, table: tableValues(pass)) { tile, h, p in
        tiles.mix(
          p, keyRow(pass.value(Self.v), n, h), tile, beta: 0,
          into: row(pass.output, n, queries, h))
      }
    }
  }

  func jvpInTiles<S: EngineScalar>(_ pass: TangentPass<S>) {
    let tiles = AttentionTiles(attention: self, pass: pass)
    for n in 0..<pass.samples {
      tiles.forEach(sample: n, table: tableValues(pass)) { tile, h, p in
        for r in 0..<pass.directions { jvp(tiles, tile, h, p, sample: n, direction: r) }
      }
    }
  }

  private func jvp<S: EngineScalar>(
    _ tiles: AttentionTiles<TangentPass<S>>, _ tile: AttentionTiles<TangentPass<S>>.Tile,
    _ h: Int, _ p: UnsafePointer<S>, sample n: Int, direction r: Int
  ) {
    let (pass, scores) = (tiles.pass, tiles.scores)
    let at = r * pass.samples + n
    let output = row(pass.output, at, queries, h)
    let (q, k) = (row(pass.value(Self.q), n, queries, h), keyRow(pass.value(Self.k), n, h))
    var written: S = 0
    if let dq = pass.tangent(Self.q) {
      tiles.scoreProduct(row(dq, at, queries, h), k, tile, beta: written, into: scores)
      written = 1
    }
    if let dk = pass.tangent(Self.k) {
      tiles.scoreProduct(q, keyRow(dk, at, h), tile, beta: written, into: scores)
      written = 1
    }
    if written == 1 { tiles.multiplyByCapDerivative(tile) }
    if let table = tableTangent(pass, r) {
      if written == 0 { Kernels.zero(scores, count: tile.queries.count * tile.keys.count) }
      buckets?.forEachVisible(tile.queries, tile.keys) { pair, row in
        scores[pair] += table[row * heads + h]
      }
      written = 1
    }
    if written == 1 {
      tiles.softmaxDerivative(p, tile)
      tiles.mix(
        UnsafePointer(scores), keyRow(pass.value(Self.v), n, h), tile, beta: 0, into: output)
    }
    if let dv = pass.tangent(Self.v) {
      tiles.mix(p, keyRow(dv, at, h), tile, beta: written, into: output)
    }
  }

  func vjpInTiles<S: EngineScalar>(_ pass: CotangentPass<S>) {
    // Tiles add to the same rows, and one value may be several of the inputs.
    func cleared(_ input: Int, _ size: Int) -> UnsafeMutablePointer<S>? {
      guard let (target, accumulate) = pass.inputCotangent(input) else { return nil }
      if !accumulate { Kernels.zero(target, count: pass.directions * pass.samples * size) }
      pass.markWritten(input)
      return target
    }
    let dv = cleared(Self.v, keys * keyColumns)
    let dq = cleared(Self.q, queries * columns)
    let dk = cleared(Self.k, keys * keyColumns)
    let tiles = AttentionTiles(attention: self, pass: pass)
    let scores = UnsafePointer(tiles.scores)
    for n in 0..<pass.samples {
      tiles.forEach(sample: n, table: tableValues(pass)) { tile, h, p in
        for r in 0..<pass.directions {
          let at = r * pass.samples + n
          let b = row(pass.cotangent, at, queries, h)
          if let dv { tiles.mixBack(p, b, tile, into: keyRow(dv, at, h)) }
          guard dq != nil || dk != nil else { continue }
          tiles.scoreCotangent(b, p, tile, sample: n, head: h)
          tiles.multiplyByCapDerivative(tile)
          if let dq {
            tiles.mix(
              scores, keyRow(pass.value(Self.k), n, h), alpha: scale, tile,
              into: row(dq, at, queries, h))
          }
          if let dk {
            tiles.mixBack(
              scores, row(pass.value(Self.q), n, queries, h), alpha: scale, tile,
              into: keyRow(dk, at, h))
          }
        }
      }
    }
  }

  /// Gradients of the table.
  func addPerSampleGradientsInTiles<S: EngineScalar>(
    _ pass: CotangentPass<S>, direction: Int, to out: UnsafeMutablePointer<S>, stride: Int
  ) {
    let tiles = AttentionTiles(attention: self, pass: pass)
    let scores = tiles.scores
    let cotangent = pass.cotangent(direction: direction)
    for n in 0..<pass.samples {
      tiles.forEach(sample: n, table: tableValues(pass)) { tile, h, p in
        tiles.scoreCotangent(row(cotangent, n, queries, h), p, tile, sample: n, head: h)
        buckets?.forEachVisible(tile.queries, tile.keys) { pair, row in
          out[n * stride + row * heads + h] += scores[pair]
        }
      }
    }
  }
}
