import Curvature
import TensorModule
import Updates

/// The rows of B that have been formed for a batch, and their products with each other: the gradients of its
/// samples, which EF and iEF need anyway, and as many more as were asked for.
///
/// A gradient is `g_n = B_n^T w_n`, a combination of its sample's leading rows with their targets for
/// coefficients. So of the rows of a sample one needs no pass: it is what the others leave of its gradient.
final class FormedRows<S: EngineScalar> {
  private let problem: BatchProblem<S>
  private let gradients: BatchGradients<S>?
  private var parts: [PerSampleGradients<S>] = []
  private var places: [LeadingRows.Identity: Int] = [:]
  /// Products of all rows, each over its unit, `[count, count]`.
  private var gram = Vector<Double>(count: 0)
  private var units: [Double] = []
  /// Whether products of rows are multiplied in double: with single precision, half the time.
  private(set) var isInDouble = S.self == Double.self
  private var usesGradients: Bool

  private var count: Int { units.count }

  /// - Parameter gradients: Not needed; without them every row takes a pass.
  init(_ problem: BatchProblem<S>, _ gradients: BatchGradients<S>?) {
    self.problem = problem
    // Those of tokens are of another linearization.
    let isOwn = gradients.map { $0.linearization === problem.linearization } ?? false
    self.gradients = isOwn && problem.output.leadingRowsHoldGradients ? gradients : nil
    usesGradients = self.gradients != nil
    guard let gradients = self.gradients else { return }
    parts = [gradients.trueRows]
    let known = gradients.gramOfTrueRows
    let samples = gradients.samples
    units = [Double](repeating: known.unit, count: samples)
    gram = Vector(unsetCount: samples * samples)
    for i in 0..<samples {
      for j in 0..<samples { gram.pointer[i * samples + j] = known.scaled(i, j) }
    }
  }

  /// How many rows there are beside the gradients of samples when these are there too.
  func further(with rows: LeadingRows) -> Int {
    let missing = (0..<rows.count).count { places[rows.identity($0)] == nil }
    return count + missing - (gradients?.samples ?? 0)
  }

  /// The matrix of these rows; what is missing of it is formed.
  func matrix(_ rows: LeadingRows, sizes: [Double], targets: [Double]) -> RowMatrix<S> {
    var forms = [RowMatrix<S>.Form](repeating: [], count: rows.count)
    var missing: [Int] = []
    var derived: [(row: Int, block: Range<Int>)] = []
    let samples = rows.samples
    var begin = 0
    while begin < rows.count {
      let end = samples[begin...].firstIndex { $0 != samples[begin] } ?? rows.count
      let block = begin..<end
      let left = rowOfGradient(rows, block, sizes: sizes, targets: targets)
      missing += block.filter { $0 != left && places[rows.identity($0)] == nil }
      if let left { derived.append((left, block)) }
      begin = end
    }
    if !missing.isEmpty { form(rows, missing) }
    for row in 0..<rows.count {
      if let place = places[rows.identity(row)] { forms[row] = [(place, 1)] }
    }
    for (row, block) in derived {
      let whole = targets[row] * sizes[row]
      forms[row] = [(samples[row], 1 / whole)]
      for other in block where other != row {
        forms[row].append(
          (places[rows.identity(other)]!, -(targets[other] * sizes[other] / whole)))
      }
    }
    return matrix(forms)
  }

  /// Which row of a sample is what the others leave of its gradient: the one with the largest part in it of those
  /// that have not been formed. Rounding in the others grows by no more than eight.
  private func rowOfGradient(
    _ rows: LeadingRows, _ block: Range<Int>, sizes: [Double], targets: [Double]
  ) -> Int? {
    if !usesGradients { return nil }
    let largest = block.reduce(0) { max($0, abs(targets[$1])) }
    let open = block.filter { places[rows.identity($0)] == nil }
    guard let row = open.max(by: { abs(targets[$0]) < abs(targets[$1]) }),
      8 * abs(targets[row]) >= largest, (1 / (targets[row] * sizes[row])).isFinite,
      // Squares of smaller ones, beside the largest, have no digits.
      gram[rows.samples[row] * (count + 1)] >= 0x1p-600
    else { return nil }
    return row
  }

