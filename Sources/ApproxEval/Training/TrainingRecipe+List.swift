import Training
import Updates

extension TrainingRecipe {
  /// Every recipe. A new one is a value and its name here.
  public static let all = [t5PromptTuning, t5LoRA, vitLoRA]

  /// T5-base on GLUE.
  public static let t5PromptTuning = TrainingRecipe(
    "t5-prompt-tuning", ModelKind(type: "t5", adapter: .promptTuning),
    naturalRate: 50, boundedRate: 1, damping: "1e-12", gradientRate: 100,
    baseline: OptimizerSettings(.transformersAdafactor, learningRate: 0.3, weightDecay: 1e-5))

  /// T5-base on GLUE.
  public static let t5LoRA = lowRank("t5-lora", "t5")

  /// ViT-B/16 on CIFAR-100: "the same hyperparameters for LoRA + T5".
  public static let vitLoRA = lowRank("vit-lora", "vit")

  private static func lowRank(_ name: String, _ modelType: String) -> TrainingRecipe {
    TrainingRecipe(
      name, ModelKind(type: modelType, adapter: .lowRank),
      naturalRate: 100, boundedRate: 0.01, damping: "1e-7", gradientRate: 0.1,
      baseline: OptimizerSettings(.adamw, learningRate: 1e-3, weightDecay: 1e-2))
  }

  /// Wu et al. 2024, H.2: constant rates for iEF and the baselines, steps whose length decays linearly
  /// for EF and SF.
  ///
  /// - Parameters:
  ///   - naturalRate: Of iEF.
  ///   - boundedRate: Length of the first step of EF and SF.
  ///   - damping: Of all three.
  ///   - gradientRate: Of SGD.
  private init(
    _ name: String, _ model: ModelKind, naturalRate: Double, boundedRate: Double, damping: String,
    gradientRate: Double, baseline: OptimizerSettings
  ) {
    func natural(_ kind: OptimizerKind, _ rate: Double) -> OptimizerSettings {
      var settings = OptimizerSettings(kind, learningRate: rate)
      settings.reduction = .mean
      settings.damping = Damping(damping)!
      return settings
    }
    self.init(
      name, model, batchSize: 32,
      [
        natural(.ief, naturalRate), natural(.ef, boundedRate), natural(.sf, boundedRate),
        OptimizerSettings(.sgd, learningRate: gradientRate), baseline,
      ])
  }
}

extension OptimizerSettings {
  fileprivate init(_ kind: OptimizerKind, learningRate: Double, weightDecay: Double? = nil) {
    self.init(kind)
    self.learningRate = learningRate
    self.weightDecay = weightDecay ?? self.weightDecay
  }
}
