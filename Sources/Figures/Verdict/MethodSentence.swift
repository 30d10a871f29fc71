/// What the numbers of one method say, in sentences.
struct MethodSentence {
  private let verdict: Verdict
  private let method: Int
  private let names: StageNames
  private let cells: [Verdict.Cell?]
  private let standings: [Verdict.Standing?]

  init(_ verdict: Verdict, _ method: Int) {
    self.verdict = verdict
    self.method = method
    names = StageNames(verdict.stages)
    cells = verdict.best.map { $0[method] }
    standings = cells.map(Verdict.standing)
  }

  var text: String {
    if verdict.measure == .gamma { return gammas }
    return ([course, certainty, damping, leastDamped, gaps].filter { !$0.isEmpty })
      .joined(separator: " ")
  }

  private func stages(_ standing: Verdict.Standing) -> [Int] {
    standings.indices.filter { standings[$0] == standing }
  }

  private var present: [Int] { standings.indices.filter { standings[$0] != nil } }

  /// `ahead of sgd up to epoch 10, behind from epoch 20 on: γ / γ(sgd) 0.463 to 1.294.`
  private var course: String {
    if present.isEmpty { return "has no ratio to sgd." }
    return course(verdict.best) + ": γ / γ(sgd) " + range + "."
  }

  /// Where the mean is below or above that of plain gradient descent.
  private func course(_ table: [[Verdict.Cell?]]) -> String {
    let cells = table.map { $0[method] }
    let standings = cells.map(Verdict.standing)
    let present = standings.indices.filter { standings[$0] != nil }
    let behind = present.filter { standings[$0] == .behind }
    let ahead = present.filter { standings[$0] == .ahead }
    func places(_ stages: [Int]) -> String {
      stages.count == present.count && present.count < names.count
        ? "wherever it was scored" : "at " + names.list(stages)
    }
    if behind.isEmpty && ahead.isEmpty { return "level with sgd " + places(present) }
    if behind.isEmpty {
      return "ahead of sgd " + places(ahead)
        + (ahead.count < present.count ? ", level elsewhere" : "")
    }
    if ahead.isEmpty {
      return "behind sgd " + places(behind)
        + (behind.count < present.count ? ", level elsewhere" : "")
    }
    let isWhole = ahead.count + behind.count == present.count
    if isWhole, let last = ahead.last, let first = behind.first, last < first {
      // Of one batch a mean is all there is.
      let doubt = Verdict.isSure(cells[first]!) ? "" : " in the mean"
      return "falls behind sgd\(doubt) at \(names[first])"
        + (behind.count == 1 ? ", the last stage" : " and stays behind")
    }
    if isWhole, let last = behind.last, let first = ahead.first, last < first {
      return "behind sgd at \(names.list(behind)), ahead from \(names[first]) on"
    }
    return "ahead of sgd at \(names.list(ahead)), behind at \(names.list(behind))"
  }

  private var range: String {
    let known = present.sorted { cells[$0]!.mean < cells[$1]!.mean }
    guard let low = known.first, let high = known.last else { return "none" }
    func one(_ stage: Int) -> String {
      ratioText(cells[stage]!.mean) + (names.count > 1 ? " (\(names[stage]))" : "")
    }
    return cells[low]!.mean == cells[high]!.mean
      ? ratioText(cells[low]!.mean) : "\(one(low)) to \(one(high))"
  }

