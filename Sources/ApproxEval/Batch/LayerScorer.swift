import Curvature
import GraphModule
import Metrics
import TensorModule
import Updates

/// Scores directions restricted to each parameter tensor, and to each block: the tensors of one
/// module. All other entries of the direction are zero.
///
/// J is linear, so a block's tangents are the sums of those of its tensors: one pass for each tensor gives
/// both, for all directions, in the linearization in that tensor alone.
struct LayerScorer<S: EngineScalar> {
  /// Tensors that stand together in reports.
  private struct Block {
    let name: String
    let tensors: [Tensor]
    /// Whether some parameters of the module are frozen.
    let isPartlyFrozen: Bool
  }

  private struct Tensor {
    let parameter: ParameterID
    let name: String
    let count: Int
    let isTied: Bool
  }

  /// A direction in a block or a tensor.
  private struct Part {
    /// `nil` where the logits do not depend on it.
    var halves: BatchProblem<S>.Halves?
    /// `|d|_2`, without the direction's scale.
    var norm: Double

    var gamma: Double { halves?.unscaled.gamma ?? .nan }
  }

  private let problem: BatchProblem<S>
  private let errors: GammaErrorEstimate
  private let gammaOfReference: Double?
  private let blocks: [Block]
  /// gamma of the restricted gradient, per block: its own, then those of its tensors.
  private var gammasOfGradient: [[Double]] = []
  private var rows: [LayerScore] = []

  init(
    problem: BatchProblem<S>, gradient: DirectionForm<S>, gammaOfReference: Double?,
    errors: GammaErrorEstimate
  ) {
    self.problem = problem
    self.errors = errors
    self.gammaOfReference = gammaOfReference
    blocks = LayerScorer.blocks(problem.linearization.program)
    gammasOfGradient = parts([gradient])[0].map { $0.map(\.gamma) }
  }

  private static func blocks(_ program: Program) -> [Block] {
    let frozen = Set(
      program.graph.parameters.enumerated().filter { index, spec in
        program.offsets[index] == nil && !spec.isBuffer
      }.map { $0.element.module })
    return program.modules.map { module in
      Block(
        name: module.name,
        tensors: module.parameters.map { parameter in
          let spec = program.graph.parameters[parameter.index]
          return Tensor(
            parameter: parameter, name: spec.name, count: spec.count,
            isTied: program.useCounts[parameter.index] > 1)
        }, isPartlyFrozen: frozen.contains(module.name))
    }
  }

  /// - Parameters:
  ///   - wholes: Of each whole direction its norm, all of whose error may lie in one layer, and `d^T F d`,
  ///     without its scale.
  ///   - unitRoundoff: Of the arithmetic that gamma comes from.
  /// - Returns: The share of `d^T F d` within blocks.
  mutating func score(
    _ found: [FoundDirection<S>], wholes: [(norm: Double, fisherQuadratic: Double)],
    unitRoundoff: Double
  ) -> [Double] {
    let parts = parts(found.map(\.direction.form))
    return found.indices.map {
      score(found[$0], parts[$0], whole: wholes[$0], unitRoundoff: unitRoundoff)
    }
  }

  private mutating func score(
    _ found: FoundDirection<S>, _ parts: [[Part]], whole: (norm: Double, fisherQuadratic: Double),
    unitRoundoff: Double
  ) -> Double {
    let direction = found.direction
    let scale = direction.form.scale
    var within = 0.0
    for (place, block) in blocks.enumerated() {
      let isTied = block.tensors.contains(where: \.isTied)
      func score(
        _ part: Part, layer: String, kind: LayerScore.Kind, parameters: Int,
        status: ParameterRole.Status, sgd: Double
      ) {
        let gamma = part.gamma
        let ratio = gammaRelative(gamma, to: sgd)
        let share = gammaOfReference.map { efficiency(gamma: gamma, reference: $0) }
        let error = part.halves.map {
          errors.error(
            $0.sensitivity, norm: part.norm,
            relativeError: direction.relativeError * whole.norm / part.norm,
            unitRoundoff: unitRoundoff)
        }
        let quadratic = part.halves?.unscaled.fisherQuadratic ?? 0
        rows.append(
          LayerScore(
            method: found.method.name, family: found.method.family, role: found.role,
            damping: direction.damping?.text, monteCarloSamples: found.draws, layer: layer,
            kind: kind, parameters: parameters, status: status, gamma: gamma,
            gammaRelativeToSGD: ratio.isNaN ? nil : ratio,
            efficiency: share.flatMap { $0.isNaN ? nil : $0 },
            fisherQuadratic: quadratic * scale * scale,
            gradientDot: (part.halves?.unscaled.gradientDot ?? 0) * scale,
            updateNorm: part.norm * scale, gammaError: gamma.isNaN ? nil : error,
            sharpness: part.norm > 0 ? quadratic / part.norm / part.norm : nil,
            fisherShare: whole.fisherQuadratic > 0 ? quadratic / whole.fisherQuadratic : nil))
      }
      within += parts[place][0].halves?.unscaled.fisherQuadratic ?? 0
      score(
        parts[place][0], layer: block.name, kind: .block,
        parameters: block.tensors.reduce(0) { $0 + $1.count },
        status: isTied ? .tied : block.isPartlyFrozen ? .partlyFrozen : .trained,
        sgd: gammasOfGradient[place][0])
      for (index, tensor) in block.tensors.enumerated() {
        score(
          parts[place][1 + index], layer: tensor.name, kind: .tensor, parameters: tensor.count,
          status: tensor.isTied ? .tied : .trained, sgd: gammasOfGradient[place][1 + index])
      }
    }
    return within / whole.fisherQuadratic
  }

