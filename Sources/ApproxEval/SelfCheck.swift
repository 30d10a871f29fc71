import Checkpoints
import Curvature
import GraphModule
import HessianFree
import TensorModule

/// One property that must hold on any model and batch, measured.
public struct SelfCheckItem: Sendable, Equatable {
  /// What is checked.
  public var name: String
  /// A relative error, or whatever `explanation` says.
  public var measured: Double
  /// The largest that passes.
  public var limit: Double
  /// Whether `measured` is within `limit`.
  public var passed: Bool
  /// Whether the batch allows the check at all; one that it does not allow passes.
  public var isApplicable = true
  /// What was compared with what, or why nothing was.
  public var explanation: String

  init(_ name: String, measured: Double, limit: Double, _ explanation: String) {
    self.name = name
    self.measured = measured
    self.limit = limit
    // NaN fails.
    passed = measured <= limit
    self.explanation = explanation
  }

  /// A check that needs what this batch does not have.
  init(_ name: String, limit: Double, notApplicable reason: String) {
    self.init(name, measured: 0, limit: limit, "not applicable: \(reason)")
    isApplicable = false
  }
}

extension Evaluation {
  /// Checks derivatives and curvature on this very model and batch against things that hold for
  /// every correct implementation: finite differences, duality, symmetry, F.2.1's theorem.
  public func selfCheck(checkpoint path: String) throws(EvaluationError) -> [SelfCheckItem] {
    try evaluating {
      let checkpoint = try LoadedCheckpoint(path: path, options: options, files: files)
      let items = try inBatch(0, of: path, options) {
        switch try arithmetic(checkpoint, .selfCheck) {
        case .float32: try selfCheck(checkpoint, Float.self)
        case .float64: try selfCheck(checkpoint, Double.self)
        }
      }
      try checkpoint.files.requireUnchanged()
      return items
    }
  }

  private func selfCheck<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _: S.Type
  ) throws -> [SelfCheckItem] {
    let budget = try budget(checkpoint, source(checkpoint), .selfCheck, S.self)
    let problem = try problem(checkpoint, batch: 0, budget, S.self)
    let check = SelfCheck(problem: problem, seed: options.seed)
    let exact =
      try problem as? BatchProblem<Double>
      ?? self.problem(checkpoint, batch: 0, budget, Double.self)
    return try [
      check.finiteDifferences(exact: exact) { direction, step in
        try moved(checkpoint, along: direction, step: step, budget)
      },
      check.duality(),
      check.gram(),
      check.symmetry(),
      check.positivity(),
      check.certificate(),
      check.monotonicity(ReferenceSolver(options)),
    ]
  }

  /// The logits `[N, O C]` in double at `theta + step v`.
  private func moved(
    _ checkpoint: LoadedCheckpoint, along direction: Vector<Double>, step: Double,
    _ budget: MemoryBudget
  ) throws -> [Double] {
    let store = try checkpoint.parameters(Double.self, releasesPages: budget.releasesPages)
    for (parameter, offset) in checkpoint.program.offsets.enumerated() {
      guard let offset else { continue }
      let vector = store.vector(parameter)
      Kernels.axpby(step, direction.pointer + offset, 1, vector.pointer, count: vector.count)
    }
    let problem = try self.problem(checkpoint, batch: 0, budget, parameters: store)
    return problem.linearization.schedule.chunks.flatMap { chunk in
      let count = chunk.count * problem.linearization.logitCount
      return Array(UnsafeBufferPointer(start: problem.linearization.logits(chunk), count: count))
    }
  }
}

/// The checks, on one linearized batch.
struct SelfCheck<S: EngineScalar> {
  let problem: BatchProblem<S>
  let seed: UInt64

  var linearization: Linearization<S> { problem.linearization }
  /// What a well-conditioned relative error may reach: sums over many terms in the engine's
  /// precision, whose errors grow like a random walk.
  var rounding: Double { 1e4 * Double(S.ulpOfOne) }

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

  /// `<w, J v> = <J^T w, v>`
  func duality() -> SelfCheckItem {
    let v: Vector<S> = random(linearization.parameterCount, stream: 2)
    let w: Vector<S> = random(linearization.samples * linearization.logitCount, stream: 3)
    let tangents = jvp(v)
    let pulled = vjp(w)
    var (left, size) = (0.0, 0.0)
    for i in tangents.indices {
      left += Double(w.pointer[i]) * tangents[i]
      size += abs(Double(w.pointer[i]) * tangents[i])
    }
    let right = problem.operations.dot(pulled, v)
    return SelfCheckItem(
      "duality of jvp and vjp", measured: relative(left, right, size), limit: rounding,
      "<w, J v> against <J^T w, v> for random v and w")
  }