  /// By how much the batches agree.
  private var certainty: String {
    let compared = present.filter { cells[$0]!.comparison != nil && standings[$0] != .level }
    if compared.isEmpty { return "" }
    let sure = compared.filter { Verdict.isSure(cells[$0]!) }
    let unsure = compared.filter { !sure.contains($0) }
    var parts: [String] = []
    if !sure.isEmpty {
      let agreeing = sure.map { stage in
        let one = cells[stage]!.comparison!
        return (part: Double(max(one.wins, one.losses)) / Double(one.pairs), one: one)
      }
      let worst = agreeing.min { $0.part < $1.part }!.one
      let p = sure.compactMap { cells[$0]!.comparison?.p }.max()
      let (count, all) = (max(worst.wins, worst.losses), worst.pairs)
      let sizes = Set(agreeing.map(\.one.pairs)).sorted()
      parts.append(
        "Sure" + (compared.count > 1 ? " at \(names.list(sure))" : "") + ": in "
          + (count == all
            ? "all \(sizes.count > 1 ? "\(sizes[0]) to \(sizes.last!)" : "\(all)") "
            : (sure.count > 1 ? "at least " : "") + "\(count) of \(all) ")
          + (worst.isOverDraws ? "draws of labels" : "batches")
          + " (\(PairedComparison.text(p: p))).")
    }
    if !unsure.isEmpty { parts.append(doubts(unsure)) }
    return parts.joined(separator: " ")
  }

  /// What the batches say at stages where that is not enough; what is the same is said once.
  private func doubts(_ stages: [Int]) -> String {
    var order: [String] = []
    var places: [String: [Int]] = [:]
    for stage in stages {
      let evidence = cells[stage]!.comparison!.evidence
      if places[evidence] == nil { order.append(evidence) }
      places[evidence, default: []].append(stage)
    }
    if order.count > 3 {
      let canBeSure = stages.contains { cells[$0]!.comparison!.canBeSure }
      return "Not sure at \(names.list(stages))" + (canBeSure ? "." : ": too few batches.")
    }
    return "Not sure: "
      + order.map { evidence in
        (names.count > 1 ? "at \(names.list(places[evidence]!)), " : "") + "ahead in " + evidence
      }.joined(separator: "; ") + "."
  }

  private var damping: String {
    let factors = present.compactMap { stage in cells[stage]!.dampingFactor.map { (stage, $0) } }
    guard let most = factors.max(by: { $0.1 < $1.1 }) else { return "" }
    let place = factors.count > 1 ? " (at \(names[most.0]))" : ""
    if most.1 < 1.0005 { return "Its damping does not move it." }
    return most.1 < 1.1
      ? "Its damping hardly moves it: by \(shown(100 * (most.1 - 1), digits: 2)) % at the most\(place)."
      : "Its damping moves it by a factor of up to \(factorText(most.1))\(place)."
  }

  /// What it does without the help of damping, where that is something else.
  private var leastDamped: String {
    if verdict.methods[method].dampings < 2 { return "" }
    let least = verdict.leastDamped.map { Verdict.standing($0[method]) }
    if least == standings || least.allSatisfy({ $0 == nil }) { return "" }
    let behind = least.indices.filter { least[$0] == .behind }
    return "With its smallest damping: " + course(verdict.leastDamped)
      + verdict.doubt(method, behind, in: verdict.leastDamped) + "."
  }

  private var gaps: String {
    var parts: [String] = []
    let absent = cells.indices.filter { cells[$0] == nil }
    if !absent.isEmpty { parts.append("Not scored at \(names.list(absent)).") }
    let missing = cells.indices.filter { (cells[$0]?.missing ?? 0) > 0 }
    if !missing.isEmpty {
      let count = missing.reduce(0) { $0 + cells[$1]!.missing }
      let all = missing.reduce(0) { $0 + cells[$1]!.batches }
      parts.append(
        "No number in \(count) of \(all) batches at \(names.list(missing)), and so no mean there.")
    }
    return parts.joined(separator: " ")
  }

  private var gammas: String {
    let present = cells.indices.filter { !(cells[$0]?.mean.isNaN ?? true) }
    guard let low = present.min(by: { cells[$0]!.mean < cells[$1]!.mean }),
      let high = present.max(by: { cells[$0]!.mean < cells[$1]!.mean })
    else { return ["has no γ.", gaps].filter { !$0.isEmpty }.joined(separator: " ") }
    let text =
      low == high
      ? "γ \(ratioText(cells[low]!.mean))."
      : "γ \(ratioText(cells[low]!.mean)) (\(names[low])) to \(ratioText(cells[high]!.mean)) (\(names[high]))."
    return [text, damping, gaps].filter { !$0.isEmpty }.joined(separator: " ")
  }
}
