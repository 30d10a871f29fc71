import ApproxEval

extension Train {
  /// What the recipe sets, and what has been given in its place; `nil` without one.
  ///
  /// - Throws: `UsageError` for a model of another kind.
  func recipeText(_ run: TrainingRun) throws(UsageError) -> String? {
    guard let recipe = run.options.recipe else { return nil }
    let hasAll = schedule.batchSize == nil && run.batchSize < recipe.batchSize
    let size = "\(run.batchSize)" + (hasAll ? " (all samples)" : "")
    let options = run.options.optimizer.options + [SettingOption("--batch-size", size)]
    if let kind = run.modelKind, kind != recipe.model { throw mismatch(recipe, kind, run) }
    let given = optimizer.given.union(schedule.batchSize == nil ? [] : ["--batch-size"])
    let own = options.filter { given.contains($0.name) }.map(\.text)
    let others = options.filter { !given.contains($0.name) }.map(\.text)
    var lines = [
      Self.list("recipe \(recipe.name) for \(recipe.model):", others),
      Self.list("given beside it:", own),
    ].compactMap(\.self)
    if run.modelKind == nil {
      lines.append(
        wrapped("note: a network by torch.export does not tell whether it is \(recipe.model)"))
    }
    return lines.joined(separator: "\n")
  }

  private func mismatch(
    _ recipe: TrainingRecipe, _ kind: ModelKind, _ run: TrainingRun
  ) -> UsageError {
    let own = TrainingRecipe.all.filter { $0.model == kind }.map(\.name)
    let values = run.options.optimizer.options.map(\.text).joined(separator: " ")
    return UsageError(
      "recipe \(recipe.name) is for \(recipe.model), and this is \(kind)", at: "--recipe",
      (own.isEmpty ? "" : "For this model there is \(own.joined(separator: ", ")). ")
        + "The same settings without a recipe: \(values)")
  }

  /// `nil` for no options.
  private static func list(_ heading: String, _ options: [String]) -> String? {
    guard let first = options.first else { return nil }
    return wrapped(parts: ["\(heading) \(first)"] + options.dropFirst())
  }
}
