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
    let offsets = linearization.program.offsets
    return coefficients.map { set in
      precondition(set.count == count, "weightedSums: \(set.count) coefficients, \(count) rows")
      let scaled = zip(set, scales).map(*)
      let unit = powerOfTwo(near: scaled.reduce(0) { max($0, abs($1)) })
      let weights = scaled.map { $0 / unit }
      if inDouble && S.self != Double.self {
        let exact = Vector<Double>(count: linearization.parameterCount)
        accumulate(weights, into: exact, offsets: offsets)
        let rounded = ScaledVector<S>(rounding: exact)
        return ScaledVector(vector: rounded.vector, scale: rounded.scale * unit)
      }
      let vector = Vector<S>(count: linearization.parameterCount)
      accumulate(weights, into: vector, offsets: offsets)
      return ScaledVector(vector: vector, scale: unit)
    }
  }

  /// The weighted sum of the stored rows in precision T, whatever precision they have.
  ///
  /// - Parameter offsets: Where each parameter goes; those that are to be left out have none.
  func accumulate<T: EngineScalar>(
    _ weights: [Double], into result: Vector<T>, offsets: [Int?]
  ) {
    var tasks: [() -> Void] = []
    for entry in entries {
      switch entry {
      case .factored(let node, let factors, let weight, let bias, let rows, let table):
        guard let start = offsets[weight.index] else { continue }
        // The draws share their inputs: weigh and add their cotangents first.
        let combined: Vector<T> = combine(
          rows, weights: weights, size: factors.positions * factors.outputs)
        let rowCount = samples * factors.positions
        let inputs = linearization.inputRows(node: node, factors).converted(
          count: rowCount * factors.inputs, to: T.self)
        let combinedTable: Vector<T>? = table.map {
          combine($0.rows, weights: weights, size: $0.size)
        }
        let factored = FactoredRows<T>(
          factors: factors, count: rowCount, inputs: inputs.rows,
          cotangents: UnsafePointer(combined.pointer),
          table: table.map {
            TableRows(
              indices: linearization.indices(of: $0.table),
              cotangents: UnsafePointer(combinedTable!.pointer),
              count: samples * $0.table.factors.positions)
          })
        let gradient = factored.gradientTasks(
          weight: result.pointer + start, bias: bias.map { result.pointer + offsets[$0.index]! })
        tasks += gradient.map { task in
          { withExtendedLifetime((combined, combinedTable, inputs.owner)) { task() } }
        }
      case .explicit(let parameter, let rows):
        guard let start = offsets[parameter.index] else { continue }
        let columns = linearization.program.graph.parameters[parameter.index].count
        let target = result.pointer + start
        // Rows of draws that take no part need not be read.
        let first = weights.firstIndex { $0 != 0 } ?? 0
        let taking = first..<max(first, (weights.lastIndex { $0 != 0 } ?? -1) + 1)
        let narrow = Vector<T>(weights[taking].map { T($0) })
        let block = 4096
        for begin in stride(from: 0, to: columns, by: block) {
          let length = min(block, columns - begin)
          tasks.append {
            Kernels.zero(target + begin, count: length)
            withConverted(
              rows.pointer + taking.lowerBound * columns + begin, rows: taking.count,
              columns: length, stride: columns, to: T.self
            ) { tile, stride in
              BLAS.addTransposedProduct(
                rows: taking.count, columns: length, tile, stride: stride, narrow.pointer,
                to: target + begin)
            }
          }
        }
      }
    }
    linearization.pool.run(tasks.count) { task, _ in tasks[task]() }
  }

  /// `sum_d weights[d, n] rows[d, n]`, in precision T.
  private func combine<T: EngineScalar>(
    _ rows: Vector<S>, weights: [Double], size: Int
  ) -> Vector<T> {
    let combined = Vector<T>(count: samples * size)
    linearization.pool.run(samples, operations: 2 * Double(combined.count)) { n, _ in
      for row in stride(from: n, to: count, by: samples) where weights[row] != 0 {
        withConverted(
          rows.pointer + row * size, rows: 1, columns: size, stride: size, to: T.self
        ) { own, _ in
          Kernels.axpby(weights[row], own, 1, combined.pointer + n * size, count: size)
        }
      }
    }
    return combined
  }

  /// What one row has of a table that is a layer's weight too.
  func tableRows(_ table: Table, row: Int) -> TableRows<S> {
    let positions = table.table.factors.positions
    return TableRows(
      indices: linearization.indices(of: table.table) + row % samples * positions,
      cotangents: UnsafePointer(table.rows.pointer + row * table.size), count: positions)
  }

  /// One gradient, written out: `[P]` in double, for dense references and checks.
  package func row(_ index: Int, into row: UnsafeMutablePointer<Double>) {
    let vector = Vector<S>(count: linearization.parameterCount)
    let offsets = linearization.program.offsets
    let sample = index % samples
    for entry in entries {
      switch entry {
      case .factored(let node, let factors, let weight, let bias, let rows, let table):
        let positions = factors.positions
        let inputs: InputRows<S>
        switch linearization.inputRows(node: node, factors) {
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

/// Calls `body` with a matrix in precision T: itself if it has it, a copy otherwise.
private func withConverted<S: EngineScalar, T: EngineScalar>(
  _ x: UnsafePointer<S>, rows: Int, columns: Int, stride: Int, to: T.Type,
  _ body: (_ matrix: UnsafePointer<T>, _ stride: Int) -> Void
) {
  if S.self == T.self {
    return body(UnsafeRawPointer(x).assumingMemoryBound(to: T.self), stride)
  }
  let copy = Vector<Double>(count: rows * columns)
  for row in 0..<rows {
    Kernels.toDouble(x + row * stride, copy.pointer + row * columns, count: columns)
  }
  body(UnsafeRawPointer(copy.pointer).assumingMemoryBound(to: T.self), columns)
}

extension InputRows {
  /// The rows in precision T (S or double), with what owns their memory.
  fileprivate func converted<T: EngineScalar>(
    count: Int, to: T.Type
  ) -> (rows: InputRows<T>, owner: AnyObject?) {
    switch self {
    case .oneHot(let indices): return (.oneHot(indices), nil)
    case .dense(let a):
      if S.self == T.self {
        return (.dense(UnsafeRawPointer(a).assumingMemoryBound(to: T.self)), nil)
      }
      let copy = Vector<Double>(count: count)
      Kernels.toDouble(a, copy.pointer, count: count)
      return (.dense(UnsafeRawPointer(copy.pointer).assumingMemoryBound(to: T.self)), copy)
    }
  }
}
