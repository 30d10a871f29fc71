import Curvature
import TensorModule

/// Everything that EF, iEF, SF and SGD need of one batch: the per-sample gradients of true and
/// sampled labels from one backward pass with stacked cotangents, and one Gram matrix for all.
///
/// Row 0 ..< N are true labels, row N + d N + n is draw d of sample n.
package final class BatchGradients<S: EngineScalar> {
  package let linearization: Linearization<S>
  package let output: OutputState<S>
  package let sampled: [LogitGradient]
  package let perSample: PerSampleGradients<S>
  /// Of the rows of the true labels, and of those of the sampled ones, or their norms alone; between
  /// the two there are only the products with the sum of the true rows.
  package let gram: GramMatrix
  /// The products of the true labels' rows, whatever is needed of the others.
  package private(set) lazy var gramOfTrueRows: GramMatrix =
    gram.products == .norms ? trueRows.gramMatrix(withSums: false) : gram
  package var trueRows: PerSampleGradients<S> { perSample.prefix(draws: 1) }
  /// Whether directions are combinations that are never formed.
  package let usesCombinations: Bool
  /// g, the sum over samples.
  package private(set) lazy var gradient: ScaledVector<S> = gradientForm.vector()
  /// g as directions are kept.
  package private(set) lazy var gradientForm: DirectionForm<S> = {
    direction(of: trueWeights(1)).form
  }()
  /// How far each row may be from exact arithmetic.
  package let errors: RowErrors
  package let dropDuplicates: Double?
  private typealias Solvers = [Result<DampedGramSolver, LinearAlgebraError>]
  private var knownSolvers: (dampings: [Damping], solvers: Solvers)?

  /// - Parameters:
  ///   - sampled: Logit gradients of Monte-Carlo labels, one per draw.
  ///   - dropDuplicates: Samples whose gradients have a larger cosine than this with a larger
  ///     gradient are left out of the solves.
  ///   - usesCombinations: Whether directions are combinations that are never formed; by default
  ///     where that costs less.
  ///   - isSolved: Whether Gram matrices will be solved with; if not, norms are enough.
  package init(
    _ linearization: Linearization<S>, _ output: OutputState<S>, sampled: [LogitGradient],
    dropDuplicates: Double? = nil, usesCombinations: Bool? = nil, isSolved: Bool = true
  ) {
    self.linearization = linearization
    self.output = output
    self.sampled = sampled
    self.dropDuplicates = dropDuplicates
    self.usesCombinations = usesCombinations ?? linearization.prefersCombinations
    let all = [output.gradient] + sampled
    // Each sample's cotangent is divided by its own norm, in double, which keeps gradients of
    // well-fitted samples in the range of single precision. With powers of two instead, cotangents
    // that are parallel, as all of one sample are in a model with two classes, would be rounded
    // differently, and what SF leaves of g after a projection on them would be that rounding.
    let units = all.map(output.units)
    perSample = linearization.perSampleGradients(
      draws: all.count, scales: units.flatMap { $0 }, mayBeParallel: true
    ) {
      chunk, cotangents in
      let size = chunk.count * linearization.logitCount
      for (d, gradient) in all.enumerated() {
        output.write(gradient, chunk: chunk, units: units[d], to: cotangents + d * size)
      }
    }
    gram = perSample.gramMatrix(isSolved ? .perBlock : .norms)
    errors = RowErrors(output, draws: sampled.count)
  }

  /// Weights for all rows: the given one for true labels, none for sampled ones.
  private func trueWeights(_ weight: Double) -> [Double] {
    [Double](repeating: weight, count: samples)
      + [Double](repeating: 0, count: draws * samples)
  }

  /// `2^exponent sum_rows weights[row] g_row`, formed or not.
  ///
  /// - Parameter cancels: Whether little is left of the rows: see `weightedSums`.
  package func form(
    of weights: [Double], exponent: Int = 0, cancels: Bool = false
  ) -> DirectionForm<S> {
    if usesCombinations {
      return .combination(combination(weights, exponent: exponent, cancels: cancels))
    }
    let sum = perSample.weightedSums([weights], inDouble: cancels)[0]
    return .explicit(
      ScaledVector(vector: sum.vector, scale: sum.scale.timesPowerOfTwo(exponent)))
  }

  private func combination(
    _ weights: [Double], exponent: Int, cancels: Bool
  ) -> Combination<S> {
    let unit = powerOfTwo(
      near: zip(weights, perSample.scales).reduce(0) { max($0, abs($1.0 * $1.1)) })
    let weights = weights.map { $0 / unit }
    // Not from here: what keeps these gradients would keep itself.
    let (output, all, scales) = (output, [output.gradient] + sampled, perSample.scales)
    let (samples, size) = (samples, linearization.logitCount)
    let cotangent = {
      let sum = Vector<Double>(count: samples * size)
      for (d, gradient) in all.enumerated() {
        let rows = d * samples..<(d + 1) * samples
        output.add(
          gradient, units: scales[rows], factors: rows.map { weights[$0] * scales[$0] }, to: sum)
      }
      return sum
    }
    func combination(norm: Double) -> Combination<S> {
      Combination(
        basis: perSample, weights: weights, scale: unit.timesPowerOfTwo(exponent),
        cotangent: cotangent,
        norm: norm, cancels: cancels)
    }
    let combined = combination(
      norm: (norm(of: weights) * gram.unit * unit).timesPowerOfTwo(exponent))
    if !cancels { return combined }
    // The square of what is left has lost twice as many digits: the vector itself, for once.
    let formed = combined.vector()
    let operations = VectorOperations<S>(pool: linearization.pool, count: formed.vector.count)
    return combination(norm: operations.norm(formed.vector) * formed.scale)
  }

  /// The same batch with fewer draws of sampled labels: a part of the rows and of their Gram matrix.
  package init(_ other: BatchGradients, draws: Int) {
    linearization = other.linearization
    output = other.output
    sampled = Array(other.sampled.prefix(draws))
    perSample = other.perSample.prefix(draws: 1 + draws)
    gram = other.gram.prefix(perSample.count)
    usesCombinations = other.usesCombinations
    dropDuplicates = other.dropDuplicates
    errors = RowErrors(output, draws: draws)
  }

  package var samples: Int { linearization.samples }
  package var draws: Int { sampled.count }

  /// `|g_n|_2` for the true labels.
  package var norms: [Double] { (0..<samples).map(gram.norm) }

  /// K of the true labels, divided by the square of `gram.unit`, to be solved with these dampings.
  package func solver(
    for dampings: [Damping]
  ) throws(LinearAlgebraError) -> DampedGramSolver {
    try solvers(for: dampings)[0].get()
  }

  /// `Ghat Ghat^T` of the sampled labels, each row divided by sqrt(k), in the same units.
  package func solverOfSampled(
    for dampings: [Damping]
  ) throws(LinearAlgebraError) -> DampedGramSolver {
    try solvers(for: dampings)[1].get()
  }

  /// Both, factorised side by side when the first of them is asked for; other dampings make both anew.
  private func solvers(for dampings: [Damping]) -> Solvers {
    if let knownSolvers, knownSolvers.dampings == dampings { return knownSolvers.solvers }
    let made = TaskResults<Result<DampedGramSolver, LinearAlgebraError>>(count: 2)
    let only = dampings.count == 1 ? dampings.first : nil
    linearization.pool.run(2) { task, _ in
      let result = Result { () throws(LinearAlgebraError) in
        task == 0
          ? try solver(first: 0, count: samples, divisor: 1, only.map { lambda($0).scaled })
          : try solver(
            first: samples, count: draws * samples, divisor: Double(max(draws, 1)),
            only.map { sampledLambda($0).scaled })
      }
      made.set(task, result)
    }
    let solvers = made.all
    knownSolvers = (dampings, solvers)
    return solvers
  }

  /// lambda, in the units of the loss and in those of the solvers.
  package typealias Lambda = (value: Double, scaled: Double)

  /// lambda for the true Gram matrix.
  package func lambda(_ damping: Damping) -> Lambda { lambda(damping, 0..<samples, divisor: 1) }

  /// lambda for the sampled one.
  package func sampledLambda(_ damping: Damping) -> Lambda {
    lambda(damping, samples..<gram.count, divisor: Double(max(draws, 1)))
  }

  /// lambda for the matrix of a method's labels.
  package func lambda(_ damping: Damping, _ needs: MethodNeeds) -> Lambda {
    needs.isSampled ? sampledLambda(damping) : lambda(damping)
  }

  private func lambda(_ damping: Damping, _ rows: Range<Int>, divisor: Double) -> Lambda {
    let unit = gram.unit
    if damping.isRelative {
      let largest = rows.reduce(0) { max($0, gram.scaled($1, $1)) } / divisor
      let scaled = damping.lambda(largestDiagonal: largest)
      return (scaled * unit * unit, scaled)
    }
    if damping.value == 0 { return (0, 0) }
    // What is beyond all numbers leaves nothing of K either way.
    let exponent = min(damping.value.exponent - 2 * unit.exponent, 996)
    let scaled = Double(
      sign: .plus, exponent: exponent, significand: damping.value.significand)
    return (damping.value, scaled)
  }

  /// `Ghat g` for the sampled rows, from the same rows as the Gram matrix, in its units, in double.
  package var sampledDotGradient: [Double] {
    let root = Double(draws).squareRoot()
    return (samples..<gram.count).map { gram.scaledDotSum($0) / root }
  }

  /// `|sum_row weights[row] g_row|_2 / gram.unit`; rows without a weight have none.
  ///
  /// - Precondition: Where sampled rows have weights, those of the true labels are all the same.
  package func norm(of weights: [Double]) -> Double {
    let (trueRows, sampledRows) = (0..<samples, samples..<weights.count)
    var square = gram.scaledQuadratic(weights, trueRows)
    if sampledRows.contains(where: { weights[$0] != 0 }) {
      let common = weights[0]
      precondition(
        trueRows.allSatisfy { weights[$0] == common }, "norm: mixed weights beside sampled rows")
      square += gram.scaledQuadratic(weights, sampledRows)
      let mixed = linearization.schedule.sum(rows: sampledRows) {
        weights[$0] * gram.scaledDotSum($0)
      }
      square += 2 * common * mixed
    }
    return max(square, 0).squareRoot()
  }

  /// `|weights[row] g_row|` over all rows, added in squares, and over `gram.unit`: what a sum of the
  /// rows is made of, however much of it cancels.
  ///
  /// - Parameter shares: What else each row is multiplied by.
  package func size(of weights: [Double], shares: [Double]? = nil) -> Double {
    let square = linearization.schedule.sum(rows: weights.indices) { row in
      let own = weights[row] * (shares?[row] ?? 1)
      return own * own * gram.scaled(row, row)
    }
    return square.squareRoot()
  }

  /// `2^exponent sum_rows weights[row] g_row`, formed or not, and its norm over `gram.unit 2^exponent`.
  ///
  /// Where a thirtieth or less is left of the rows, single precision would lose one and a half digits
  /// more: then the sum is in double.
  package func direction(
    of weights: [Double], exponent: Int = 0
  ) -> (form: DirectionForm<S>, norm: Double) {
    let norm = norm(of: weights)
    if norm >= size(of: weights) / 30 { return (form(of: weights, exponent: exponent), norm) }
    // The square of what is left has lost twice as many digits: the norm of the vector itself.
    let form = form(of: weights, exponent: exponent, cancels: true)
    let vector = form.vector()
    let operations = VectorOperations<S>(pool: linearization.pool, count: vector.vector.count)
    let scale = vector.scale.timesPowerOfTwo(-exponent) / gram.unit
    return (form, operations.norm(vector.vector) * scale)
  }

  /// `[R N]` weights with those of equal rows of a sample added up in the first of them: a draw that is
  /// the true label, as most are of a model that is sure, has the true row with all its rounding.
  package func merged(_ weights: [Double]) -> [Double] {
    var merged = weights
    for draw in 0..<draws {
      for n in 0..<samples {
        let row = (draw + 1) * samples + n
        guard let first = firstEqualRows[draw * samples + n] else { continue }
        merged[first] += merged[row]
        merged[row] = 0
      }
    }
    return merged
  }

  /// Per drawn row the first row of its sample that is the same, if it is not itself.
  private lazy var firstEqualRows: [Int?] = {
    let all = [output.gradient] + sampled
    return (0..<draws).flatMap { draw in
      (0..<samples).map { n in
        (0...draw).first { output.areEqual(all[$0], all[draw + 1], sample: n) }
          .map { $0 * samples + n }
      }
    }
  }()

  /// What rounding leaves of a sum of rows that should vanish, over `gram.unit`.
  package func noise(of weights: [Double]) -> Double {
    4 * size(of: weights, shares: errors.relative)
  }

  /// How far a row may be from exact arithmetic along any one direction, over `gram.unit`.
  package var rowErrors: [Double] {
    let alignment = Rounding.alignment(linearization.parameterCount)
    return (0..<gram.count).map {
      alignment * errors.relative[$0] * gram.scaled($0, $0).squareRoot()
    }
  }

  /// The same of g, the sum of the rows of true labels.
  package var gradientError: Double {
    let rows = rowErrors
    return linearization.schedule.sum { rows[$0] * rows[$0] }.squareRoot()
  }

  /// The direction of plain gradient descent.
  package var gradientDirection: Direction<S> {
    let norm = norm(of: trueWeights(1))
    return Direction(form: gradientForm, relativeError: norm > 0 ? gradientError / norm : 0)
  }

  /// Per sample how much its logits move with the parameters, `|J_n^T u| / |u|` for the labels at
  /// hand: a part of the norm of J_n.
  package var jacobianNorms: [Double] {
    let norms = (0..<gram.count).map { row in
      let scale = perSample.scales[row]
      return scale > 0 ? gram.norm(row) / scale : 0
    }
    return (0..<samples).map { n in
      (0...draws).reduce(0) { max($0, norms[$1 * samples + n]) }
    }
  }

  /// Samples that `dropDuplicates` leaves out.
  package var leftOut: Set<Int> { leftOut(0..<samples) }

  /// Draws that it leaves out, counted from the first sampled row.
  package var sampledLeftOut: Set<Int> { leftOut(samples..<(1 + draws) * samples) }

  private func leftOut(_ rows: Range<Int>) -> Set<Int> {
    guard let dropDuplicates else { return [] }
    return duplicates(count: rows.count, cosine: dropDuplicates) {
      gram.scaled(rows.lowerBound + $0, rows.lowerBound + $1)
    }
  }

  private func solver(
    first: Int, count: Int, divisor: Double, _ onlyLambda: Double?
  ) throws(LinearAlgebraError) -> DampedGramSolver {
    try DampedGramSolver(
      count: count, precision: Double(S.ulpOfOne), parameters: linearization.parameterCount,
      leftOut: leftOut(first..<first + count), onlyLambda: onlyLambda
    ) { self.gram.scaled(first + $0, first + $1) / divisor }
  }
}
