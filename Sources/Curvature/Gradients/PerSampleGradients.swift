import GraphModule
import TensorModule

/// The gradients `g = J_n^T w` of every sample for R cotangents per sample ("draws"), in the
/// cheapest form each parameter allows: rows of factors where the layer factors, explicit rows
/// otherwise. No matrix of `R N x P` exists when the large layers factor.
///
/// Row `d N + n` belongs to draw d and sample n. Gradients are `scales[row]` times what is
/// stored: a sample that is fitted to 1e-30 keeps its digits in single precision.
package final class PerSampleGradients<S: EngineScalar> {
  package let linearization: Linearization<S>
  package let draws: Int
  package internal(set) var scales: [Double]
  let entries: [Entry]

  enum Entry {
    /// Output cotangents `[R, N T, out]`; the inputs are with the linearization.
    case factored(
      node: Int, factors: Factorization, weight: ParameterID, bias: ParameterID?, rows: Vector<S>,
      table: Table?)
    /// `[R N, count]`
    case explicit(parameter: ParameterID, rows: Vector<S>)
  }

  /// Cotangents `[R, N T, columns]` of a table that is the weight of a factored layer too.
  struct Table {
    let table: GradientPlan.Table
    let rows: Vector<S>

    var size: Int { table.factors.positions * table.factors.outputs }
  }

  init(linearization: Linearization<S>, draws: Int, scales: [Double]) {
    precondition(
      scales.count == draws * linearization.samples,
      "PerSampleGradients: \(scales.count) scales for \(draws) x \(linearization.samples) rows")
    self.linearization = linearization
    self.draws = draws
    self.scales = scales
    let plan = linearization.plan
    let samples = linearization.samples
    var entries: [Entry] = []
    for (index, route) in plan.routes.enumerated() {
      guard case .factored(let factors, let weight, let bias)? = route else { continue }
      entries.append(
        .factored(
          node: index, factors: factors, weight: weight, bias: bias,
          rows: Vector(count: draws * samples * factors.positions * factors.outputs),
          table: plan.tables[index].map { table in
            let size = table.factors.positions * table.factors.outputs
            return Table(table: table, rows: Vector(count: draws * samples * size))
          }))
    }
    for parameter in plan.program.trainable where plan.accumulatorOffsets[parameter.index] != nil {
      let count = plan.program.graph.parameters[parameter.index].count
      entries.append(
        .explicit(parameter: parameter, rows: Vector(count: draws * samples * count)))
    }
    self.entries = entries
  }

  /// The same rows, or some of them: the first draws, and tensors of one's choice.
  init(
    _ other: PerSampleGradients, draws: Int, entries: [Entry], of linearization: Linearization<S>
  ) {
    precondition(draws <= other.draws, "PerSampleGradients: \(draws) of \(other.draws) draws")
    self.linearization = linearization
    self.draws = draws
    scales = Array(other.scales.prefix(draws * other.linearization.samples))
    self.entries = entries
  }

  /// Makes room for other gradients: the rows of explicit ones are added to.
  func clear() {
    for case .explicit(_, let rows) in entries { Kernels.zero(rows.pointer, count: rows.count) }
  }

  /// R N
  package var count: Int { draws * samples }
  package var samples: Int { linearization.samples }

  /// Where the inputs of layers are: the batch, or that of which these are some samples.
  var batch: Linearization<S> { linearization.origin?.batch ?? linearization }

  /// Of a row its sample there.
  func sample(of row: Int) -> Int {
    let own = row % samples
    return linearization.origin?.samples[own] ?? own
  }

  var collector: Collector {
    var factored: [Int: Vector<S>] = [:]
    var explicit: [ParameterID: Vector<S>] = [:]
    for entry in entries {
      switch entry {
      case .factored(let node, _, _, _, let rows, let table):
        factored[node] = rows
        if let table { factored[table.table.node] = table.rows }
      case .explicit(let parameter, let rows): explicit[parameter] = rows
      }
    }
    return Collector(
      plan: linearization.plan, samples: samples, factored: factored, explicit: explicit)
  }

  struct Collector: GradientCollector {
    let plan: GradientPlan
    let samples: Int
    let factored: [Int: Vector<S>]
    let explicit: [ParameterID: Vector<S>]

    func collect(_ pass: CotangentPass<S>, first: Int) {
      if let rows = factored[pass.nodeIndex] {
        let size = pass.node.size
        for d in 0..<pass.directions {
          pass.copyCotangent(direction: d, to: rows.pointer + (d * samples + first) * size)
        }
        return
      }
      for (slot, parameter) in pass.node.parameters.enumerated() {
        guard let rows = explicit[parameter] else { continue }
        let count = plan.program.graph.parameters[parameter.index].count
        for d in 0..<pass.directions {
          pass.node.operation.addPerSampleGradients(
            pass, slot: slot, direction: d, to: rows.pointer + (d * samples + first) * count,
            stride: count)
        }
      }
    }
  }

  /// `sum_rows coefficient[row] g_row` for several sets of coefficients `[R N]`: one product per
  /// layer each, no backward pass.
  ///
  /// - Parameter inDouble: Multiply and add in double, for sums in which the rows cancel: what is
  ///   left of them has as many digits fewer as it is smaller.
  /// - Returns: The sums, each as a vector with a scale, so that neither coefficients of 1e-12 nor
  ///   of 1e12 leave the range of single precision.
  package func weightedSums(
    _ coefficients: [[Double]], inDouble: Bool = false
  ) -> [ScaledVector<S>] {
    coefficients.map { RowStack([self]).weightedSum($0, inDouble: inDouble) }
  }

  /// The weighted sum of the stored rows in precision T, whatever precision they have.
  ///
  /// - Parameter offsets: Where each parameter goes; those that are to be left out have none.
  func accumulate<T: EngineScalar>(
    _ weights: [Double], into result: Vector<T>, offsets: [Int?]
  ) {
    RowStack([self]).accumulate(weights, into: result, offsets: offsets)
  }

  /// What one row has of a table that is a layer's weight too.
  func tableRows(_ table: Table, row: Int) -> TableRows<S> {
    let positions = table.table.factors.positions
    return TableRows(
      indices: batch.indices(of: table.table) + sample(of: row) * positions,
      cotangents: UnsafePointer(table.rows.pointer + row * table.size), count: positions)
  }

  /// One gradient, written out: `[P]` in double, for dense references and checks.
  package func row(_ index: Int, into row: UnsafeMutablePointer<Double>) {
    let vector = Vector<S>(count: linearization.parameterCount)
    let offsets = linearization.program.offsets
    let sample = sample(of: index)
    for entry in entries {
      switch entry {
      case .factored(let node, let factors, let weight, let bias, let rows, let table):
        let positions = factors.positions
        let inputs: InputRows<S>
        switch batch.inputRows(node: node, factors) {
        case .dense(let a): inputs = .dense(a + sample * positions * factors.inputs)
        case .oneHot(let indices): inputs = .oneHot(indices + sample * positions)
        }
        let single = FactoredRows(
          factors: factors, count: positions, inputs: inputs,
          cotangents: UnsafePointer(rows.pointer + index * positions * factors.outputs),
          table: table.map { tableRows($0, row: index) })
        let tasks = single.gradientTasks(
          weight: vector.pointer + offsets[weight.index]!,
          bias: bias.map { vector.pointer + offsets[$0.index]! })
        for task in tasks { task() }
      case .explicit(let parameter, let rows):
        let count = linearization.program.graph.parameters[parameter.index].count
        Kernels.copy(
          rows.pointer + index * count, vector.pointer + offsets[parameter.index]!, count: count)
      }
    }
    Kernels.toDouble(vector.pointer, row, count: vector.count)
    Kernels.axpby(0, row, scales[index], row, count: vector.count)
  }
}
