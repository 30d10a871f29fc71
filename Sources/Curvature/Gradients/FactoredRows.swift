import GraphModule
import TensorModule

/// Where the rows `a` of a factored gradient are.
enum InputRows<S: EngineScalar> {
  /// `[count, in]`
  case dense(UnsafePointer<S>)
  /// `[count]`: the column in which the row is 1.
  case oneHot(UnsafePointer<Int32>)
}

/// `sum_t b_t a_t^T` over `count` rows, in blocks of the weight.
struct FactoredRows<S: EngineScalar> {
  let factors: Factorization
  let count: Int
  let inputs: InputRows<S>
  /// `[count, out]`
  let cotangents: UnsafePointer<S>
  /// What a table that is the weight too adds to its gradient.
  var table: TableRows<S>?

  /// Work that together writes the gradient of the weight and of the bias; tasks are independent.
  func gradientTasks(
    weight: UnsafeMutablePointer<S>, bias: UnsafeMutablePointer<S>?
  ) -> [() -> Void] {
    var tasks: [() -> Void] = []
    switch inputs {
    case .dense(let a):
      // 512 rows of the weight keep OpenBLAS near its best rate and still share the work.
      let block = 512
      for begin in stride(from: 0, to: factors.outputs, by: block) {
        tasks.append {
          BLAS.gemm(
            transposeA: true, m: min(block, factors.outputs - begin), n: factors.inputs,
            k: count, cotangents + begin, lda: factors.outputs, a, ldb: factors.inputs,
            weight + begin * factors.inputs, ldc: factors.inputs)
          table?.add(
            begin..<min(begin + block, factors.outputs), columns: factors.inputs,
            to: weight + begin * factors.inputs)
        }
      }
    case .oneHot(let indices):
      tasks.append {
        let columns = factors.outputs
        Kernels.zero(weight, count: factors.inputs * columns)
        for t in 0..<count {
          let row = weight + Int(indices[t]) * columns
          Kernels.add(cotangents + t * columns, row, row, count: columns)
        }
      }
    }
    if let bias {
      tasks.append {
        Kernels.sumRows(
          cotangents, rows: count, columns: factors.outputs, bias, accumulate: false)
      }
    }
    return tasks
  }
}

/// Cotangents of the rows that have been read from a table.
struct TableRows<S: EngineScalar> {
  /// `[count]`: the row that each position has read.
  let indices: UnsafePointer<Int32>
  /// `[count, columns]`
  let cotangents: UnsafePointer<S>
  let count: Int

  /// Adds those of some rows of the table, which begin at `out`.
  func add(_ rows: Range<Int>, columns: Int, to out: UnsafeMutablePointer<S>) {
    for t in 0..<count where rows.contains(Int(indices[t])) {
      let row = out + (Int(indices[t]) - rows.lowerBound) * columns
      Kernels.add(cotangents + t * columns, row, row, count: columns)
    }
  }
}

extension Linearization {
  /// Which row of a table each position of the batch reads, `[N T]`.
  func indices(of table: GradientPlan.Table) -> UnsafePointer<Int32> {
    guard case .oneHot(let indices) = inputRows(node: table.node, table.factors) else {
      preconditionFailure("indices: node \(table.node) reads no table")
    }
    return indices
  }

  /// The rows `a` of all samples of a factored node, `[N T, in]`.
  func inputRows(node index: Int, _ factors: Factorization) -> InputRows<S> {
    let node = program.graph.nodes[index]
    let value = node.inputs[0].index
    switch factors.rows {
    case .unfolded:
      let rows = unfoldedRows.value(index) { unfold(node: index, factors) }
      return .dense(UnsafePointer(rows.pointer))
    case .input where value >= program.graph.inputs.count:
      return .dense(UnsafePointer(store.values[value]!.pointer))
    case .input, .oneHot:
      switch inputs.values[value] {
      case .real(let vector): return .dense(UnsafePointer(vector.pointer))
      case .index(let indices): return .oneHot(UnsafePointer(indices.pointer))
      }
    }
  }

  private func unfold(node index: Int, _ factors: Factorization) -> Vector<S> {
    let node = program.graph.nodes[index]
    let value = node.inputs[0].index
    let size = program.graph.sizes[value]
    let images: UnsafePointer<S>
    if let kept = store.values[value] {
      images = UnsafePointer(kept.pointer)
    } else {
      guard case .real(let vector) = inputs.values[value] else {
        preconditionFailure("unfoldedRows: whole numbers have no windows")
      }
      images = UnsafePointer(vector.pointer)
    }
    let rowScalars = factors.positions * factors.inputs
    let rows = Vector<S>(count: samples * rowScalars)
    pool.run(samples) { n, _ in
      node.operation.writeRows(images + n * size, samples: 1, to: rows.pointer + n * rowScalars)
    }
    return rows
  }
}
