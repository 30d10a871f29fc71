import Checkpoints

/// The verdict in two sentences: which method is best at each stage, and where methods fail.
struct Headline {
  private let verdict: Verdict
  private let names: StageNames

  init(_ verdict: Verdict) {
    self.verdict = verdict
    names = StageNames(verdict.stages)
  }

  var text: String { [best, doubt, failures].filter { !$0.isEmpty }.joined(separator: " ") }

  private static let longestList = 4

  /// What has the least mean at a stage; `nil` where nothing was compared.
  static func name(_ winner: Verdict.Winner?, in verdict: Verdict) -> String? {
    guard let winner else { return nil }
    return winner.methods.isEmpty
      ? "sgd" : listed(winner.methods.map { verdict.methods[$0].name })
  }

  private var best: String {
    var order: [String] = []
    var stages: [String: [Int]] = [:]
    for (stage, winner) in verdict.winners.enumerated() {
      guard let name = Self.name(winner, in: verdict) else { continue }
      if stages[name] == nil { order.append(name) }
      stages[name, default: []].append(stage)
    }
    if order.isEmpty { return "No method beside the reference has a number to be judged by." }
    if order.count == 1, let all = stages[order[0]], let winner = verdict.winners[all[0]] {
      let place = all.count > 1 || names.count > 1 ? " at \(names.list(all))" : ""
      let number = all.count == 1 ? ", \(measured(winner.mean))" : ""
      return "Best: \(order[0])\(place)\(number)."
    }
    // In the order of training, if all of them have room.
    let ranked =
      order.count <= Self.longestList
      ? order : order.sorted { stages[$0]!.count > stages[$1]!.count }
    let parts = ranked.prefix(Self.longestList).map { "\($0) at \(names.list(stages[$0]!))" }
    let rest = ranked.count - parts.count
    return "Best: " + parts.joined(separator: "; ")
      + (rest > 0 ? "; \(rest) other\(rest == 1 ? "" : "s") elsewhere" : "") + "."
  }

  private func measured(_ value: Double) -> String {
    verdict.measure == .ratio ? "\(ratioText(value)) of sgd's γ" : "γ \(ratioText(value))"
  }

  /// Where chance may have chosen the best.
  private var doubt: String {
    let compared = verdict.winners.indices.filter { verdict.winners[$0]?.rival != nil }
    if compared.isEmpty { return "" }
    if !compared.contains(where: { verdict.winners[$0]!.rival!.comparison.canBeSure }) {
      return "There are too few batches to be sure which is best."
    }
    let unsure = compared.filter { !verdict.winners[$0]!.isSure }
    if unsure.isEmpty { return "" }
    if verdict.stages.count == 1 { return "That is not sure." }
    if unsure.count == compared.count { return "At no stage is that sure." }
    return "That is not sure at \(names.list(unsure))."
  }

  private var failures: String {
    if verdict.measure == .gamma {
      return "Without sgd there is nothing that methods could fail against."
    }
    let judged = verdict.methods.indices.filter { method in
      !verdict.methods[method].isReference
        && verdict.best.contains { Verdict.standing($0[method]) != nil }
    }
    if judged.isEmpty { return "" }
    let failing = judged.filter { method in
      (verdict.best + verdict.leastDamped).contains { Verdict.standing($0[method]) == .behind }
    }
    if failing.isEmpty {
      let hasGaps = (verdict.best + verdict.leastDamped).contains { row in
        judged.contains { row[$0]?.mean.isNaN ?? false }
      }
      return
        (judged.count == 1
        ? "Its mean is never worse than sgd's"
        : "No method's mean is worse than sgd's at any stage")
        + (hasGaps ? ", where it has one: in some batches there is no γ." : ".")
    }
    let told = failing.prefix(Self.longestList).map(failure)
    let rest = failing.dropFirst(told.count).map { verdict.methods[$0].name }
    return "Worse than sgd: " + told.joined(separator: "; ")
      + (rest.isEmpty ? "" : "; at some stage also " + Self.few(rest)) + "."
  }

  private static func few(_ names: [String]) -> String {
    names.count <= 8 ? listed(names) : "\(names.count) other methods"
  }

  /// `ef at epochs 20 and 40, with its smallest damping at epochs 3 to 40`
  private func failure(_ method: Int) -> String {
    func behind(_ cells: [[Verdict.Cell?]]) -> [Int] {
      cells.indices.filter { Verdict.standing(cells[$0][method]) == .behind }
    }
    let (best, least) = (behind(verdict.best), behind(verdict.leastDamped))
    let name = verdict.methods[method].name
    let smallest = "with its smallest damping"
    // Where there is one stage it need not be named.
    func place(_ stages: [Int]) -> String { names.count == 1 ? "" : " at \(names.list(stages))" }
    let told = name + place(best) + verdict.doubt(method, best, in: verdict.best)
    if best == least { return told }
    let doubt = verdict.doubt(method, least, in: verdict.leastDamped)
    if best.isEmpty { return "\(name) \(smallest)" + place(least) + doubt }
    return told + (least.isEmpty ? "" : ", \(smallest)" + place(least) + doubt)
  }
}

extension Verdict {
  /// Behind the stages at which the mean is worse than sgd: those of them where batches do not say so, though
  /// they are enough.
  func doubt(_ method: Int, _ stages: [Int], in table: [[Cell?]]) -> String {
    let unsure = stages.filter { stage in
      guard let cell = table[stage][method], cell.comparison?.canBeSure ?? false else {
        return false
      }
      return !Self.isSure(cell)
    }
    if unsure.isEmpty { return "" }
    return unsure.count == stages.count
      ? " (not sure)" : " (not sure at \(StageNames(self.stages).list(unsure)))"
  }
}
