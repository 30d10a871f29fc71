import Curvature
import GraphModule
import TensorModule

extension UpdateMethod {
  /// Martens and Grosse 2015, from sampled labels.
  public static let kfac = UpdateMethod(
    "kfac",
    "K-FAC from sampled labels: a Kronecker product for each linear layer, the block of `block-sf` "
      + "for every other tensor",
    KFAC.needs(trueLabelMethod: "ekfac"), KFAC(labels: .sampled))

  /// K-FAC with the expectation over the model's labels.
  public static let kfacExact = UpdateMethod(
    "kfac@exact", family: kfac.family,
    "K-FAC with the expectation over the model's labels in place of draws, and blocks of `block-ng`",
    KFAC.needs(usesFisherRows: true), KFAC(labels: .expected))

  /// `kfac` with reduced positions (Eschenhagen et al. 2023).
  public static let kfacReduce = UpdateMethod(
    "kfac@reduce", family: kfac.family,
    "`kfac` with the positions of a sample reduced to one row before the factors are formed",
    KFAC.needs(trueLabelMethod: "ekfac@reduce", reducesPositions: true),
    KFAC(labels: .sampled, reducesPositions: true))

  /// `kfacExact` with reduced positions.
  public static let kfacExactReduce = UpdateMethod(
    "kfac@exact@reduce", family: kfac.family, "`kfac@exact` with positions reduced",
    KFAC.needs(usesFisherRows: true), KFAC(labels: .expected, reducesPositions: true))

  /// Empirical K-FAC, from the true labels.
  public static let ekfac = UpdateMethod(
    "ekfac", "K-FAC from the true labels, with blocks of `block-ef`", KFAC.needs(),
    KFAC(labels: .given(.ones)))

  /// `ekfac` with reduced positions.
  public static let ekfacReduce = UpdateMethod(
    "ekfac@reduce", family: ekfac.family, "`ekfac` with positions reduced",
    KFAC.needs(reducesPositions: true),
    KFAC(labels: .given(.ones), reducesPositions: true))

  /// Improved empirical K-FAC (Wu et al. 2024).
  public static let iekfac = UpdateMethod(
    "iekfac",
    "K-FAC from the true labels, sample n's part divided by `‖u_n‖`, with blocks of `block-ief`",
    KFAC.needs(), KFAC(labels: .given(.squares)))

  /// `iekfac` with reduced positions.
  public static let iekfacReduce = UpdateMethod(
    "iekfac@reduce", family: iekfac.family, "`iekfac` with positions reduced",
    KFAC.needs(reducesPositions: true),
    KFAC(labels: .given(.squares), reducesPositions: true))
}

/// The K-FAC family (Appendix D.2.2, method.md 3 and 7): a Kronecker product for every linear layer
/// (`KroneckerBlock`), an exact block for every other tensor (`KroneckerPlan`).
///
/// `kfac` has B from sampled labels, summed over k draws and divided by k, and exact blocks of SF;
/// `kfac@exact` the expectation over labels, from the rows of the root of H, and blocks of F; `ekfac` has
/// B from the true labels and blocks of EF; `iekfac` divides sample n's rows of B by `|u_n|` and has
/// blocks of iEF. The gradient is always that of the true labels. A weight that is used in several
/// places has an exact block. lambda is one number for all layers, in the units of the Gram matrix of the
/// family's labels.
private struct KFAC: DirectionRule {
  enum Labels {
    case sampled
    /// All that the model may draw, by their probabilities.
    case expected
    /// The true ones: the target of the exact blocks, by which also the rows of B are weighted.
    case given(EmpiricalTarget)
  }

  static func needs(
    trueLabelMethod: String? = nil, usesFisherRows: Bool = false, reducesPositions: Bool = false
  ) -> MethodNeeds {
    MethodNeeds(
      isDamped: true, sampledLabels: trueLabelMethod.map { .init(trueLabelMethod: $0) },
      gram: usesFisherRows ? nil : .exceptions, hasKroneckerProducts: true,
      usesFisherRows: usesFisherRows, shares: usesFisherRows || reducesPositions ? nil : .layers)
  }

  let labels: Labels
  var reducesPositions = false

