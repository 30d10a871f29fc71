import ApproxEval
import ArgumentParser
import Checkpoints

/// What is in a checkpoint.
struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Shows what a checkpoint holds.",
    discussion: """
      Model, loss, layers, every parameter with shape, element type and whether it is trainable, \
      the batch and the directions that the file carries, and an estimate of what one product with \
      the Fisher matrix of a batch takes. Reads no numbers, unless --against asks for logits.

      Example: eval-cli inspect checkpoint.bin --json
      """)

  @Argument(help: "The checkpoint.", completion: .file())
  var checkpoint: String

  @OptionGroup(title: "Data") var data: DataOptions

  @OptionGroup(title: "Data") var adapter: AdapterOption

  @OptionGroup(title: "Updates") var updateFiles: UpdateFileOptions

  @Option(
    parsing: .unconditional,
    help: .init(
      "Samples per batch, for the estimate. (default: as in score)", valueName: "n"))
  var batchSize: Int?

  @Option(
    help: .init(
      "Compare logits with those that the network itself has given for the first samples.",
      valueName: "file"), completion: .file())
  var against: String?

  @OptionGroup(title: "Computation") var engine: EngineOptions

  @OptionGroup(title: "Computation") var memory: MemoryOptions

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    var options = EvaluationOptions()
    data.apply(to: &options)
    try adapter.apply(to: &options)
    try updateFiles.apply(to: &options)
    if let batchSize {
      options.batchSize = try OptionValues.positive(batchSize, "--batch-size")
    }
    try engine.apply(to: &options)
    try memory.apply(to: &options)
    let input = try Evaluation(options).inputs(
      checkpoints: [checkpoint], adapters: [options.adapter].compactMap { $0 },
      files: updateFiles.series)[0]
    var inspection = try Inspection(checkpoint: checkpoint, options: options.of(input))
    if let against {
      inspection.logits = try Evaluation(options.of(input)).compareLogits(
        checkpoint: checkpoint, against: against)
    }
    if json {
      try Console.write(document: inspection.json.document)
    } else {
      try Console.print(Self.text(inspection, Console.outputStyle))
    }
  }

  private static func text(_ it: Inspection, _ style: TextStyle) -> String {
    [
      printable(it.description.path) + "\n"
        + wrapped(parts: heading(it), width: style.sentenceWidth) + "\n" + batch(it, style),
      layers(it, style), parameters(it, style), updates(it, style), notes(it, style),
      logits(it, style), resources(it, style),
    ].compactMap { $0 }.joined(separator: "\n")
  }

  private static func heading(_ it: Inspection) -> [String] {
    let about = it.description
    var parts = [
      about.model, (["loss \(about.loss)"] + about.lossSettings).joined(separator: ", "),
      about.positions > 1
        ? "\(grouped(about.positions)) positions of \(grouped(about.classes)) logits"
        : "\(grouped(about.classes)) logits",
      "\(grouped(about.trainableParameters)) of \(grouped(about.allParameters)) parameters "
        + "trainable",
    ]
    if let epoch = about.epoch { parts.append("epoch \(epoch)") }
    if let step = about.step { parts.append("step \(step)") }
    return parts + ["\(grouped(it.fileSize)) bytes"]
  }

  private static func batch(_ it: Inspection, _ style: TextStyle) -> String {
    guard let samples = it.samples else { return "no batch: score needs --data\n" }
    if it.batch.isEmpty { return "batches from \(grouped(samples)) samples of --data\n" }
    let tensors = it.batch.map { "\($0.name) \($0.dtype) \($0.shape)" }
    return wrapped(
      parts: ["batch of \(grouped(samples)) samples: " + tensors[0]]
        + tensors.dropFirst(), width: style.sentenceWidth) + "\n"
  }

  private static func layers(_ it: Inspection, _ style: TextStyle) -> String {
    var table = TextTable([
      ("layer", .left), ("operation", .left), ("output", .left), ("parameters", .left),
    ])
    for layer in it.layers {
      table.append([
        layer.name, layer.operation, "\(layer.shape)",
        layer.parameters.map { own($0, of: layer) }.joined(separator: ", "),
      ])
    }
    return table.text(style)
  }

  /// Without what the name of the layer says already.
  private static func own(_ parameter: String, of layer: Inspection.Layer) -> String {
    if parameter == layer.name {
      return parameter.split(separator: ".").last.map(String.init) ?? parameter
    }
    return parameter.hasPrefix(layer.name + ".")
      ? String(parameter.dropFirst(layer.name.count + 1)) : parameter
  }

  private static func parameters(_ it: Inspection, _ style: TextStyle) -> String {
    var table = TextTable([
      ("parameter", .left), ("shape", .left), ("type", .left), ("count", .right),
      ("trainable", .left),
    ])
    for parameter in it.parameters {
      let tensor = parameter.tensor
      table.append([
        tensor.name, "\(tensor.shape)", tensor.dtype, grouped(tensor.count),
        parameter.isBuffer ? "no (statistics)" : parameter.isTrainable ? "yes" : "no",
      ])
    }
    return table.text(style)
  }

  private static func updates(_ it: Inspection, _ style: TextStyle) -> String? {
    if it.updates.isEmpty { return nil }
    return wrapped(
      "updates: " + it.updates.map { "\($0.name) (\($0.tensors) tensors)" }.joined(separator: ", "),
      width: style.sentenceWidth) + "\n"
  }

  private static func notes(_ it: Inspection, _ style: TextStyle) -> String? {
    let notes = it.description.allNotes
    return notes.isEmpty
      ? nil
      : notes.map {
        wrapped($0.spelled(by: .options), width: style.sentenceWidth) + "\n"
      }.joined()
  }

  private static func logits(_ it: Inspection, _ style: TextStyle) -> String? {
    guard let logits = it.logits else { return nil }
    return wrapped(
      "logits of \(grouped(logits.samples)) sample\(logits.samples == 1 ? "" : "s"): largest "
        + "difference \(shortened(logits.relativeDifference, digits: 2)) of the largest logit, "
        + "\(shortened(logits.largestLogit, digits: 3)), in sample \(logits.worstSample)",
      width: style.sentenceWidth) + "\n"
  }

  private static func resources(_ it: Inspection, _ style: TextStyle) -> String? {
    guard let needs = it.resources else { return nil }
    var heading = [
      "estimate for a batch of \(grouped(needs.samples)): forward pass "
        + operations(Double(needs.forwardOperations)) + " a sample",
      "Fisher-vector product \(operations(needs.productOperations))",
      "\(bytes(needs.memoryWithoutReference.expected, digits: 3)) of memory for sgd, ef, ief and sf, "
        + "at most \(bytes(needs.memory.total, digits: 3)) with the reference",
    ]
    if needs.recomputedSamples > 0 {
      heading.append(
        "forward values of \(grouped(needs.recomputedSamples)) samples computed again each time")
    }
    return wrapped(parts: heading, width: style.sentenceWidth) + "\n"
      + wrapped(
        parts: needs.memoryWithoutReference.expectedBuffers.map {
          "\($0.name) \(bytes($0.bytes, digits: 3))"
        }, width: style.sentenceWidth)
      + "\n\n"
      + PhaseText.prediction(needs.phases)
  }
}
