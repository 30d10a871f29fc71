import Metrics
import Updates

extension Report {
  /// A row per checkpoint, batch, method, damping and layer.
  public var layers: ReportTable {
    var table = ReportTable(
      name: "layers",
      columns: [
        "checkpoint", "epoch", "step", "batch", "method", "damping", "mc_samples", "layer", "kind",
        "parameters", "status", "gamma", "gamma_rel_sgd", "efficiency", "fisher_quadratic",
        "gradient_dot", "update_norm", "family", "role", "gamma_error",
        "sharpness", "fisher_share", "run",
      ])
    for result in entries.flatMap(\.results) {
      for score in result.layers {
        table.append([
          .text(result.checkpoint), .integer(result.epoch), .integer(result.step),
          .integer(result.batch), .text(score.method), .text(score.damping),
          .integer(score.monteCarloSamples), .text(score.layer), .text(score.kind.rawValue),
          .integer(score.parameters), .text(score.status.rawValue), .number(known: score.gamma),
          .number(score.gammaRelativeToSGD), .number(score.efficiency),
          .number(score.fisherQuadratic), .number(score.gradientDot), .number(score.updateNorm),
          .text(score.family), .text(score.role.rawValue), .number(score.gammaError),
          .number(score.sharpness), .number(score.fisherShare),
          .text(result.run),
        ])
      }
    }
    return table
  }

  /// Whether directions were scored layer by layer.
  var hasLayers: Bool { entries.contains { $0.results.contains { !$0.layers.isEmpty } } }
}

extension Report.Entry {
  /// gamma/gamma_SGD of every block and method, means over the batches; `nil` without.
  ///
  /// - Parameter lines: Of all of it, at the most, where that leaves room for a row.
  func layerText(_ style: TextStyle, lines: Int) -> String? {
    struct Key: Hashable {
      var layer: String
      var label: String
    }
    var blocks: [LayerScore] = []
    var labels: [String] = []
    var ratios: [Key: [Double?]] = [:]
    for result in results {
      for score in result.layers where score.kind == .block {
        let key = Key(layer: score.layer, label: score.label)
        if !blocks.contains(where: { $0.layer == score.layer }) { blocks.append(score) }
        if !labels.contains(key.label) { labels.append(key.label) }
        ratios[key, default: []].append(score.gammaRelativeToSGD)
      }
    }
    if blocks.isEmpty { return nil }
    var rows: [[String]] = []
    for block in blocks {
      for label in labels {
        let known = (ratios[Key(layer: block.layer, label: label)] ?? []).compactMap { $0 }
        let isFirst = label == labels[0]
        rows.append([
          isFirst ? block.layer : "", isFirst ? grouped(block.parameters) : "",
          isFirst ? block.status.rawValue : "", label,
          known.isEmpty ? "" : shortened(Summary(known).mean),
        ])
      }
    }
    func text(_ count: Int) -> String {
      var table = TextTable([
        ("block", .left), ("parameters", .right), ("status", .left), ("method", .left),
        ("gamma/gamma_SGD", .right),
      ])
      for row in rows.prefix(count) { table.append(row) }
      let rest =
        "... and \(grouped(rows.count - count)) of \(grouped(rows.count)) rows more: "
        + "\(names(.verbose)), or layers.csv in the folder of \(names(.output))"
      return wrapped(
        "Each direction restricted to one block, against the gradient restricted to it:",
        width: style.sentenceWidth) + "\n\n" + table.text(style)
        + (count < rows.count ? wrapped(rest, width: style.sentenceWidth) + "\n" : "")
    }
    var count = rows.count
    while count > 1 {
      let shown = text(count)
      let excess = shown.count { $0 == "\n" } - lines
      if excess <= 0 { return shown }
      count = max(min(count - 1, lines), 1)
      // Whole blocks, where one fits.
      if count > labels.count { count -= count % labels.count }
    }
    return text(count)
  }

  /// Which tensors methods with Kronecker products have none for; `nil` if it has them all, or was
  /// not asked for.
  var kroneckerRemark: String? {
    let methods = UpdateMethod.named.filter(\.needs.hasKroneckerProducts).map(\.name).filter {
      name in
      results.contains { $0.scores.contains { $0.method == name } }
    }
    let trained = description.parameters.filter { $0.kroneckerBlock != nil }
    let exact = trained.filter { $0.kroneckerBlock != "kronecker" }
    if methods.isEmpty || exact.isEmpty { return nil }
    let shown = exact.prefix(4).map { "\($0.name) (\($0.kroneckerBlock!))" }
    let more = exact.count > 4 ? " and \(exact.count - 4) more, see run.json" : ""
    return wrapped(
      "\(methods.joined(separator: ", ")): Kronecker products for \(trained.count - exact.count) of "
        + "\(trained.count) tensors; exact blocks for \(shown.joined(separator: ", "))\(more).")
  }
}

extension LayerScore {
  /// The method with what tells its rows apart.
  fileprivate var label: String {
    methodLabel + (role == .reference ? " (reference)" : damping.map { " at \($0)" } ?? "")
  }
}
