import ApproxEval
import ArgumentParser
import Checkpoints
import Training
import Updates

extension OptimizerKind: ExpressibleByArgument {}
extension LearningRateSchedule: ExpressibleByArgument {}
extension LossReduction: ExpressibleByArgument {}

/// The optimiser and what belongs to it. An option that an optimiser does not have is wrong usage,
/// not ignored.
struct OptimizerOptions: ParsableArguments {
  @Option(
    help: .init(
      """
      Settings of the paper's experiments, in place of the defaults below, for ief, ef, sf, sgd and the \
      baseline: t5-prompt-tuning (baseline transformers-adafactor), t5-lora or vit-lora (adamw). Options \
      beside it win; what it sets is shown.
      """, valueName: "name"), completion: .list(TrainingRecipe.all.map(\.name)))
  var recipe: String?

  @Option(
    help: .init(
      """
      sgd, adam, adamw, adafactor (as in torch.optim), transformers-adafactor, or exact ef, ief, sf \
      (Algorithms 2, 1, 3 of the paper). (default: adam; ief with a recipe)
      """, valueName: "name"))
  var optimizer: OptimizerKind?

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      Learning rate. Baselines see the mean gradient; ef, ief and sf as --reduction says. (default: \
      1e-3; 1e-2 for adafactor, 1 for ef, ief and sf)
      """, valueName: "x"))
  var learningRate: Double?

  @Option(
    help: .init(
      """
      How the learning rate goes: constant, or linear to zero. (default: linear for ef and sf, \
      constant for the others)
      """, valueName: "name"))
  var schedule: LearningRateSchedule?

  @Flag(
    inversion: .prefixedNo,
    help: .init(
      "Divide each direction by its norm: sgd, ef, ief, sf. (default: for ef and sf)"))
  var normalize: Bool?

  @Option(
    help: .init(
      """
      Whether ef, ief and sf are formed from the sum of the losses of a mini-batch, as the paper's \
      equations are, or from their mean, in terms of which its experiments count learning rates and \
      dampings. (default: sum)
      """, valueName: "name"))
  var reduction: LossReduction?

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      Damping of ef, ief, sf: lambda itself, or rel:x for x times the largest squared per-sample \
      gradient norm. (default: rel:1e-7)
      """, valueName: "lambda"))
  var damping: String?

  @Option(
    parsing: .unconditional,
    help: .init("Labels that sf draws per sample. (default: 1)", valueName: "k"))
  var mcSamples: Int?

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      ef, ief, sf: leave out, of two samples whose gradients have a larger cosine than this, the \
      one with the smaller gradient. (default: off)
      """, valueName: "x"))
  var dropDuplicates: Double?

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      Weight decay, decoupled for adamw and both kinds of Adafactor. (default: 0; 1e-2 for adamw)
      """, valueName: "x"))
  var weightDecay: Double?

  @Option(
    parsing: .unconditional, help: .init("Momentum of sgd. (default: 0)", valueName: "x"))
  var momentum: Double?

  @Flag(help: "Nesterov's momentum for sgd.")
  var nesterov = false

  @Option(
    parsing: .unconditional,
    help: .init("Decay of the moments of adam and adamw. (default: 0.9,0.999)", valueName: "a,b"))
  var betas: String?

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      Epsilon of adam and adamw, and what transformers-adafactor adds to every square. (default: 1e-8; \
      1e-30)
      """, valueName: "x"))
  var epsilon: Double?

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      transformers-adafactor: its means of squares forget as beta2 = 1 - t^x in step t. (default: -0.8)
      """, valueName: "x"))
  var decayRate: Double?

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      transformers-adafactor: largest root mean square of a parameter's step, over the learning rate. \
      (default: 1)
      """, valueName: "x"))
  var clipThreshold: Double?

  /// The recipe of this name.
  func chosenRecipe() throws(UsageError) -> TrainingRecipe? {
    guard let recipe else { return nil }
    if let found = TrainingRecipe.named(recipe) { return found }
    throw UsageError(
      "unknown recipe \"\(recipe)\"", at: "--recipe",
      OptionValues.advice(on: recipe, known: TrainingRecipe.all.map(\.name)))
  }

  func settings(_ recipe: TrainingRecipe?) throws(UsageError) -> OptimizerSettings {
    var settings = try start(recipe)
    try refuseForeignOptions(settings.kind)
    if let learningRate {
      settings.learningRate = try OptionValues.notNegative(learningRate, "--learning-rate")
    }
    settings.schedule = schedule ?? settings.schedule
    settings.isNormalized = normalize ?? settings.isNormalized
    if let weightDecay {
      settings.weightDecay = try OptionValues.notNegative(weightDecay, "--weight-decay")
    }
    if let momentum { settings.momentum = try share(momentum, "--momentum") }
    settings.isNesterov = nesterov
    if nesterov && settings.momentum == 0 {
      throw UsageError(
        "Nesterov's momentum without a momentum", at: "--nesterov", "Add --momentum.")
    }
    if let betas { settings.betas = try pair(betas) }
    if let epsilon { settings.epsilon = try OptionValues.notNegative(epsilon, "--epsilon") }
    try applyFactoredMoment(to: &settings)
    try applyNatural(to: &settings)
    return settings
  }

  /// The defaults of the recipe, or of the optimiser.
  private func start(_ recipe: TrainingRecipe?) throws(UsageError) -> OptimizerSettings {
    guard let recipe else { return OptimizerSettings(optimizer ?? .adam) }
    guard let optimizer else { return recipe.settings[0] }
    if let settings = recipe.settings(for: optimizer) { return settings }
    let known = recipe.settings.map(\.kind.rawValue).joined(separator: ", ")
    throw UsageError(
      "recipe \(recipe.name) has no settings for \(optimizer.rawValue)", at: "--optimizer",
      "It has settings for \(known).")
  }

  private func applyFactoredMoment(to settings: inout OptimizerSettings) throws(UsageError) {
    if let decayRate {
      guard decayRate <= 0 && decayRate.isFinite else {
        throw UsageError(
          "\(decayRate) is not a number that is at most 0", at: "--decay-rate",
          "It is the exponent of the number of the step, -0.8 where the second moment's beta is "
            + "called 0.8.")
      }
      settings.decayRate = decayRate
    }
    if let clipThreshold {
      guard clipThreshold > 0 && clipThreshold.isFinite else {
        throw UsageError("\(clipThreshold) is not a number above 0", at: "--clip-threshold")
      }
      settings.clipThreshold = clipThreshold
    }
  }

  private func applyNatural(to settings: inout OptimizerSettings) throws(UsageError) {
    if let damping {
      let all = try OptionValues.dampings(damping)
      if all.count != 1 {
        throw UsageError("\(all.count) dampings for one run", at: "--damping")
      }
      settings.damping = all[0]
    }
    settings.reduction = reduction ?? settings.reduction
    settings.monteCarloSamples = try OptionValues.draws(mcSamples ?? settings.monteCarloSamples)
    if let dropDuplicates { settings.dropDuplicates = try OptionValues.cosine(dropDuplicates) }
    let kind = settings.kind
    if kind.settings.contains(.draws) && !settings.isNormalized && settings.damping.value == 0 {
      throw UsageError(
        "without damping a step of \(kind.rawValue) has no length", at: "--damping",
        "Give a damping, or --normalize.")
    }
  }

  /// Options of this group on the command line.
  var given: Set<String> {
    let always = [
      ("--optimizer", optimizer != nil), ("--learning-rate", learningRate != nil),
      ("--schedule", schedule != nil),
    ]
    return Set((always + options.map { ($0.name, $0.isGiven) }).filter(\.1).map(\.0))
  }

  private var options: [(name: String, isGiven: Bool, setting: OptimizerKind.Setting)] {
    [
      ("--normalize", normalize != nil, .normalization),
      ("--reduction", reduction != nil, .reduction),
      ("--damping", damping != nil, .damping),
      ("--mc-samples", mcSamples != nil, .draws),
      ("--drop-duplicates", dropDuplicates != nil, .dropDuplicates),
      ("--weight-decay", weightDecay != nil, .weightDecay),
      ("--momentum", momentum != nil, .momentum),
      ("--nesterov", nesterov, .momentum),
      ("--betas", betas != nil, .moments),
      ("--epsilon", epsilon != nil, .epsilon),
      ("--decay-rate", decayRate != nil, .factoredMoment),
      ("--clip-threshold", clipThreshold != nil, .factoredMoment),
    ]
  }

  private func refuseForeignOptions(_ kind: OptimizerKind) throws(UsageError) {
    for option in options where option.isGiven && !kind.settings.contains(option.setting) {
      let owners = OptimizerKind.allCases.filter { $0.settings.contains(option.setting) }
      throw UsageError(
        "\(kind.rawValue) has no such setting", at: option.name,
        "It belongs to \(owners.map(\.rawValue).joined(separator: ", ")).")
    }
  }

  private func pair(_ text: String) throws(UsageError) -> (Double, Double) {
    let values = text.split(separator: ",", omittingEmptySubsequences: false).map {
      Double($0.filter { $0 != " " })
    }
    guard values.count == 2, let first = values[0], let second = values[1] else {
      throw UsageError("\"\(text)\" is no pair of numbers", at: "--betas", "Write 0.9,0.999.")
    }
    return (try share(first, "--betas"), try share(second, "--betas"))
  }

  private func share(_ value: Double, _ option: String) throws(UsageError) -> Double {
    if !(0..<1).contains(value) {
      throw UsageError("\(value) is not at least 0 and below 1", at: option)
    }
    return value
  }
}
