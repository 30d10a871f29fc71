import Curvature
import GraphModule
import TensorModule

// The Jacobian against differences of logits: of those that count, along what derivatives are taken of.
extension SelfCheck {
  /// J v against central differences of the logits, in double, sample by sample.
  func finiteDifferences(
    exact: BatchProblem<Double>, logitsAt: (Vector<Double>, Double) throws -> [Double]
  ) throws -> SelfCheckItem {
    let direction: Vector<S> = random(linearization.parameterCount, stream: 1)
    guard leaveOut(of: direction) else {
      return SelfCheckItem(
        "jvp against finite differences", limit: 1e-6 + rounding,
        notApplicable: "the network takes some values for constants that are none")
    }
    let exactDirection = Vector<Double>(count: direction.count)
    Kernels.toDouble(direction.pointer, exactDirection.pointer, count: direction.count)
    let size = linearization.logitCount
    let tangents = jvp(direction)
    let scored = scoredPositions()
    let classes = problem.output.classes
    // A step for each sample: the best of several balances truncation and rounding, and a kink
    // (relu, max pooling) between theta - h v and theta + h v spoils only steps beyond it.
    var errors = [Double](repeating: .infinity, count: linearization.samples)
    let scale = exact.operations.norm(exactDirection)
    for exponent in 4...8 {
      var power = 1.0
      for _ in 0..<exponent { power /= 10 }
      let step = power / scale
      let ahead = try logitsAt(exactDirection, step)
      let behind = try logitsAt(exactDirection, -step)
      for n in errors.indices {
        var (difference, norm) = (0.0, 0.0)
        for i in n * size..<(n + 1) * size where scored[i / classes] {
          let slope = (ahead[i] - behind[i]) / (2 * step)
          difference += (slope - tangents[i]) * (slope - tangents[i])
          norm += slope * slope
        }
        let error = norm > 0 ? (difference / norm).squareRoot() : difference.squareRoot()
        errors[n] = min(errors[n], error)
      }
    }
    errors.sort()
    // A sample that sits exactly on a kink (a dead input behind a zero bias) has no derivative.
    let median = errors[errors.count / 2]
    return SelfCheckItem(
      "jvp against finite differences", measured: median, limit: 1e-6 + rounding,
      "median over samples of |J v - dz/dh| / |dz/dh| for a random v; the worst sample has "
        + "\(errors.last!.short), which a kink at the point itself explains")
  }

  /// Positions whose logits count, `[N, O]`. Of others nothing is claimed: a token before the first one
  /// that a mask shows sees nothing, and mixes what it sees all alike.
  private func scoredPositions() -> [Bool] {
    let (output, size) = (problem.output, linearization.logitCount)
    var scored = [Bool](
      repeating: output.loss != .crossEntropy, count: output.samples * output.positions)
    if output.loss != .crossEntropy { return scored }
    let units = [Double](repeating: 1, count: output.samples)
    for chunk in linearization.schedule.chunks {
      let gradient = Vector<S>(count: chunk.count * size)
      units.withUnsafeBufferPointer {
        output.write(output.gradient, chunk: chunk, units: $0.baseAddress!, to: gradient.pointer)
      }
      for i in 0..<chunk.count * size where gradient.pointer[i] != 0 {
        scored[(chunk.first * size + i) / output.classes] = true
      }
    }
    return scored
  }

  /// Sets v to zero in the rows of tables that PyTorch leaves out of gradients (`padding_idx`): along
  /// them logits move, and their derivatives are zero by decree.
  ///
  /// - Returns: Whether nothing else is left out.
  private func leaveOut(of direction: Vector<S>) -> Bool {
    let program = linearization.program
    let makers = Dictionary(
      uniqueKeysWithValues: program.graph.nodes.map { ($0.output.index, $0) })
    for node in program.graph.nodes {
      guard let detach = node.operation as? Detach, program.isActive[node.inputs[0].index]
      else { continue }
      guard let row = detach.index, let table = makers[node.inputs[0].index],
        table.operation is Embedding
      else { return false }
      let parameter = table.parameters[0].index
      guard let offset = program.offsets[parameter] else { continue }
      let columns = program.graph.parameters[parameter].shape[1]
      Kernels.zero(direction.pointer + offset + row * columns, count: columns)
    }
    return true
  }
}
