import Curvature
import GraphModule
import HessianFree
import TensorModule

// What solves for the natural gradient.
extension BatchMemory {
  mutating func addConjugateGradient(isCombination: Bool) {
    let vector = isCombination ? needs.doubles(2, samples, logits) : needs.vector
    keepForAllBatches(
      isCombination ? "pairs of conjugate gradients" : "vectors of conjugate gradients",
      6 * vector + history(vector))
    plan.during(
      [
        ("rows of conjugate gradients", isCombination ? 2 * needs.rows(draws: 1) : 0),
        ("work space of conjugate gradients", vector),
      ] + preconditioner)
  }

  /// What the first solve makes and all others use again (`ReferenceWorkspace`).
  private mutating func keepForAllBatches(_ name: String, _ bytes: ByteCount) {
    if plan.bytes(of: name) == 0 { plan.keep(name, bytes) }
  }

  /// Residuals that a solve keeps.
  private func history(_ vector: ByteCount) -> ByteCount {
    let limits = SolveLimits(maxIterations: options.cgIterations)
    let capacity = limits.keptVectors(of: vector.value)
    // In slabs of up to 32.
    return ByteCount(capacity + (capacity > 0 ? 32 : 0)) * vector
  }

  private var preconditioner: [(name: String, bytes: ByteCount)] {
    switch options.cgPreconditioner {
    case .none: return []
    case .jacobi:
      return [
        (
          "preconditioner",
          3 * needs.exactVector + needs.squares + needs.rows(draws: 1) + needs.vector
        )
      ]
    case .sf:
      let draws = Preconditioning<S>.draws
      let gram = needs.gram(draws: draws)
      return [
        (
          "preconditioner",
          needs.rows(draws: draws) + gram.kernels + 2 * gram.matrix + gram.workspace
            + needs.arenas(tangents: 0, cotangents: draws) + 2 * needs.vector
        )
      ]
    }
  }

  /// The reference of the options; `auto` and `dense` take what they find room for beside it.
  mutating func addReference() {
    let isCombination = needs.usesCombinations && options.cgPreconditioner == .none
    let wanted = options.reference.needs
    if wanted.isEmpty { return }
    if wanted.contains(.conjugateGradients) { addConjugateGradient(isCombination: isCombination) }
    if wanted.contains(.lsqr) { addLSQR() }
    let matrices = [
      wanted.contains(.gramMatrix) ? gramReference : nil,
      wanted.contains(.factorMatrix) ? denseReference : nil,
    ]
    plan.during([("matrix of the reference", matrices.compactMap { $0 }.min() ?? 0)])
    plan.keep("directions", isCombination ? needs.rows(draws: 1) : needs.vector)
    plan.during([("work space of a direction", 3 * needs.vector)])
  }

  private mutating func addLSQR() {
    let rows = needs.doubles(samples, logits)
    keepForAllBatches(
      "vectors of LSQR",
      4 * (needs.vector + rows) + history(rows) + history(needs.vector))
    plan.during([("work space of LSQR", 2 * needs.vector + 4 * rows)])
  }

  private var gramReference: ByteCount {
    let positions = program.graph.positions
    let rank =
      checkpoint.loss == .crossEntropy ? program.graph.classes - 1 : program.graph.classes
    return ByteCount(GramNeeds(needs, draws: positions * rank).total)
  }

  private var denseReference: ByteCount {
    let required = DenseLeastSquares.requiredMemory(
      rows: (ByteCount(samples) * ByteCount(logits)).value, columns: program.parameterCount)
    return ByteCount(required) + doubleProblem
  }

  /// The same batch in double beside this one.
  var doubleProblem: ByteCount {
    if S.self == Double.self { return 0 }
    var exact = BatchMemory<Double>(
      checkpoint, samples: samples, options: options, budget: budget)
    exact.addProblem()
    exact.keepArenas(tangents: 1, cotangents: 1)
    return ByteCount(exact.plan.total) + exact.needs.rows(draws: 1)
  }
}
