import Models
import Training
import Updates

/// How a set-up was trained: the settings of each optimiser, in terms of the mean loss.
///
/// ```swift
/// let recipe = TrainingRecipe.t5LoRA
/// var options = TrainingOptions(recipe.settings(for: .ief)!, dataFile: "sst2.safetensors")
/// options.recipe = recipe
/// ```
public struct TrainingRecipe: Sendable {
  /// In options and records.
  public let name: String
  /// What it is for.
  public let model: ModelKind
  /// One for each optimiser; first that which is taken where none is asked for.
  public let settings: [OptimizerSettings]
  /// Samples per step.
  public let batchSize: Int

  init(_ name: String, _ model: ModelKind, batchSize: Int, _ settings: [OptimizerSettings]) {
    self.name = name
    self.model = model
    self.batchSize = batchSize
    self.settings = settings
  }

  /// - Returns: `nil` for a name that there is not.
  public static func named(_ name: String) -> TrainingRecipe? { all.first { $0.name == name } }

  /// - Returns: `nil` for an optimiser that the set-up was not trained with.
  public func settings(for kind: OptimizerKind) -> OptimizerSettings? {
    settings.first { $0.kind == kind }
  }
}

/// What a model is, with the kind of its adapter.
public struct ModelKind: Sendable, Equatable, CustomStringConvertible {
  /// As reports have it: `t5`
  let type: String
  let adapter: AdapterKind?

  init(type: String, adapter: AdapterKind?) {
    self.type = type
    self.adapter = adapter
  }

  /// - Returns: `nil` for a network by torch.export.
  init?(_ model: Model) {
    if model.type == Model.exported { return nil }
    self.init(type: model.type, adapter: model.adapterKind)
  }

  /// `t5 with LoRA`
  public var description: String {
    switch adapter {
    case nil: type + " without an adapter"
    case .lowRank: type + " with LoRA"
    case .promptTuning: type + " with prompt tuning"
    }
  }
}