  private func form(_ rows: LeadingRows, _ missing: [Int]) {
    let (linearization, output) = (problem.linearization, problem.output)
    let samples = rows.samples
    let own = linearization.gathered(missing.map { samples[$0] })
    let ones = [Double](repeating: 1, count: missing.count)
    let formed = own.perSampleGradients(draws: 1, scales: ones) { chunk, cotangents in
      output.writeLeadingRows(
        rows, missing[chunk.first..<chunk.first + chunk.count], to: cotangents)
    }
    let first = count
    for (place, row) in missing.enumerated() { places[rows.identity(row)] = first + place }
    parts.append(formed)
    extend(RowStack(parts).gramBorder(from: first, inDouble: isInDouble))
  }

  /// Forms products in double from here on, and again what there is; and every row by a pass of its own, as what others
  /// leave has their rounding.
  func formInDouble() {
    isInDouble = true
    let first = gradients?.samples ?? 0
    usesGradients = false
    if first < count { extend(RowStack(parts).gramBorder(from: first)) }
  }

  private func extend(_ border: GramBorder) {
    let (first, all) = (border.first, border.count)
    let before = count
    units[first...] = []
    units += [Double](repeating: border.unit, count: all - first)
    let extended = Vector<Double>(unsetCount: all * all)
    for row in 0..<first {
      Kernels.copy(gram.pointer + row * before, extended.pointer + row * all, count: first)
    }
    for row in first..<all {
      let source = border.scaled.pointer + (row - first) * all
      for column in 0..<all {
        let value = source[column] * (border.unit / units[column])
        extended.pointer[row * all + column] = value
        extended.pointer[column * all + row] = value
      }
    }
    gram = extended
  }

  // MARK: - Combinations of what is formed

  private func matrix(_ forms: [RowMatrix<S>.Form]) -> RowMatrix<S> {
    let (m, all, gram, units) = (forms.count, count, gram, units)
    let norms = forms.map { form in
      form.reduce(0) {
        max($0, abs($1.factor) * units[$1.place] * gram[$1.place * (all + 1)].squareRoot())
      }
    }
    let unit = powerOfTwo(near: norms.max() ?? 0)
    func scaled(_ term: (place: Int, factor: Double)) -> (place: Int, factor: Double) {
      (term.place, term.factor * units[term.place] / unit)
    }
    // Most have one term, and none has none.
    let firsts = forms.map { scaled($0[0]) }
    let others = forms.indices.filter { forms[$0].count > 1 }
      .map { (row: $0, terms: forms[$0].dropFirst().map(scaled)) }
    let matrix = Vector<Double>(unsetCount: m * m)
    problem.linearization.pool.run(m) { i, _ in
      let row = matrix.pointer + i * m
      let products = Vector<Double>(count: all)
      for term in forms[i] {
        let (place, factor) = scaled(term)
        Kernels.axpby(factor, gram.pointer + place * all, 1, products.pointer, count: all)
      }
      for (j, first) in firsts.enumerated() {
        row[j] = first.factor * products.pointer[first.place]
      }
      for (j, terms) in others {
        for (place, factor) in terms { row[j] += factor * products.pointer[place] }
      }
    }
    let stack = RowStack(parts)
    let rounding = isInDouble ? 10 * .ulpOfOne : 8 * Double(S.ulpOfOne) / Double(m)
    return RowMatrix(count: m, unit: unit, scaled: matrix, rounding: rounding) {
      weights, inDouble in
      var sums = [Double](repeating: 0, count: all)
      for (form, weight) in zip(forms, weights) {
        for (place, factor) in form { sums[place] += weight * factor }
      }
      return stack.weightedSum(sums, inDouble: inDouble)
    }
  }
}

/// Rows R of length P of which the products are known, and the sums.
package struct RowMatrix<S: EngineScalar> {
  /// A combination of rows.
  package typealias Form = [(place: Int, factor: Double)]

  package let count: Int
  /// A power of two near the norms.
  package let unit: Double
  /// `R R^T / unit^2`, `[count, count]`.
  package let scaled: Vector<Double>
  /// Below this share of the trace, eigenvalues are rounding. With products in single precision more of them would
  /// bend x: there classes are missing that it moves where it follows small eigenvalues.
  package let rounding: Double
  /// `R^T y`
  package let weightedSum: (_ weights: [Double], _ inDouble: Bool) -> ScaledVector<S>
}

extension RowMatrix {
  /// Of all rows of a collection.
  init(_ rows: PerSampleGradients<S>) {
    let gram = rows.gramMatrix(withSums: false)
    self.init(
      count: rows.count, unit: gram.unit, scaled: gram.scaled, rounding: 10 * .ulpOfOne
    ) { weights, inDouble in
      rows.weightedSums([weights], inDouble: inDouble)[0]
    }
  }
}
