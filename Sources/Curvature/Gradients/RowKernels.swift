import GraphModule
import TensorModule

/// What a kernel of layer inputs belongs to.
struct RowKernelKey: Hashable {
  let node: Int
  let hasBias: Bool
}

// Kernels of layer inputs, `A A^T` over all rows of the batch, and which layers answer with them.
extension Linearization {
  /// `A A^T`, plus 1 where a bias trains, over the rows of all samples: `[N T, N T]` in double, and a
  /// row of zeros.
  ///
  /// Formed once.
  func rowKernel(
    node: Int, _ factors: Factorization, hasBias: Bool, _ lanes: GramLanes<S> = GramLanes()
  ) -> Vector<Double> {
    // A tensor looked at by itself has no bias beside it.
    rowKernels.value(RowKernelKey(node: node, hasBias: hasBias)) {
      formRowKernel(node: node, factors, hasBias: hasBias, lanes)
    }
  }

  private func formRowKernel(
    node: Int, _ factors: Factorization, hasBias: Bool, _ lanes: GramLanes<S>
  ) -> Vector<Double> {
    let rows = samples * factors.positions
    let kernel = Vector<Double>(count: (rows + 1) * rows)
    switch inputRows(node: node, factors) {
    case .dense(let pointer):
      addGram(
        ofRows: (0..<rows).map { pointer + $0 * factors.inputs }, columns: factors.inputs,
        .init(rows: rows, split: rows), lanes,
        to: kernel)
      for t in 0..<rows {
        for s in 0..<t { kernel.pointer[s * rows + t] = kernel.pointer[t * rows + s] }
      }
    case .oneHot(let indices):
      for t in 0..<rows {
        for s in 0..<rows where indices[t] == indices[s] { kernel.pointer[t * rows + s] = 1 }
      }
    }
    if hasBias { for i in 0..<rows * rows { kernel.pointer[i] += 1 } }
    return kernel
  }

  /// Whether directions that are combinations of per-sample gradients are better not formed: where
  /// kernels save a fourth of the products of a direction and more, and the model is wide, so
  /// that the rows of J are independent and `J J^T` is no worse conditioned than it has to be.
  package var prefersCombinations: Bool {
    plan.prefersCombinations(samples: samples, keptSamples: keptSamples)
  }
}

extension GradientPlan {
  /// As of a linearization with this plan.
  package func prefersCombinations(samples: Int, keptSamples: Int) -> Bool {
    let logitCount = program.graph.outputShape.reduce(1, *)
    guard program.parameterCount >= 4 * samples * logitCount, keptSamples == samples else {
      return false
    }
    var (saved, total) = (0.0, 0.0)
    for (index, node) in program.graph.nodes.enumerated() {
      let use = program.uses[index]
      let operations = Double(node.operation.operationCount)
      if use.anyInputActive { total += operations }
      guard let route = routes[index] else { continue }
      total += 2 * operations
      if case .factored(let factors, _, _) = route, factors.prefersRowKernel(samples: samples) {
        let rows = Double(samples * factors.positions)
        saved += 2 * operations * (1 - rows / Double(factors.inputs))
      }
    }
    return saved > total / 4
  }
}

extension Factorization {
  /// Whether the kernel makes a direction's part of a jvp cheaper than forming the block and
  /// multiplying with it: `2 (N T)^2 out` operations in double against `4 N T in out`.
  package func prefersRowKernel(samples: Int) -> Bool {
    rows != .oneHot && samples * positions <= inputs
  }
}
