import GraphModule
import TensorModule

// Weighted sums of rows.
extension RowStack {
  /// The weighted sum of the stored rows, before scales, in precision T, whatever precision they have.
  ///
  /// - Parameter offsets: Where each parameter goes; those that are to be left out have none.
  func accumulate<T: EngineScalar>(
    _ weights: [Double], into result: Vector<T>, offsets: [Int?]
  ) {
    let lists = rowsOfSamples(weights)
    var tasks: [() -> Void] = []
    for (place, entry) in parts[0].entries.enumerated() {
      switch entry {
      case .factored(let node, let factors, let weight, let bias, _, let table):
        guard let start = offsets[weight.index] else { continue }
        // The rows of a sample share their inputs: weigh and add their cotangents first.
        let size = factors.positions * factors.outputs
        let combined: Vector<T> = combine(rows(place, size: size), lists, weights, size: size)
        let rowCount = batch.samples * factors.positions
        let inputs = batch.inputRows(node: node, factors).converted(
          count: rowCount * factors.inputs, to: T.self)
        let combinedTable: Vector<T>? = table.map {
          combine(tableRows(place)!.map(\.cotangents), lists, weights, size: $0.size)
        }
        let factored = FactoredRows<T>(
          factors: factors, count: rowCount, inputs: inputs.rows,
          cotangents: UnsafePointer(combined.pointer),
          table: table.map {
            TableRows(
              indices: batch.indices(of: $0.table),
              cotangents: UnsafePointer(combinedTable!.pointer),
              count: batch.samples * $0.table.factors.positions)
          })
        let gradient = factored.gradientTasks(
          weight: result.pointer + start, bias: bias.map { result.pointer + offsets[$0.index]! })
        tasks += gradient.map { task in
          { withExtendedLifetime((combined, combinedTable, inputs.owner)) { task() } }
        }
      case .explicit(let parameter, _):
        guard let start = offsets[parameter.index] else { continue }
        let columns = linearization.program.graph.parameters[parameter.index].count
        addSums(
          rows(place, size: columns), columns: columns, weights, to: result.pointer + start, &tasks)
      }
    }
    linearization.pool.run(tasks.count) { task, _ in tasks[task]() }
  }

  /// Of every sample of the batch its rows that take part.
  private func rowsOfSamples(_ weights: [Double]) -> [[Int]] {
    var lists = [[Int]](repeating: [], count: batch.samples)
    for (row, sample) in sampleOfRow.enumerated() where weights[row] != 0 {
      lists[sample].append(row)
    }
    return lists
  }

  /// Per sample the weighted sum of what its rows have of a layer, `[N, size]` in precision T.
  private func combine<T: EngineScalar>(
    _ rows: [UnsafePointer<S>], _ lists: [[Int]], _ weights: [Double], size: Int
  ) -> Vector<T> {
    let combined = Vector<T>(count: lists.count * size)
    linearization.pool.run(lists.count, operations: 2 * Double(combined.count)) { n, _ in
      for row in lists[n] {
        withConverted(rows[row], rows: 1, columns: size, stride: size, to: T.self) { own, _ in
          Kernels.axpby(weights[row], own, 1, combined.pointer + n * size, count: size)
        }
      }
    }
    return combined
  }

  /// Tasks that write the weighted sum of explicit rows, in blocks of columns.
  private func addSums<T: EngineScalar>(
    _ rows: [UnsafePointer<S>], columns: Int, _ weights: [Double],
    to target: UnsafeMutablePointer<T>, _ tasks: inout [() -> Void]
  ) {
    /// Of each part the rows from the first to the last that take part: draws that do not need not be read.
    var runs: [(first: UnsafePointer<S>, weights: Vector<T>)] = []
    for (part, start) in zip(parts, starts) {
      let own = start..<start + part.count
      guard let first = own.first(where: { weights[$0] != 0 }),
        let last = own.last(where: { weights[$0] != 0 })
      else { continue }
      runs.append((rows[first], Vector(weights[first...last].map { T($0) })))
    }
    let block = 4096
    for begin in stride(from: 0, to: columns, by: block) {
      let length = min(block, columns - begin)
      tasks.append { [runs] in
        Kernels.zero(target + begin, count: length)
        for run in runs {
          withConverted(
            run.first + begin, rows: run.weights.count, columns: length, stride: columns,
            to: T.self
          ) { tile, stride in
            BLAS.addTransposedProduct(
              rows: run.weights.count, columns: length, tile, stride: stride,
              run.weights.pointer, to: target + begin)
          }
        }
      }
    }
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
