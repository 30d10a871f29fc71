import GraphModule
import Updates

/// Operations in the matrix products of one batch, from the shapes of the program alone: for a
/// layer of `c` operations a sample, the forward pass, the tangent or cotangent of its input, and
/// the tangent or gradient of its weight are `N c` each.
struct ProductCounts {
  let samples: Double
  private let layers: [Layer]

  private struct Layer {
    /// Of the forward pass, all samples.
    let operations: Double
    let isInputActive: Bool
    let isTrainable: Bool
    let factors: Factorization?
  }

  init(_ program: Program, samples: Int) {
    self.samples = Double(samples)
    layers = program.graph.nodes.enumerated().compactMap { index, node in
      let operation = node.operation
      guard operation.factorization != nil || operation is Convolution else { return nil }
      let use = program.uses[index]
      let trainsWeight = use.trains(operation.factorization?.weightSlot ?? 0)
      return Layer(
        operations: Double(operation.operationCount) * Double(samples),
        isInputActive: use.anyInputActive, isTrainable: trainsWeight,
        factors: operation.factorization)
    }
  }

  var forward: Double { layers.reduce(0) { $0 + $1.operations } }
  /// Tangents, or cotangents, of the inputs of layers.
  var inputs: Double { layers.reduce(0) { $0 + ($1.isInputActive ? $1.operations : 0) } }
  /// Tangents, or gradients, of the weights.
  var weights: Double { layers.reduce(0) { $0 + ($1.isTrainable ? $1.operations : 0) } }
  var jvp: Double { inputs + weights }
  var vjp: Double { inputs + weights }

  /// The Gram matrix of R gradients per sample, cotangents given: per layer the cheaper of pairs
  /// of rows and of explicit per-sample gradients (method: `GramMatrix`). A symmetric product
  /// `X X^T` counts half of a general one.
  func gram(draws: Int) -> Double {
    let rows = Double(draws) * samples
    return layers.reduce(0) { sum, layer in
      guard layer.isTrainable, let factors = layer.factors else { return sum }
      let (a, b) = (Double(factors.inputs), Double(factors.outputs))
      let t = Double(factors.positions)
      let pairs =
        (factors.rows == .oneHot ? 0 : samples * t * samples * t * a) + rows * t * rows * t * b
      let explicit = 2 * rows * t * a * b + rows * rows * a * b
      return sum + min(pairs, explicit)
    }
  }

  /// Algorithm 4 without a reference: forward pass, one backward pass with the true and the
  /// sampled labels stacked, the Gram matrix of all, a weighted sum of gradients for each of SGD,
  /// EF and iEF, a vjp for each SF, and a jvp for each direction.
  func batch(methods: [Method], dampings: Int, draws: Int) -> Double? {
    let counted: Set<Method> = [.sgd, .ef, .ief, .sf]
    guard counted.isSuperset(of: methods) else { return nil }
    let sampled = methods.contains(.sf) ? draws : 0
    let sums = 1 + methods.count { $0 == .ef || $0 == .ief } * dampings
    let corrected = methods.contains(.sf) ? dampings : 0
    return forward + Double(1 + sampled) * inputs + gram(draws: 1 + sampled)
      + Double(sums) * weights + Double(corrected) * vjp + Double(sums + corrected) * jvp
  }
}
