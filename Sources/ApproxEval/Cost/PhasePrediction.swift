import Updates

/// Matrix products of each phase of a batch, from shapes and options alone.
struct PhasePrediction {
  let forward: Work
  /// One backward pass with the true and the sampled labels stacked, and their Gram matrices.
  let gram: Work
  /// A weighted sum of gradients for each direction that is formed; `nil` with methods that take more.
  let directions: Work?
  /// J times each direction; `nil` likewise.
  let jvp: Work?
  /// One product of conjugate gradients or LSQR.
  let iteration: Work

  /// - Parameter tokens: Of scored positions, where these are the samples, with a forward pass of their own.
  init(
    _ counts: ProductCounts, tokens: ProductCounts? = nil, methods: [UpdateMethod], dampings: Int,
    draws: Int, usesCombinations: Bool, isSolved: Bool
  ) {
    let sampled = methods.contains(where: \.needs.isSampled) ? draws : 0
    forward = counts.forward
    let samples = tokens ?? counts
    gram =
      (tokens?.forward ?? .none) + Double(1 + sampled) * samples.inputs
      + samples.gram(draws: 1 + sampled, isSolved: isSolved)
    iteration = counts.fisherVectorProduct(usesCombinations: usesCombinations)
    guard methods.allSatisfy({ $0.needs.isWeightedSum && $0.needs.solve == nil }) else {
      (directions, jvp) = (nil, nil)
      return
    }
    // The gradient is scored in any case: others are relative to it.
    let count = Double(1 + methods.count { $0 != .baseline } * dampings)
    directions = usesCombinations ? Work.none : count * samples.weights
    jvp = count * (usesCombinations ? counts.combinedJVP : counts.jvp)
  }

  /// All of them, without a reference.
  var batch: Work? {
    guard let directions, let jvp else { return nil }
    return forward + gram + directions + jvp
  }

  /// - Parameter iterations: Of the reference's solver.
  func work(_ phase: PhaseCost.Phase, iterations: Int?) -> Work? {
    switch phase {
    case .forward: forward
    case .gram: gram
    case .reference: iterations.map { Double($0) * iteration }
    case .directions: directions
    case .jvp: jvp
    }
  }
}