  private var isSampled: Bool { if case .sampled = labels { true } else { false } }
  private var isExpected: Bool { if case .expected = labels { true } else { false } }

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    let plan = KroneckerPlan(gradients.linearization.layerProgram)
    let lambdas = dampings.map {
      isSampled ? gradients.sampledLambda($0) : gradients.lambda($0)
    }
    let parts = DampedParts<S>(gradients.linearization.program, dampings, lambdas)
    if isExpected {
      if gradients.output.rootColumns == 0 { return parts.finished() }
      guard let target = context.fisherTarget else { return parts.beyondNumbers() }
      try layers(context, plan, parts)
      try context.writeExactBlocks(plan.exact.map { [$0.parameter] }, target, to: parts)
      return parts.finished()
    }
    try layers(context, plan, parts)
    for (parameter, _) in plan.exact { try exactBlock(context.blocks, parameter, parts) }
    return parts.finished()
  }

  func workspace<S: EngineScalar>(_ sizes: MethodSizes<S>) -> MethodWorkspace? {
    let columns = sizes.rootColumns
    let factors = sizes.batch.kronecker(
      sizes.layerProgram, draws: isExpected ? columns : 1 + sizes.draws,
      factorDraws: isExpected ? columns : max(sizes.draws, 1), workers: sizes.workers)
    if !isExpected { return ("Kronecker factors", factors) }
    let exact = KroneckerPlan(sizes.layerProgram).exact.map { [$0.parameter] }
    return (
      "Kronecker factors",
      factors + (exact.isEmpty ? 0 : sizes.exactBlocks(exact))
    )
  }

  // MARK: - Linear layers

  /// The rows that factors and g are made of.
  private struct Rows<S: EngineScalar> {
    let source: PerSampleGradients<S>
    let cotangents: (Schedule.Chunk, UnsafeMutablePointer<S>) -> Void
    let factor: KroneckerBlock.OutputFactor
    /// Both divided by powers of two.
    let factorUnit: Double
    let gradient: RowWeights
    let gradientUnit: Double
    /// Relative, of a row.
    let error: Double
  }

  private func layers<S: EngineScalar>(
    _ context: DirectionContext<S>, _ plan: KroneckerPlan, _ parts: DampedParts<S>
  ) throws(LinearAlgebraError) {
    let gradients = context.gradients
    let rows = isExpected ? expectedRows(context) : rows(gradients)
    let shared = isExpected || reducesPositions ? nil : context.sharedLayers
    let own = parts.all.map {
      rescaled(lambda: $0.lambda, from: gradients.gram.unit, to: rows.factorUnit)
    }
    let exponent = rows.gradientUnit.exponent - 2 * rows.factorUnit.exponent
    try parts.setLayers(
      plan, rows.source, cotangents: rows.cotangents, lambdas: own, error: rows.error,
      exponent: exponent
    ) { index, layer throws(LinearAlgebraError) in
      try KroneckerBlock(
        layer, rows.factor, gradientWeights: rows.gradient,
        shared: shared?.value(index, layer, rows.gradient))
    }
  }

  /// Of true and sampled labels.
  private func rows<S: EngineScalar>(_ gradients: BatchGradients<S>) -> Rows<S> {
    let scales = gradients.perSample.scales
    let (samples, own) = (gradients.samples, scales[..<gradients.samples])
    let unit = powerOfTwo(near: own.max() ?? 0)
    let source = isSampled ? gradients.perSample : gradients.perSample.prefix(draws: 1)
    let factor: KroneckerBlock.OutputFactor
    var factorUnit = 1.0
    if case .given(.squares) = labels {
      // What is stored is already divided by |u_n|.
      factor = .init(
        draws: 0..<1, weights: [0: [Double](repeating: 1, count: samples)], spansGradient: true,
        reducesPositions: reducesPositions)
    } else {
      let draws = isSampled ? 1..<1 + gradients.draws : 0..<1
      let drawn = draws.lowerBound * samples..<draws.upperBound * samples
      factorUnit = powerOfTwo(near: scales[drawn].max() ?? 0)
      let root = Double(draws.count).squareRoot()
      var weights: RowWeights = [:]
      for draw in draws {
        weights[draw] = scales[draw * samples..<(draw + 1) * samples].map {
          $0 / factorUnit / root
        }
      }
      factor = .init(
        draws: draws, weights: weights, spansGradient: !isSampled,
        reducesPositions: reducesPositions)
    }
    return Rows(
      source: source, cotangents: { gradients.writeCotangents(draws: source.draws, $0, to: $1) },
      factor: factor, factorUnit: factorUnit, gradient: [0: own.map { $0 / unit }],
      gradientUnit: unit, error: gradients.errors.relative.max() ?? 0)
  }

  /// Rows of B = A^T J: `sum b b^T` is the expectation, and g is the sum of the rows times w.
  private func expectedRows<S: EngineScalar>(_ context: DirectionContext<S>) -> Rows<S> {
    let (fisher, samples) = (context.fisherRows, context.gradients.samples)
    let scales = fisher.perSample.scales
    let unit = powerOfTwo(near: scales.max() ?? 0)
    let products = zip(scales, fisher.weights).map(*)
    let gradientUnit = powerOfTwo(near: products.reduce(0) { max($0, abs($1)) })
    func weights(_ values: [Double], _ unit: Double) -> RowWeights {
      var weights: RowWeights = [:]
      for draw in 0..<fisher.perSample.draws {
        weights[draw] = values[draw * samples..<(draw + 1) * samples].map { $0 / unit }
      }
      return weights
    }
    return Rows(
      source: fisher.perSample, cotangents: fisher.writeCotangents,
      factor: .init(
        draws: 0..<fisher.perSample.draws, weights: weights(scales, unit), spansGradient: true,
        reducesPositions: reducesPositions),
      factorUnit: unit, gradient: weights(products, gradientUnit), gradientUnit: gradientUnit,
      error: RowErrors.ofDraws(context.gradients.output).max() ?? 0)
  }

  // MARK: - Other tensors

  private func exactBlock<S: EngineScalar>(
    _ blocks: TensorBlocks<S>, _ parameter: ParameterID, _ parts: DampedParts<S>
  ) throws(LinearAlgebraError) {
    let gradients = blocks.gradients
    let unit = gradients.gram.unit
    guard case .given(let target) = labels else {
      // Beside Kronecker products the factor lambda counts.
      let block = try SampledBlock(gradients, [parameter])
      for (lambda, parts) in parts.all {
        block.write(.solution, lambda: lambda, batchUnit: unit, to: parts)
      }
      return
    }
    let block = try blocks.block([parameter])
    let values = target.values(gradients)
    for (lambda, parts) in parts.all {
      block.write(target: values, lambda: lambda, batchUnit: unit, to: parts)
    }
  }
}

extension BatchGradients {
  /// The cotangents of a chunk as they were when the rows were made, `[R, n, O C]`.
  func writeCotangents(
    draws: Int, _ chunk: Schedule.Chunk, to out: UnsafeMutablePointer<S>
  ) {
    let size = chunk.count * linearization.logitCount
    for (d, gradient) in ([output.gradient] + sampled).prefix(draws).enumerated() {
      let units = Array(perSample.scales[d * samples..<(d + 1) * samples])
      output.write(gradient, chunk: chunk, units: units, to: out + d * size)
    }
  }
}
