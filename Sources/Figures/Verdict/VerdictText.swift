/// Everything that is said of one run, in the order in which it is read.
struct VerdictText {
  /// Of the run where there are several.
  let title: String?
  let headline: String
  let views: [VerdictTables.View]
  let legend: String
  let methods: [(name: String, sentence: String)]
  let confidence: [String]
  let evidence: DataTable?

  init(_ verdict: Verdict, scores: [ScoreRow], batches: [BatchRow]) {
    let tables = VerdictTables(verdict)
    title = verdict.run
    headline = Headline(verdict).text
    views = tables.views
    legend = tables.legend
    methods = verdict.methods.enumerated().filter { !$1.isReference }.map { index, method in
      (method.name, MethodSentence(verdict, index).text)
    }
    confidence = Confidence(verdict, scores: scores, batches: batches).sentences
    evidence = tables.evidence
  }

  /// One for each run.
  static func all(_ results: Results) -> [VerdictText] {
    Verdict.all(results).map { verdict in
      VerdictText(
        verdict, scores: (results.scores ?? []).filter { $0.place.run == verdict.place },
        batches: (results.batches ?? []).filter { $0.place.run == verdict.place })
    }
  }
}