  /// In the order of the methods, the reference last.
  func scores(order: [UpdateMethod]) -> [LayerScore] { rows.ordered(by: order) }

  // MARK: - Parts

  /// Directions whose tangents are kept together: as many as fit into so many bytes, one at least.
  static func together(_ directions: Int, logits: Int) -> Int {
    min(directions, max(1, (1 << 26) / max(logits * MemoryLayout<Double>.stride, 1)))
  }

  /// Of each direction, per block: its own, then those of its tensors.
  private func parts(_ forms: [DirectionForm<S>]) -> [[[Part]]] {
    let empty = blocks.map { [Part](repeating: Part(norm: 0), count: 1 + $0.tensors.count) }
    var results = forms.map { _ in empty }
    let logits = problem.linearization.samples * problem.linearization.logitCount
    let width = max(1, Self.together(forms.count, logits: logits))
    for first in stride(from: 0, to: forms.count, by: width) {
      let group = first..<min(first + width, forms.count)
      for (place, block) in blocks.enumerated() {
        let found = parts(of: block, Array(forms[group]))
        for (direction, parts) in zip(group, found) { results[direction][place] = parts }
      }
    }
    return results
  }

  private func parts(of block: Block, _ forms: [DirectionForm<S>]) -> [[Part]] {
    var results = forms.map { _ in [Part(norm: 0)] }
    var sums: [Vector<Double>] = []
    for tensor in block.tensors {
      let parts = parts(of: tensor, forms)
      for (direction, part) in parts.enumerated() { results[direction].append(part) }
      let tangents = parts.compactMap { $0.halves?.tangent }
      if sums.isEmpty {
        sums = tangents
      } else {
        for (sum, tangent) in zip(sums, tangents) {
          Kernels.add(sum.pointer, tangent.pointer, sum.pointer, count: sum.count)
        }
      }
    }
    let own = block.tensors.count == 1 ? [] : problem.quadratics(ofTangents: sums)
    return results.enumerated().map { direction, parts in
      var parts = parts
      parts[0].halves = own.isEmpty ? parts[1].halves : own[direction]
      // Of norms that may be 1e-200.
      parts[0].norm = parts.dropFirst().reduce(0) { euclideanSum($0, $1.norm) }
      return parts.map {
        Part(halves: $0.halves?.withoutTangent, norm: $0.norm)
      }
    }
  }

  private func parts(of tensor: Tensor, _ forms: [DirectionForm<S>]) -> [Part] {
    guard let own = problem.restricted(to: [tensor.parameter]) else {
      return forms.map { _ in Part(norm: 0) }
    }
    let restricted = DirectionForm.restricted(
      forms, to: tensor.parameter, of: problem.linearization.program, on: own.linearization)
    return zip(restricted, own.quadratics(restricted.map(\.form), keepsTangents: true)).map {
      form, halves in
      Part(halves: halves, norm: norm(own, form, halves))
    }
  }

  /// `|d|_2` without the scale of d.
  private func norm(
    _ own: BatchProblem<S>, _ form: TensorForm<S>, _ halves: BatchProblem<S>.Halves
  ) -> Double {
    switch form {
    case .explicit(let scaled): return own.operations.norm(scaled.vector)
    case .combination(let combination):
      // The square of what is left where rows cancel has lost twice as many digits.
      if combination.cancels { return own.norm(combination.vector()) / combination.scale }
      // `<d, d> = y . J d`
      let square = problem.linearization.dot(combination.cotangent, halves.tangent!)
      return max(square, 0).squareRoot()
    }
  }
}

/// `sqrt(a^2 + b^2)` of numbers whose squares may leave the range of double.
private func euclideanSum(_ a: Double, _ b: Double) -> Double {
  let largest = max(a, b)
  if largest == 0 || !largest.isFinite { return largest }
  let (x, y) = (a / largest, b / largest)
  return largest * (x * x + y * y).squareRoot()
}
