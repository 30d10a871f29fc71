import Curvature
import GraphModule

/// Matrix products of one batch, from the shapes of the program alone: for a layer of `c` operations
/// a sample, the forward pass, the tangent or cotangent of its input, and the tangent or gradient of
/// its weight are `N c` each.
struct ProductCounts {
  let samples: Double
  /// Scalars of all samples of which a pass computes tangents, or cotangents. Scores of attention, with their
  /// weights and the products that are no layer's, take as long as five others.
  let elements: Double
  private let layers: [Layer]

  private struct Layer {
    /// Of the forward pass, all samples.
    let product: Work
    let isInputActive: Bool
    let isTrainable: Bool
    let factors: Factorization?
    /// Whether a combination answers with the kernel of the layer's inputs.
    let usesKernel: Bool
    /// Share of the outputs of which tangents are needed.
    let tangentShare: Double
  }

  /// - Parameter scalar: Bytes of a number of the engine.
  init(_ program: Program, samples: Int, scalar: Int) {
    self.samples = Double(samples)
    let graph = program.graph
    elements =
      Double(samples)
      * graph.nodes.reduce(0) { sum, node in
        guard program.isActive[node.output.index] else { return sum }
        let scores = (node.operation as? Attention)?.scoreCount ?? 0
        return sum + Double(node.size) + 5 * Double(scores)
      }
    let shares = program.tangentShares
    layers = graph.nodes.enumerated().compactMap { index, node in
      let operation = node.operation
      let isLayer = node.parameters.indices.contains {
        operation.role(ofParameter: $0) != nil
      }
      // An adapter is little beside the layer that it changes.
      guard isLayer, operation.factorization != nil || operation.linearLayer == nil else {
        return nil
      }
      let use = program.uses[index]
      let activations = node.inputs.reduce(node.size) { $0 + graph.sizes[$1.index] }
      let weights = node.parameters.reduce(0) { $0 + graph.parameters[$1.index].count }
      return Layer(
        product: Work(
          operations: Double(operation.operationCount) * Double(samples),
          bytes: (Double(samples) * Double(activations) + Double(weights)) * Double(scalar)),
        isInputActive: use.anyInputActive,
        isTrainable: use.trains(operation.factorization?.weightSlot ?? 0),
        factors: operation.factorization,
        usesKernel: operation.factorization?.prefersRowKernel(samples: samples) ?? false,
        tangentShare: scalar == MemoryLayout<Float>.stride ? shares[index] : 1)
    }
  }

  var forward: Work { sum { $0.product } }
  /// Tangents, or cotangents, of the inputs of layers.
  var inputs: Work { sum { $0.isInputActive ? $0.product : .none } }
  /// Tangents, or gradients, of the weights.
  var weights: Work { sum { $0.isTrainable ? $0.product : .none } }
  var jvp: Work {
    sum { layer in
      let terms = (layer.isInputActive ? 1.0 : 0) + (layer.isTrainable ? 1 : 0)
      return terms * layer.tangentShare * layer.product
    }
  }
  var vjp: Work { inputs + weights }

  /// The Gram matrix of R gradients per sample, cotangents given: per layer the cheaper of pairs
  /// of rows and of explicit per-sample gradients (method: `GramMatrix`), in double. A symmetric
  /// product `X X^T` counts half of a general one.
  ///
  /// - Parameter isSolved: Whether the matrix is needed; if not, rows are multiplied with themselves
  ///   alone, where they are explicit.
  func gram(draws: Int, isSolved: Bool = true) -> Work {
    let rows = Double(draws) * samples
    return sum { layer in
      guard layer.isTrainable, let factors = layer.factors else { return .none }
      let (a, b) = (Double(factors.inputs), Double(factors.outputs))
      let t = Double(factors.positions)
      let pairs =
        (factors.rows == .oneHot ? 0 : samples * t * samples * t * a) + rows * t * rows * t * b
      let formed = 2 * rows * t * a * b
      let explicit = formed + rows * rows * a * b
      if pairs <= explicit {
        return Work(operations: pairs, bytes: 8 * t * (samples * a + rows * b))
      }
      return Work(operations: isSolved ? explicit : formed, bytes: 8 * rows * a * b)
    }
  }

  /// The products of so many further rows, each of one sample, with each other and with known ones, in the engine's
  /// precision; explicit ones have to be formed.
  func gramBorder(rows: Int, besides known: Int) -> Work {
    let (further, known) = (Double(rows), Double(known))
    let products = (further + known) * (further + known) - known * known
    return sum { layer in
      guard layer.isTrainable, let factors = layer.factors else { return .none }
      let (a, b) = (Double(factors.inputs), Double(factors.outputs))
      let t = Double(factors.positions)
      let operations = min(products * t * t * b, 2 * further * t * a * b + products * a * b)
      return Work(operations: operations, bytes: 4 * further * min(t * b, a * b))
    }
  }

  /// J times a combination of per-sample gradients that is not formed: `2 (N T)^2 out` in double for a
  /// layer with a kernel; the block of d of any other layer is formed.
  var combinedJVP: Work {
    inputs
      + sum { layer in
        guard layer.isTrainable else { return .none }
        guard layer.usesKernel, let factors = layer.factors else { return 2 * layer.product }
        let (rows, out) = (samples * Double(factors.positions), Double(factors.outputs))
        return Work(operations: 2 * rows * rows * out, bytes: 8 * rows * (rows + 2 * out))
      }
  }

  /// One product of conjugate gradients or LSQR, on vectors of length P or on combinations.
  func fisherVectorProduct(usesCombinations: Bool) -> Work {
    usesCombinations ? inputs + combinedJVP : jvp + vjp
  }

  /// What passes of one direction take beside products, in operations of a large product: 0.4 nanoseconds for each
  /// scalar, as a decoder of width 32 and a ViT of width 64 take them. In stacks, directions share what is looked up, and the weights of
  /// attention.
  func elementwise(passes: Double, inStacks: Bool = false) -> Double {
    (inStacks ? 9 : 35) * passes * elements
  }

  private func sum(_ work: (Layer) -> Work) -> Work {
    layers.reduce(.none) { $0 + work($1) }
  }
}
