import Metrics

/// Scores by method and damping.
struct ScoreGroups {
  /// In the order of the table.
  let variants: [Variant]
  private let styles: MethodStyles
  /// The dampings of a variant by their mean lambda, the smallest first; `[nil]` without damping.
  private let dampings: [Variant: [String?]]
  private let groups: [Key: [ScoreRow]]
  private let combinations: [String: [Combination]]
  /// Without the run.
  private let names: [Variant: String]
  private let runs: RunNames
  /// Those that are left out.
  private let omitted: Int

  /// A variant at one of its dampings.
  struct Combination {
    var variant: Variant
    var damping: String?
  }

  private struct Key: Hashable {
    var checkpoint: String
    var variant: Variant
    var damping: String?
  }

  /// Labels are cut to so many characters, and only so many variants are shown: a picture has little
  /// room.
  ///
  /// - Parameter styles: Those of all results where the rows are some of them.
  init(
    _ rows: [ScoreRow], styles: MethodStyles? = nil, labelLimit: Int = 32, variantLimit: Int = 64
  ) {
    let variantNames = VariantNames(rows.map { ($0.place, $0.direction) })
    runs = variantNames.runs
    var variants: [Variant] = []
    var groups: [Key: [ScoreRow]] = [:]
    var lambdas: [Variant: [String?: [Double]]] = [:]
    for row in rows {
      let direction = row.direction
      let variant = variantNames.variant(row.place, direction)
      if lambdas[variant] == nil { variants.append(variant) }
      lambdas[variant, default: [:]][direction.damping, default: []].append(row.lambda)
      let key = Key(
        checkpoint: row.place.checkpoint, variant: variant, damping: direction.damping)
      groups[key, default: []].append(row)
    }
    self.styles = styles ?? MethodStyles(variants)
    omitted = max(variants.count - variantLimit, 0)
    variants.removeLast(omitted)
    self.variants = variants
    self.groups = groups
    let dampings = lambdas.mapValues { byDamping in
      byDamping.map { (text: $0, size: Self.size($0, lambdas: $1)) }
        .sorted { ($0.size, $0.text ?? "") < ($1.size, $1.text ?? "") }.map(\.text)
    }
    self.dampings = dampings
    var combinations: [String: [Combination]] = [:]
    var checkpoints: [Variant: [String?: [String]]] = [:]
    for key in groups.keys {
      checkpoints[key.variant, default: [:]][key.damping, default: []].append(key.checkpoint)
    }
    // In the order of variants, then of dampings, for every checkpoint.
    for variant in variants {
      for damping in dampings[variant] ?? [] {
        for checkpoint in checkpoints[variant]?[damping] ?? [] {
          combinations[checkpoint, default: []].append(
            Combination(variant: variant, damping: damping))
        }
      }
    }
    self.combinations = combinations
    let others = Set(variants.filter { !$0.isReference }.map(\.method))
    names = Dictionary(
      uniqueKeysWithValues: variants.map { variant in
        var label = singleLine(variant.method, limit: labelLimit)
        if let draws = variant.draws { label += " K=\(draws)" }
        if variant.isReference && others.contains(variant.method) { label += " (exact)" }
        return (variant, label)
      })
  }

  /// What dampings are ordered by: lambda, or the number as given where the table has no lambda.
  private static func size(_ text: String?, lambdas: [Double]) -> Double {
    let mean = Summary(lambdas).mean
    return mean.isNaN ? text.flatMap(DampingText.init)?.value ?? .infinity : mean
  }

  /// What a figure says about variants that it leaves out.
  var note: [String] {
    omitted == 0
      ? [] : ["The first \(variants.count) of \(variants.count + omitted) methods are shown."]
  }

  /// Without the run, for what is of one run alone.
  func name(_ variant: Variant) -> String { names[variant] ?? variant.method }

  func label(_ variant: Variant) -> String {
    name(variant) + (variant.run.flatMap(runs.label).map { ", " + $0 } ?? "")
  }

  func style(_ variant: Variant) -> CurveStyle { styles[variant] }

  /// What has rows at a checkpoint: by variant, then by damping, the smallest first.
  func combinations(_ checkpoint: String) -> [Combination] { combinations[checkpoint] ?? [] }

  func dampings(_ variant: Variant) -> [String?] { dampings[variant] ?? [] }

  func rows(_ checkpoint: String, _ variant: Variant, _ damping: String?) -> [ScoreRow] {
    groups[Key(checkpoint: checkpoint, variant: variant, damping: damping)] ?? []
  }

  /// Those of the method's smallest damping at this checkpoint: the experiments of the paper over a
  /// training run have dampings near zero.
  func leastDamped(_ checkpoint: String, _ variant: Variant) -> [ScoreRow] {
    guard let least = combinations(checkpoint).first(where: { $0.variant == variant }) else {
      return []
    }
    return rows(checkpoint, variant, least.damping)
  }

  /// All but the one that ratios are relative to.
  var compared: [Variant] { variants.filter { $0.role != .baseline } }

  func variants(of method: String) -> [Variant] {
    variants.filter { $0.method == method && !$0.isReference }
  }
}
