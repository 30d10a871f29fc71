import Checkpoints

/// What would help where a reference did not converge: on this problem, with these options.
struct ReferenceAdvice {
  let options: EvaluationOptions
  let costs: ReferenceChoice.Costs
  /// Bytes that an exact solver may take.
  let memory: Int
  let isEngineDouble: Bool

  /// - Parameters:
  ///   - trace: Iterates of the solve.
  ///   - bound: Of gamma.
  ///   - isDouble: Whether the solver has worked in double in any case.
  func text(
    _ record: ReferenceRecord, trace: [TraceRow], bound: Double, isDouble: Bool = false
  ) -> SettingText? {
    let isDouble = isDouble || isEngineDouble
    // |w| is infinite: the model gives a label no probability that double can hold.
    if bound == 0 {
      return "No solver reaches labels that the model rules out: look for wrong labels, or extreme "
        + "weights or inputs."
    }
    switch record.stop {
    case "underflow", "overflow": return nil
    case "iterations", "abandoned": return more(trace, bound)
    case "curvature", "stagnated": return isDouble ? direct ?? damp : double
    default: return isDouble ? iterate(record) : double
    }
  }

  private var double: SettingText {
    "Rounding is what ended it: \(.precision) float64 goes further."
  }

  private var damp: SettingText {
    "It is as near as double precision comes; \(.cgDamping) makes the problem one that it can solve."
  }

  /// A direct solver that has not been tried.
  private var direct: SettingText? {
    if options.reference == .auto { return directWithMemory }
    var automatic = options
    automatic.reference = .auto
    if !ReferenceChoice(automatic, memory: memory, costs).fallbacks.isEmpty {
      return "\(.reference) auto turns to a direct solver here."
    }
    if costs.gramMemory <= memory {
      return "\(.reference) gram fits into the memory, at the cost of some "
        + "\(shortened(costs.gram / costs.iteration, digits: 2)) iterations."
    }
    return directWithMemory
  }

  private var directWithMemory: SettingText? {
    let least = min(costs.choleskyMemory, costs.gramMemory, costs.svdMemory)
    if least <= memory || least == .max { return nil }
    return
      "A direct solver would need \(bytes(least, digits: 2)) beside the rest: allow more with \(.memory)."
  }

  private func more(_ trace: [TraceRow], _ bound: Double) -> SettingText? {
    let excesses = trace.map { $0.gamma / bound - 1 }
    let target = max(options.cgGap, 1e-6)
    let remaining = ReferenceOutlook.remaining(excesses, target: target)
    var parts: [SettingText] = []
    if let remaining, remaining < 1e5 {
      let needed = Double(trace.count) + remaining
      let digits = max(1, Int(needed).description.count - 1)
      var unit = 1.0
      for _ in 1..<digits { unit *= 10 }
      let rounded = Int((needed / unit).rounded(.up) * unit)
      parts.append(
        "At the rate of its last iterates it needs some \(grouped(rounded)): \(.cgIterations) \(rounded)."
      )
    } else if excesses.count >= 4 {
      parts.append(
        "Its last iterates have gained too little to say how many it needs: more (\(.cgIterations)) may "
          + "not help.")
    }
    if let direct { parts.append(direct) }
    return parts.isEmpty ? "Allow more (\(.cgIterations))." : parts.joined(separator: " ")
  }

  private func iterate(_ record: ReferenceRecord) -> SettingText {
    record.kind == .gram && costs.svdMemory <= memory
      ? "\(.reference) dense keeps smaller singular values."
      : "\(.reference) lsqr iterates past what a factorisation loses."
  }
}