  /// K against inner products of gradients from one backward pass each.
  func gram() -> SelfCheckItem {
    let ones = [Double](repeating: 1, count: linearization.samples)
    let perSample = linearization.perSampleGradients(draws: 1, scales: ones) { chunk, out in
      ones.withUnsafeBufferPointer {
        problem.output.write(
          problem.output.gradient, chunk: chunk, units: $0.baseAddress!, to: out)
      }
    }
    let gram = perSample.gramMatrix()
    let count = min(4, linearization.samples)
    let chosen = (0..<count).map { $0 * (linearization.samples - 1) / max(count - 1, 1) }
    let gradients = chosen.map { gradient(ofSample: $0) }
    var errors: [Double] = []
    for (i, a) in chosen.enumerated() {
      for (j, b) in chosen.enumerated() {
        let expected = problem.operations.dot(gradients[i], gradients[j])
        let size = (gram[a, a] * gram[b, b]).squareRoot()
        errors.append(relative(gram[a, b], expected, size))
      }
    }
    return SelfCheckItem(
      "Gram matrix against per-sample gradients", measured: worst(errors), limit: rounding,
      "K from layer formulas against g_n . g_m of \(count) samples, relative to |g_n| |g_m|")
  }

  /// `<u, F v> = <v, F u>`
  func symmetry() throws -> SelfCheckItem {
    let u: Vector<S> = random(linearization.parameterCount, stream: 4)
    let v: Vector<S> = random(linearization.parameterCount, stream: 5)
    let (fisherU, quadraticU) = try fisher(u)
    let (fisherV, quadraticV) = try fisher(v)
    let left = problem.operations.dot(u, fisherV)
    let right = problem.operations.dot(v, fisherU)
    return SelfCheckItem(
      "symmetry of F", measured: relative(left, right, (quadraticU * quadraticV).squareRoot()),
      limit: rounding, "<u, F v> against <v, F u> for random u and v, relative to |u|_F |v|_F")
  }

  /// `<v, F v> = sum q^T H q >= 0`
  func positivity() throws -> SelfCheckItem {
    let v: Vector<S> = random(linearization.parameterCount, stream: 6)
    let (product, quadratic) = try fisher(v)
    let error = relative(problem.operations.dot(v, product), quadratic, quadratic)
    return SelfCheckItem(
      "F positive semi-definite", measured: quadratic >= 0 ? error : .infinity, limit: rounding,
      "<v, F v> against the sum of squares q^T H q for a random v")
  }

  /// No direction beats the certificate's bound; the gradient is one.
  func certificate() -> SelfCheckItem {
    let g = ScaledVector(vector: gradient(ofSample: nil), scale: 1)
    if problem.norm(g) == 0 {
      return SelfCheckItem(
        "certificate", limit: rounding, notApplicable: "the gradient is zero")
    }
    let indicator = problem.quadratics([g])[0].unscaled
    if let defect = indicator.defect, defect != .invalid {
      return SelfCheckItem("certificate", limit: rounding, notApplicable: "\(defect)")
    }
    return SelfCheckItem(
      "certificate", measured: problem.output.gammaBound / indicator.gamma - 1, limit: rounding,
      "gamma_bound / gamma(gradient) - 1, which cannot be positive")
  }

  /// gamma of the CG iterates never rises (F.2.1).
  func monotonicity(_ solver: ReferenceSolver<S>) throws -> SelfCheckItem {
    var solver = solver
    solver.iterations = min(solver.iterations, 50)
    let g = ScaledVector(vector: gradient(ofSample: nil), scale: 1)
    let trace = try solver.conjugateGradient(problem, gradient: g).trace
    if trace.isEmpty {
      return SelfCheckItem(
        "gamma of CG never rises", limit: rounding,
        notApplicable: problem.norm(g) == 0
          ? "the gradient is zero" : "conjugate gradients have no first iterate")
    }
    let rises = zip(trace.dropFirst(), trace).map { $0.gamma / $1.gamma - 1 }
    return SelfCheckItem(
      "gamma of CG never rises", measured: worst(rises), limit: rounding,
      "largest relative rise of gamma over \(trace.count) iterations of Algorithm 5")
  }
}

extension Double {
  /// Two significant digits, for sentences.
  fileprivate var short: String {
    if self == 0 || !isFinite { return "\(self)" }
    var value = self
    var exponent = 0
    while abs(value) >= 10 { (value, exponent) = (value / 10, exponent + 1) }
    while abs(value) < 1 { (value, exponent) = (value * 10, exponent - 1) }
    return "\((value * 10).rounded() / 10)e\(exponent)"
  }
}
