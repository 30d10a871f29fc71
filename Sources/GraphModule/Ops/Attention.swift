import TensorModule

/// Multi-head softmax attention: `O = softmax(scale Q K^T + bias) V` per head, with a bias that is
/// looked up by the bucket of a pair of positions (T5) and a mask over keys. Scores s may be capped,
/// `cap tanh(s / cap)`, before the bias is added (Gemma 2).
///
/// Q [Tq, heads d], K and V [Tk, heads d], output [Tq, heads d]; K and V may have fewer heads, each for as
/// many heads of Q that follow each other (Ainslie et al. 2023). The forward pass keeps the weights P
/// [heads, Tq, Tk], and behind them the derivative of the cap, unless they are larger than Q, K and V of all
/// heads: then every pass computes them from those again, tile by tile (`AttentionTiles`). The derivative of
/// softmax is symmetric, so one kernel serves both directions.
package struct Attention: Operation {
  package let heads: Int
  package let scale: Double
  /// Which row of the table, parameter 0, `[rows, heads]`, belongs to each pair, and which keys are
  /// hidden (causal); there may be no table.
  package let buckets: PositionBuckets?
  /// What no score reaches.
  package let cap: Double?
  /// Scores that a tile has at most, unless one query has more.
  let tileSize: Int
  private(set) var queries = 0
  private(set) var keys = 0
  private(set) var width = 0
  /// Of K and V.
  private(set) var keyColumns = 0
  private(set) var hasMask = false
  private var tableRows = 0
  private var rowsAreQueries = false
  package private(set) var operationCount = 0

  /// - Parameter tileSize: Scores that are computed at a time where weights are not kept.
  package init(
    heads: Int, scale: Double, buckets: PositionBuckets? = nil, cap: Double? = nil,
    tileSize: Int = 1 << 17
  ) {
    precondition(cap ?? 1 > 0, "Attention: a cap of \(cap ?? 0)")
    self.tileSize = tileSize
    self.cap = cap
    self.heads = heads
    self.scale = scale
    self.buckets = buckets
  }

  static let table = 0
  static let (q, k, v, mask) = (0, 1, 2, 3)

  var columns: Int { heads * width }
  private var pairs: Int { queries * keys }
  private var weights: Int { heads * pairs }
  /// Pairs of tokens of all heads, of one sample.
  package var scoreCount: Int { weights }
  /// Of one sample, where weights are kept.
  private var savedCount: Int { (cap == nil ? 1 : 2) * weights }

  /// Leading dimensions of queries, or of keys, are rows of their own.
  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 3...4, parameters: 0...(buckets == nil ? 0 : 1))
    let (q, k) = (try operands.real(Self.q), try operands.real(Self.k))
    guard let columns = q.shape.last, heads > 0, columns % heads == 0 else {
      throw operands.mismatch(Self.q, "\(heads) heads in the last dimension")
    }
    width = columns / heads
    guard let keyColumns = k.shape.last, keyColumns > 0, columns % keyColumns == 0,
      keyColumns % width == 0
    else {
      throw operands.mismatch(
        Self.k, "\(columns) as the last dimension, or as many as some of the heads have")
    }
    self.keyColumns = keyColumns
    guard try operands.real(Self.v).shape == k.shape else {
      throw operands.mismatch(Self.v, "the keys' \(k.shape)")
    }
    (queries, keys) = (q.count / columns, k.count / keyColumns)
    // What the sizes of all pairs are multiplied by later leaves room for more.
    guard checkedProduct(heads, queries, keys, atMost: 1 << 36) != nil else {
      throw GraphError(
        .other(
          "attention of \(heads) heads", found: "over \(queries) x \(keys) pairs of tokens",
          expected: "at most 2^36 pairs in all heads"))
    }
    hasMask = operands.inputs.count > Self.mask
    if hasMask, try operands.whole(Self.mask).count != keys {
      throw operands.mismatch(Self.mask, "one entry for each of \(keys) keys")
    }
    if let buckets, !buckets.fits(queries: queries, keys: keys) {
      throw operands.mismatch(Self.q, "as many queries and keys as have positions")
    }
    tableRows = 0
    if !operands.parameters.isEmpty {
      let table = try operands.parameter(Self.table, rank: 2)
      try operands.requireParameter(Self.table, [table[0], heads])
      guard table[0] > buckets?.largestRow ?? 0 else {
        throw GraphError(
          .other("the table", found: "\(table[0]) rows", expected: "one for every bucket"))
      }
      tableRows = table[0]
    }
    rowsAreQueries = q.shape.count == 2
    operationCount = try checkedCost(4, pairs, columns)
    return q
  }

  /// Whether the forward pass keeps P: where it is not larger than queries, keys and values of all heads.
  private var keepsWeights: Bool { savedCount <= (queries + 2 * keys) * columns }

  /// Queries of a tile: whole vectors, if there is room for them.
  var tileRows: Int {
    let rows = max(1, tileSize / max(keys, 1))
    return min(queries, rows >= 16 ? rows / 16 * 16 : rows)
  }

  package func restricted(to rows: [Int]) -> (operation: any Operation, reads: [Bool])? {
    guard rowsAreQueries else { return nil }
    let operation = Attention(
      heads: heads, scale: scale, buckets: buckets?.taking(rows), cap: cap, tileSize: tileSize)
    return (operation, [true, false, false] + (hasMask ? [false] : []))
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(
      inputs: [true, true, true] + (hasMask ? [false] : []), saved: keepsWeights ? savedCount : 0)
  }

  package func scratch(samples: Int, directions: Int) -> Int {
    // Scores of one head, the bias of all, weights of one sample.
    keepsWeights ? pairs + weights + weights : AttentionTiles<ForwardPass<Float>>.scratch(self)
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    if !keepsWeights { return forwardInTiles(pass) }
    let bias = buckets == nil ? nil : pass.scratch + pairs
    if let buckets, let bias { write(buckets, pass, to: bias) }
    for n in 0..<pass.samples {
      let p = pass.keepsSaved ? pass.saved + n * savedCount : pass.scratch + pairs + weights
      for h in 0..<heads {
        let scores = p + h * pairs
        scoreProduct(
          row(pass.value(Self.q), n, queries, h), keyRow(pass.value(Self.k), n, h),
          beta: 0, into: scores)
        capScores(scores, derivative: pass.keepsSaved ? scores + weights : nil, count: pairs)
        Kernels.softmax(
          scores, bias: bias.map { UnsafePointer(tableRows > 0 ? $0 + h * pairs : $0) },
          mask: hasMask ? pass.indices(Self.mask) + n * keys : nil, rows: queries, columns: keys)
        mix(
          UnsafePointer(scores), keyRow(pass.value(Self.v), n, h), beta: 0,
          into: row(pass.output, n, queries, h))
      }
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    if !keepsWeights { return jvpInTiles(pass) }
    for n in 0..<pass.samples {
      for h in 0..<heads {
        let p = UnsafePointer(pass.saved + n * savedCount + h * pairs)
        for r in 0..<pass.directions { jvp(pass, weights: p, sample: n, head: h, direction: r) }
      }
    }
  }

  private func jvp<S: EngineScalar>(
    _ pass: TangentPass<S>, weights p: UnsafePointer<S>, sample n: Int, head h: Int,
    direction r: Int
  ) {
    let (dq, dk, dv) = (pass.tangent(Self.q), pass.tangent(Self.k), pass.tangent(Self.v))
    let table = tableTangent(pass, r)
    let scores = pass.scratch
    let at = r * pass.samples + n
    let output = row(pass.output, at, queries, h)
    var beta: S = 0
    if dq != nil || dk != nil || table != nil {
      var written: S = 0
      if let dq {
        scoreProduct(
          row(dq, at, queries, h), keyRow(pass.value(Self.k), n, h), beta: written,
          into: scores)
        written = 1
      }
      if let dk {
        scoreProduct(
          row(pass.value(Self.q), n, queries, h), keyRow(dk, at, h), beta: written,
          into: scores)
        written = 1
      }
      if cap != nil, written == 1 {
        Kernels.multiply(scores, p + weights, scores, count: pairs)
      }
      if let table {
        if written == 0 { Kernels.zero(scores, count: pairs) }
        addBias(table, head: h, to: scores)
      }
      Kernels.softmaxDerivative(p, scores, rows: queries, columns: keys, scale: 1)
      mix(UnsafePointer(scores), keyRow(pass.value(Self.v), n, h), beta: 0, into: output)
      beta = 1
    }
    if let dv { mix(p, keyRow(dv, at, h), beta: beta, into: output) }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    if !keepsWeights { return vjpInTiles(pass) }
    // In the order of writing; one value may be several of the inputs.
    let dv = pass.inputCotangent(Self.v)
    if dv != nil { pass.markWritten(Self.v) }
    let dq = pass.inputCotangent(Self.q)
    if dq != nil { pass.markWritten(Self.q) }
    let dk = pass.inputCotangent(Self.k)
    for n in 0..<pass.samples {
      for h in 0..<heads {
        let p = UnsafePointer(pass.saved + n * savedCount + h * pairs)
        // Another head has written to the same keys.
        let isLater = keyHead(h) == keyHead(h - 1)
        for r in 0..<pass.directions {
          let at = r * pass.samples + n
          let b = row(pass.cotangent, at, queries, h)
          if let dv {
            BLAS.gemm(
              transposeA: true, m: keys, n: width, k: queries, p, lda: keys, b, ldb: columns,
              beta: dv.accumulate || isLater ? 1 : 0, keyRow(dv.0, at, h), ldc: keyColumns)
          }
          guard dq != nil || dk != nil else { continue }
          let scores = scoreCotangent(pass, sample: n, cotangent: b, weights: p, head: h)
          if cap != nil { Kernels.multiply(scores, p + weights, pass.scratch, count: pairs) }
          if let dq {
            BLAS.gemm(
              m: queries, n: width, k: keys, alpha: S(scale), scores, lda: keys,
              keyRow(pass.value(Self.k), n, h), ldb: keyColumns, beta: dq.accumulate ? 1 : 0,
              row(dq.0, at, queries, h), ldc: columns)
          }
          if let dk {
            BLAS.gemm(
              transposeA: true, m: keys, n: width, k: queries, alpha: S(scale), scores, lda: keys,
              row(pass.value(Self.q), n, queries, h), ldb: columns,
              beta: dk.accumulate || isLater ? 1 : 0, keyRow(dk.0, at, h), ldc: keyColumns)
          }
        }
      }
    }
  }

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    addPerSampleGradients(pass, slot: slot, direction: direction, to: out, stride: 0)
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    guard let buckets else { return }
    if !keepsWeights {
      return addPerSampleGradientsInTiles(pass, direction: direction, to: out, stride: stride)
    }
    let cotangent = pass.cotangent(direction: direction)
    for n in 0..<pass.samples {
      for h in 0..<heads {
        let scores = scoreCotangent(
          pass, sample: n, cotangent: row(cotangent, n, queries, h),
          weights: UnsafePointer(pass.saved + n * savedCount + h * pairs), head: h)
        buckets.forEachVisible { pair, row in
          out[n * stride + row * heads + h] += scores[pair]
        }
      }
    }
  }

  // MARK: - Pieces

  /// Scores become what the cap leaves of them, if there is one.
  func capScores<S: EngineScalar>(
    _ scores: UnsafeMutablePointer<S>, derivative: UnsafeMutablePointer<S>?, count: Int
  ) {
    guard let cap else { return }
    Kernels.axpby(0, scores, 1 / cap, scores, count: count)
    Kernels.apply(.tanh, scores, scores, derivative: derivative, count: count)
    Kernels.axpby(0, scores, cap, scores, count: count)
  }

  /// `scores = scale a b^T + beta scores`
  private func scoreProduct<S: EngineScalar>(
    _ a: UnsafePointer<S>, _ b: UnsafePointer<S>, beta: S, into scores: UnsafeMutablePointer<S>
  ) {
    BLAS.gemm(
      transposeB: true, m: queries, n: keys, k: width, alpha: S(scale), a, lda: columns, b,
      ldb: keyColumns, beta: beta, scores, ldc: keys)
  }

  /// `output = p v + beta output`
  private func mix<S: EngineScalar>(
    _ p: UnsafePointer<S>, _ v: UnsafePointer<S>, beta: S, into output: UnsafeMutablePointer<S>
  ) {
    BLAS.gemm(
      m: queries, n: width, k: keys, p, lda: keys, v, ldb: keyColumns, beta: beta, output,
      ldc: columns)
  }

  /// Cotangent of the scores (before `scale`, behind the cap) of one head, in scratch.
  private func scoreCotangent<S: EngineScalar>(
    _ pass: CotangentPass<S>, sample: Int, cotangent b: UnsafePointer<S>,
    weights p: UnsafePointer<S>, head: Int
  ) -> UnsafePointer<S> {
    let scores = pass.scratch
    BLAS.gemm(
      transposeB: true, m: queries, n: keys, k: width, b, lda: columns,
      keyRow(pass.value(Self.v), sample, head), ldb: keyColumns, scores, ldc: keys)
    Kernels.softmaxDerivative(p, scores, rows: queries, columns: keys, scale: 1)
    return UnsafePointer(scores)
  }

  /// The bias of every head, or, where there is no table, the one that all heads have.
  private func write<S: EngineScalar>(
    _ buckets: PositionBuckets, _ pass: ForwardPass<S>, to bias: UnsafeMutablePointer<S>
  ) {
    let table = tableValues(pass)
    for i in 0..<(table == nil ? pairs : weights) { bias[i] = -.infinity }
    buckets.forEachVisible { pair, row in
      guard let table else {
        bias[pair] = 0
        return
      }
      for h in 0..<heads { bias[h * pairs + pair] = table[row * heads + h] }
    }
  }

  func tableValues<P: Pass>(_ pass: P) -> UnsafePointer<P.S>? {
    tableRows > 0 ? pass.parameter(Self.table) : nil
  }

  func tableTangent<S: EngineScalar>(
    _ pass: TangentPass<S>, _ direction: Int
  ) -> UnsafePointer<S>? {
    tableRows > 0 ? pass.parameterTangent(Self.table, direction: direction) : nil
  }

  private func addBias<S: EngineScalar>(
    _ table: UnsafePointer<S>, head: Int, to scores: UnsafeMutablePointer<S>
  ) {
    buckets?.forEachVisible { pair, row in scores[pair] += table[row * heads + head] }
  }
}
