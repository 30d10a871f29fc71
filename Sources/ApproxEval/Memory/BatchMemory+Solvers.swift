import Curvature
import GraphModule
import HessianFree
import TensorModule

// What solves for the natural gradient.
extension BatchMemory {
  mutating func addConjugateGradient(isCombination: Bool) {
    let step: [(name: String, bytes: ByteCount)]
    if isCombination {
      let pairs = needs.doubles(2, samples, logits)
      step = [
        ("rows of conjugate gradients", 2 * needs.rows(draws: 1)),
        ("vectors of conjugate gradients", 7 * pairs + history(pairs)),
      ]
    } else {
      step = [("vectors of conjugate gradients", 7 * needs.vector + history(needs.vector))]
    }
    plan.during(step + preconditioner)
  }

  /// Residuals that a solve keeps.
  private func history(_ vector: ByteCount) -> ByteCount {
    let room = ConjugateGradient().historyBytes / max(vector.value, 1)
    let capacity = room >= min(options.cgIterations, 100) ? min(room, options.cgIterations + 1) : 0
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
    switch options.reference {
    case .none: return
    case .cg, .auto: addConjugateGradient(isCombination: isCombination)
    case .lsqr: addLSQR()
    case .gram: plan.during([("matrix of the reference", gramReference)])
    case .dense: plan.during([("matrix of the reference", min(gramReference, denseReference))])
    }
    plan.keep("directions", isCombination ? needs.rows(draws: 1) : needs.vector)
    plan.during([("work space of a direction", 3 * needs.vector)])
  }

  private mutating func addLSQR() {
    plan.during([
      (
        "vectors of LSQR",
        6 * needs.vector + needs.doubles(8, samples, logits)
          + history(needs.doubles(samples, logits)) + history(needs.vector)
      )
    ])
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
