import Curvature
import GraphModule
import Metrics
import TensorModule
import Updates

/// Scores directions restricted to each parameter tensor, and to each block: the tensors of one
/// module. All other entries of the direction are zero.
///
/// J is linear, so a block's tangents are the sums of those of its tensors: one jvp per tensor gives
/// both. Tensors in which a direction is zero take none.
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
    let offset: Int
    let count: Int
    let isTied: Bool
  }

  private struct Halves {
    let fisherQuadratic: Double
    let gradientDot: Double
    /// `nil` where the direction is zero.
    let sensitivity: GammaSensitivity?

    static var zero: Halves { Halves(fisherQuadratic: 0, gradientDot: 0, sensitivity: nil) }
  }

  private let problem: BatchProblem<S>
  private let errors: GammaErrorEstimate
  private let gammaOfReference: Double?
  private let blocks: [Block]
  /// gamma of the restricted gradient, per block: its own, then those of its tensors.
  private var gammasOfGradient: [[Double]] = []
  private var rows: [LayerScore] = []

  init(
    problem: BatchProblem<S>, gradient: ScaledVector<S>, gammaOfReference: Double?,
    errors: GammaErrorEstimate
  ) {
    self.problem = problem
    self.errors = errors
    self.gammaOfReference = gammaOfReference
    blocks = LayerScorer.blocks(problem.linearization.program)
    gammasOfGradient = restrictedHalves(gradient).map { $0.map(LayerScorer.gamma) }
  }

  /// What directions of one pass may take, unless those of one block take more.
  static var copyBytes: Int { 1 << 28 }

  /// Tensors of the block that has most.
  static func widestBlock(_ program: Program) -> Int {
    blocks(program).reduce(0) { max($0, $1.tensors.count) }
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
            parameter: parameter, name: spec.name, offset: program.offsets[parameter.index]!,
            count: spec.count, isTied: program.useCounts[parameter.index] > 1)
        }, isPartlyFrozen: frozen.contains(module.name))
    }
  }

  /// - Parameters:
  ///   - norm: Of the whole direction, all of whose error may lie in one layer.
  ///   - fisherQuadratic: Of the whole direction without its scale.
  ///   - unitRoundoff: Of the arithmetic that gamma comes from.
  /// - Returns: The share of `d^T F d` within blocks.
  mutating func score(
    _ found: FoundDirection<S>, norm whole: Double, fisherQuadratic: Double, unitRoundoff: Double
  ) -> Double {
    let direction = found.direction
    let vector = direction.scaled
    // In the units of this vector.
    let ratio = direction.form.scale / vector.scale
    let all = fisherQuadratic * ratio * ratio
    var within = 0.0
    let halves = restrictedHalves(vector)
    for (place, block) in blocks.enumerated() {
      let norms = block.tensors.map { norm(vector, $0) }
      let isTied = block.tensors.contains(where: \.isTied)
      func score(
        _ halves: Halves, layer: String, kind: LayerScore.Kind, parameters: Int,
        status: ParameterRole.Status, norm: Double, sgd: Double
      ) {
        let gamma = LayerScorer.gamma(halves)
        let ratio = gammaRelative(gamma, to: sgd)
        let share = gammaOfReference.map { efficiency(gamma: gamma, reference: $0) }
        let error = halves.sensitivity.map {
          errors.error(
            $0, norm: norm / vector.scale, relativeError: direction.relativeError * whole / norm,
            unitRoundoff: unitRoundoff)
        }
        rows.append(
          LayerScore(
            method: found.method.name, family: found.method.family, role: found.role,
            damping: found.direction.damping?.text, monteCarloSamples: found.draws, layer: layer,
            kind: kind, parameters: parameters, status: status, gamma: gamma,
            gammaRelativeToSGD: ratio.isNaN ? nil : ratio,
            efficiency: share.flatMap { $0.isNaN ? nil : $0 },
            fisherQuadratic: halves.fisherQuadratic * vector.scale * vector.scale,
            gradientDot: halves.gradientDot * vector.scale, updateNorm: norm,
            gammaError: gamma.isNaN ? nil : error,
            sharpness: sharpness(halves, norm / vector.scale),
            fisherShare: all > 0 ? halves.fisherQuadratic / all : nil))
      }
      within += halves[place][0].fisherQuadratic
      score(
        halves[place][0], layer: block.name, kind: .block,
        parameters: block.tensors.reduce(0) { $0 + $1.count },
        status: isTied ? .tied : block.isPartlyFrozen ? .partlyFrozen : .trained,
        // Of norms that may be 1e-200.
        norm: norms.reduce(0) { euclideanSum($0, $1) }, sgd: gammasOfGradient[place][0])
      for (index, tensor) in block.tensors.enumerated() {
        score(
          halves[place][1 + index], layer: tensor.name, kind: .tensor, parameters: tensor.count,
          status: tensor.isTied ? .tied : .trained, norm: norms[index],
          sgd: gammasOfGradient[place][1 + index])
      }
    }
    return within / all
  }

  private func sharpness(_ halves: Halves, _ norm: Double) -> Double? {
    norm > 0 ? halves.fisherQuadratic / norm / norm : nil
  }

  /// In the order of the methods, the reference last.
  func scores(order: [UpdateMethod]) -> [LayerScore] { rows.ordered(by: order) }

  private static func gamma(_ halves: Halves) -> Double {
    Indicator(fisherQuadratic: halves.fisherQuadratic, gradientDot: halves.gradientDot).gamma
  }

  private func norm(_ direction: ScaledVector<S>, _ tensor: Tensor) -> Double {
    let part = Vector(
      reading: direction.vector.pointer + tensor.offset, count: tensor.count,
      owner: direction.vector)
    return problem.operations.norm(part) * direction.scale
  }

  // MARK: - Stacked jvps

  /// `d^T F d` and `d^T g` of the vector without its scale, per block: its own, then those of its
  /// tensors.
  private func restrictedHalves(_ direction: ScaledVector<S>) -> [[Halves]] {
    var results = blocks.map { [Halves](repeating: .zero, count: 1 + $0.tensors.count) }
    let vector = direction.vector
    // (block, tensor) of those that are not zero.
    let wanted = blocks.indices.map { place in
      blocks[place].tensors.indices.filter { !isZero(vector, blocks[place].tensors[$0]) }
    }
    var copies: [Vector<S>] = []
    for group in groups(wanted) {
      let members = group.flatMap { place in wanted[place].map { (place, $0) } }
      while copies.count < members.count { copies.append(Vector(count: vector.count)) }
      for (copy, member) in zip(copies, members) {
        let tensor = blocks[member.0].tensors[member.1]
        Kernels.copy(
          vector.pointer + tensor.offset, copy.pointer + tensor.offset, count: tensor.count)
      }
      let sums = halves(Array(copies.prefix(members.count)), group.map { wanted[$0].count })
      for (place, sums) in zip(group, sums) {
        results[place][0] = sums[0]
        for (index, half) in zip(wanted[place], sums.dropFirst()) {
          results[place][1 + index] = half
        }
      }
      for (copy, member) in zip(copies, members) {
        let tensor = blocks[member.0].tensors[member.1]
        Kernels.zero(copy.pointer + tensor.offset, count: tensor.count)
      }
    }
    return results
  }

  private func isZero(_ vector: Vector<S>, _ tensor: Tensor) -> Bool {
    let part = UnsafeBufferPointer(start: vector.pointer + tensor.offset, count: tensor.count)
    return part.allSatisfy { $0 == 0 }
  }

  /// Whole blocks, as many as fit into one pass and `copyBytes`.
  private func groups(_ wanted: [[Int]]) -> [[Int]] {
    let row = problem.linearization.parameterCount * MemoryLayout<S>.stride
    let width = min(
      problem.linearization.directionsPerPass, max(1, Self.copyBytes / max(row, 1)))
    var groups: [[Int]] = []
    var filled = 0
    for (place, tensors) in wanted.enumerated() where !tensors.isEmpty {
      if groups.isEmpty || filled + tensors.count > width {
        groups.append([])
        filled = 0
      }
      groups[groups.count - 1].append(place)
      filled += tensors.count
    }
    return groups
  }

  /// One pass: for each block of so many directions the halves of their sum, then of each.
  private func halves(_ directions: [Vector<S>], _ counts: [Int]) -> [[Halves]] {
    let linearization = problem.linearization
    let width = counts.reduce(0) { $0 + 1 + $1 }
    let sums = SampleSums(linearization.schedule, width: 2 * width)
    let parts = Vector<Double>(count: 3 * width * linearization.samples)
    linearization.jvp(directions) { chunk, tangents in
      let size = chunk.count * linearization.logitCount
      var column = 0
      func append(_ q: UnsafeMutablePointer<S>) {
        problem.writeHalves(
          chunk, overwriting: q, to: sums[chunk] + 2 * column,
          parts: parts.pointer + 3 * (column * linearization.samples + chunk.first))
        column += 1
      }
      let total = Vector<S>(count: size)
      var first = 0
      for count in counts {
        let q = tangents + first * size
        Kernels.copy(q, total.pointer, count: size)
        for r in 1..<max(count, 1) {
          Kernels.add(total.pointer, q + r * size, total.pointer, count: size)
        }
        append(total.pointer)
        for r in 0..<count { append(q + r * size) }
        first += count
      }
    }
    var column = 0
    return counts.map { count in
      (0..<1 + count).map { _ in
        defer { column += 1 }
        let (quadratic, dot) = (sums.total(2 * column), sums.total(2 * column + 1))
        return Halves(
          fisherQuadratic: quadratic, gradientDot: dot,
          sensitivity: problem.sensitivity(
            UnsafePointer(parts.pointer + 3 * column * linearization.samples),
            quadratic: quadratic, gradientDot: dot))
      }
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
