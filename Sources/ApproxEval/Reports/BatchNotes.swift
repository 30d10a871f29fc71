import Checkpoints
import Updates

// What a reader must know of the batches of a checkpoint: labels that were drawn, samples that were
// left out.

extension Report.Entry {
  /// On how few drawn labels the methods that draw hang.
  ///
  /// A model that is sure draws the true labels: then SF is EF, K-FAC its empirical form, and with one
  /// label that differs gamma may be twice as large.
  var sampledLabelsNote: String? {
    let counts = results.compactMap(\.sampledLabels)
    guard counts.contains(where: \.isFew), let all = counts.map(\.all).max() else { return nil }
    let changed = counts.map(\.changed)
    let batches = counts.count > 1 ? " in each of \(counts.count) batches" : ""
    let drawn = methods { $0.monteCarloSamples != nil }
    // Weights of the loss weigh a drawn label by their root.
    let twins = drawn.map { name in
      description.hasWeightedLoss
        ? nil : UpdateMethod(name: name)?.needs.sampledLabels?.trueLabelMethod
    }
    let paired = zip(drawn, twins).filter { $1 != nil }.map(\.0)
    let others = zip(drawn, twins).filter { $1 == nil }.map(\.0)
    var text =
      changed.max() == 0
      ? "None of \(grouped(all)) sampled labels\(batches) differs from the true ones"
      : "\(range(changed)) of \(grouped(all)) sampled labels\(batches) "
        + (changed.max() == 1 ? "differs" : "differ") + " from the true ones"
    let isOne = paired.count == 1
    let own = listed(twins.compactMap { $0 })
    if paired.isEmpty {
      text += ":"
    } else if changed.max() == 0 {
      text += ": \(listed(paired)) \(isOne ? "is" : "are") \(own) here"
    } else {
      text += ", and by these alone \(listed(paired)) \(isOne ? "differs" : "differ") from \(own)"
    }
    if !others.isEmpty {
      text +=
        (paired.isEmpty ? "" : ";")
        + " \(listed(others)) \(others.count == 1 ? "depends" : "depend") on few of them"
    }
    if description.data?.carriesDraws == true { return text + "." }
    return text + ". Other draws give other directions; \(names(.mcSamples)) takes more of them."
  }

  /// Which inputs are bytes that nobody has scaled, and what to do about it.
  var bytesNote: String? {
    let found = results.compactMap(\.bytes)
    guard let first = found.first, let largest = found.map(\.largest).max() else { return nil }
    let isOne = first.names.count == 1
    return
      "\(listed(first.names)) \(isOne ? "holds" : "hold") unsigned bytes, scored as the numbers "
      + "that they are, up to \(largest). If the network was trained on scaled inputs, such as x / 255, "
      + "all of this is about another network: write the data as it was given them, in float32."
  }

  /// How many samples were left out as duplicates, and of which methods.
  var duplicatesNote: String? {
    let counts = results.compactMap(\.duplicates)
    guard !counts.isEmpty else { return nil }
    let solving = methods { UpdateMethod(name: $0.method)?.needs.leavesOutDuplicates == true }
    let isDrawn = { (name: String) in UpdateMethod(name: name)?.needs.isSampled == true }
    var parts: [String] = []
    let own = solving.filter { !isDrawn($0) }
    if !own.isEmpty {
      parts.append(
        "\(range(counts.map(\.samples))) of \(range(results.map(\.samples))) samples out of the "
          + "solves of \(listed(own))")
    }
    let drawn = solving.filter(isDrawn)
    if !drawn.isEmpty {
      parts.append(
        "\(range(counts.map(\.sampled))) of \(range(counts.map(\.draws))) sampled gradients out of "
          + "those of \(listed(drawn))")
    }
    // The reference solves with F, the K-FAC family with samples in exact blocks alone.
    let others = methods { score in
      guard score.role != .reference, let needs = UpdateMethod(name: score.method)?.needs else {
        return false
      }
      return !needs.leavesOutDuplicates && !needs.hasKroneckerProducts
    }
    let ignoring = others.isEmpty ? "" : " All samples count for \(listed(others))."
    if parts.isEmpty { return "\(names(.dropDuplicates)) leaves nothing out here." + ignoring }
    return "\(names(.dropDuplicates)) leaves \(parts.joined(separator: ", and "))." + ignoring
  }
}

extension Report.Entry {
  /// Which methods' blocks were solved for by iterations, and which of them have not converged.
  var blockSolvesNote: String? {
    let solved = results.flatMap { result in
      result.scores.compactMap { score in score.solves.map { (score.method, $0) } }
    }
    if solved.isEmpty { return nil }
    let all = solved.reduce(0) { $0 + $1.1.blocks }
    let open = solved.reduce(0) { $0 + $1.1.unconverged }
    let most = solved.reduce(0) { max($0, $1.1.iterations) }
    let residual = solved.reduce(0) { max($0, $1.1.residual) }
    let names = listed(methods { $0.solves != nil })
    let text =
      "\(names): blocks of the Fisher matrix too large to form, \(grouped(all)) solves by conjugate "
      + "gradients with up to \(grouped(most)) iterations"
    if open == 0 { return text + "; all have converged." }
    return text
      + "; \(grouped(open)) \(open == 1 ? "has" : "have") not converged (residual up to "
      + "\(shortened(residual, digits: 2))), and gamma "
      + "is marked by what is estimated to be missing. \(self.names(.cgIterations)) allows more."
  }
}

extension SampledLabelCount {
  /// A tenth or less: one label more or less is felt.
  var isFew: Bool { all > 0 && changed <= all / 10 }
}
