import Checkpoints
import GraphModule

/// What the builders of language models share: tokens with what an adapter puts in front of them,
/// embeddings, and the heads.
struct LanguageBuilder {
  var b: TransformerBuilder
  let family: ModelFamily
  let task: LanguageTask
  let data: TokenData
  let vocabulary: Int
  /// The token that fills sequences up.
  let padding: Int?
  /// Tokens of a sample that are read, with the virtual ones in front.
  let length: Int
  /// Tokens that samples of the data have, likewise.
  let given: Int
  let ids: ValueID
  let mask: ValueID?
  let types: ValueID?
  let positions: ValueID?
  /// Of a table of positions, the row of the first token.
  let firstPosition: Int
  private let prompt: PromptTuning?
  private var rule = SequenceRule()
  private var trained: TrainedTokens?

  var config: JSONValue { b.config }

  /// How tokens are numbered: one after the other, or by what the sample brings.
  enum Numbering: Sendable {
    /// From this row of the table on.
    case inOrder(from: Int)
    /// Tokens that are not padding (RoBERTa): from the padding's number on.
    case ofTokens
    /// Tokens that the mask shows (OPT); without a mask, all.
    case ofMask(offset: Int)
    /// There is no table.
    case none
  }

  /// - Parameters:
  ///   - limit: The setting that says how many tokens the model takes, if it does not take any number.
  ///   - padding: That of the class, where nothing is said.
  ///   - types: Rows of a table of token types that data may choose from.
  init(
    _ family: ModelFamily, _ config: JSONValue, _ adapter: Adapter?, _ data: DataFile?,
    limit: JSONValue?, numbering: Numbering = .none, padding standard: Int? = nil,
    types rows: Int? = nil
  ) throws(CheckpointError) {
    self.family = family
    b = TransformerBuilder(config: config, adapter: adapter, otherNames: family.otherNames)
    task = try family.task(config)
    vocabulary = try config["vocab_size"].size()
    let setting = config["pad_token_id"]
    var padding = setting.exists ? try setting.integer() : setting.isWritten ? nil : standard
    if let token = padding {
      guard (-vocabulary..<vocabulary).contains(token) else {
        throw setting.wrong("a token of the vocabulary")
      }
      // As PyTorch counts rows.
      if token < 0 { padding = token + vocabulary }
    }
    self.padding = padding
    prompt = try Self.prompt(adapter, task, family, config)
    let virtual = prompt?.virtualTokens ?? 0
    let numbers = try limit?.size() ?? Int(Int32.max)
    let taken =
      if case .ofTokens = numbering { numbers - (padding ?? 0) - 1 } else { numbers }
    self.data = try TokenData(
      data, task, limit: taken - virtual,
      firstColumn: task == .causal && virtual == 0 ? 1 : 0)
    length = virtual + self.data.length
    given = virtual + self.data.given
    if self.data.length < self.data.given { rule.tokens = self.data.given }
    // Angles and masks are made for each of them before pairs are counted.
    guard given <= 1 << 20 else {
      throw CheckpointError(
        .unexpectedValue("a sample", found: "\(given) tokens", expected: "at most 2^20"),
        at: .init(file: config.file), hint: "Use shorter samples.")
    }
    guard given <= taken else {
      throw (limit ?? config).wrong(
        "at least \(given + numbers - taken)",
        hint: "Samples have \(given) tokens: use shorter ones.")
    }

    // Every input before the first node.
    ids = try b.input(
      TokenData.ids, shape: [self.data.length], kind: .index(bound: vocabulary))
    if self.data.hasMask {
      mask = try b.input(TokenData.mask, shape: [length], kind: .index(bound: 2))
      (rule.mask, rule.maskPrefix) = (TokenData.mask, virtual)
    } else {
      mask = nil
    }
    // PEFT leaves types out where it puts virtual tokens in front.
    if let rows, self.data.hasTypes, prompt == nil {
      types = try b.input(TokenData.types, shape: [length], kind: .index(bound: rows))
    } else {
      types = nil
    }
    let source: (SequenceRule.Positions.Source, Int)?
    switch numbering {
    case .inOrder(let first): (firstPosition, source) = (first, nil)
    case .none: (firstPosition, source) = (0, nil)
    case .ofTokens:
      guard let padding else { throw setting.wrong("a token: positions are counted from it on") }
      (firstPosition, source) = (padding + 1, (.tokens(TokenData.ids, padding: padding), padding))
    case .ofMask(let offset):
      (firstPosition, source) = (offset, self.data.hasMask ? (.mask, offset - 1) : nil)
    }
    if let (source, offset) = source {
      let name = "position_ids"
      rule.positions = .init(input: name, source: source, offset: offset)
      positions = try b.input(
        name, shape: [length], kind: .index(bound: firstPosition + length))
    } else {
      positions = nil
    }
  }

  private static func prompt(
    _ adapter: Adapter?, _ task: LanguageTask, _ family: ModelFamily, _ config: JSONValue
  ) throws(CheckpointError) -> PromptTuning? {
    guard case .promptTuning(let tuning)? = adapter else { return nil }
    guard family.takesPrompt, task == .causal, tuning.padsLabels,
      tuning.rows == tuning.virtualTokens
    else {
      throw CheckpointError(
        .unexpectedValue(
          "the adapter", found: "prompt tuning",
          expected: "LoRA for a \(family.type) with this head"
        ), at: .init(file: config.file),
        hint: "Prompt tuning is read for causal models, with task_type CAUSAL_LM.")
    }
    return tuning
  }

  // MARK: - Embeddings

  /// Rows of the table of tokens, behind virtual tokens: `[length, columns]`.
  ///
  /// - Parameter leavesOut: Whether PyTorch leaves the row of the padding out of gradients
  ///   (`padding_idx`).
  mutating func embed(
    _ module: String, columns: Int, leavesOut: Bool = true
  ) throws(CheckpointError) -> ValueID {
    let table = try table(module, columns)
    var x = try b.apply(Embedding(), to: [ids], parameters: [table], name: module)
    trained = try trainedTokens(module, columns: columns)
    if let trained { x = try replace(x, by: trained, module) }
    if leavesOut, let padding {
      x = try b.apply(Detach(index: padding), to: [x, ids], name: module)
    }
    guard let prompt else { return x }
    let name = PromptTuning.parameterName
    let rows = try b.value(b.adapterParameter(name, shape: [prompt.rows, columns]), name)
    return try b.apply(Concatenate(axis: 0), to: [rows, x], name: name)
  }

  private mutating func table(
    _ module: String, _ columns: Int
  ) throws(CheckpointError) -> ParameterID {
    try b.parameter(module, "weight", shape: [vocabulary, columns])
  }

  /// x plus the table's row of each token's position.
  ///
  /// - Parameter leavesOut: Whether PyTorch leaves the row of the padding out of gradients.
  mutating func addPositions(
    _ x: ValueID, _ module: String, rows: Int, leavesOut: Bool = false
  ) throws(CheckpointError) -> ValueID {
    let columns = b.shape(x)[1]
    let table = try b.parameter(module, "weight", shape: [rows, columns])
    let numbers: ValueID
    if let positions {
      numbers = positions
    } else {
      let range = (firstPosition..<firstPosition + length).map(Double.init)
      numbers = try b.apply(
        Constant(range, shape: [length], element: .index(bound: rows)), to: [], name: module)
    }
    var own = try b.apply(Embedding(), to: [numbers], parameters: [table], name: module)
    if leavesOut, let padding {
      own = try b.apply(Detach(index: padding), to: [own, numbers], name: module)
    }
    return try b.apply(Sum(), to: [x, own], name: module)
  }

  /// x plus the table's row of each token's type, the first one where the data have no types.
  mutating func addTypes(
    _ x: ValueID, _ module: String, rows: Int
  ) throws(CheckpointError) -> ValueID {
    let table = try b.parameter(module, "weight", shape: [rows, b.shape(x)[1]])
    let own: ValueID
    if let types {
      own = try b.apply(Embedding(), to: [types], parameters: [table], name: module)
    } else {
      let value = try b.value(table, module)
      own = try b.apply(
        View(.slice(axis: 0, start: 0, step: 1, count: 1)), to: [value], name: module)
    }
    return try b.apply(Sum(), to: [x, own], name: module)
  }

  // MARK: - Heads

  /// Positions that are scored: in a causal model each label belongs to the token before it.
  private mutating func scoredRows() -> [Int] {
    let virtual = prompt?.virtualTokens ?? 0
    let columns = data.columns ?? [data.length - 1]
    rule.labels = .init(scored: columns, count: data.given)
    return columns.map { virtual + $0 - (task == .causal ? 1 : 0) }
  }

  /// The rows of x that are scored.
  mutating func scored(_ x: ValueID, _ name: String) throws(CheckpointError) -> ValueID {
    try b.select(x, scoredRows(), name: name)
  }

  /// The row of the last token that is not padding, `[1, columns]`.
  mutating func lastToken(_ x: ValueID, _ name: String) throws(CheckpointError) -> ValueID {
    guard let padding else {
      if data.samples ?? 1 > 1 {
        throw config["pad_token_id"].wrong(
          "a token", hint: "Without it, where a sequence ends cannot be found.")
      }
      return try b.select(x, [length - 1], name: name)
    }
    // Numbers of tokens, 0 for padding; the largest one marks the row.
    let token = try b.apply(
      Constant([Double(padding)], shape: [1], element: .index(bound: vocabulary)), to: [],
      name: name)
    let isToken = try b.apply(Comparison(.notEqual), to: [ids, token], name: name)
    let places = try b.apply(
      Constant((0..<length).map(Double.init), shape: [length]), to: [], name: name)
    let number = try b.apply(
      Product(), to: [b.apply(Cast(), to: [isToken], name: name), places], name: name)
    let last = try b.apply(ExtremePlace(isMaximum: true), to: [number], name: name)
    let row = try b.apply(Lookup(), to: [x, last], name: name)
    return try b.reshape(row, to: [1, b.shape(x)[1]])
  }

  /// Classes of the sequence or of its tokens.
  mutating func classify(
    _ x: ValueID, _ module: String, hasBias: Bool
  ) throws(CheckpointError) -> ValueID {
    try b.linear(
      x, module, outputs: ModelFamily.classCount(config), hasBias: hasBias,
      isHead: task == .sequenceClassification)
  }

  /// Logits of tokens, by the table of the embedding where the two are tied.
  ///
  /// - Parameter owner: The module that has the bias, if there is one.
  mutating func tokenLogits(
    _ x: ValueID, _ module: String, embedding: String, biasOf owner: String? = nil
  ) throws(CheckpointError) -> ValueID {
    let isTied = try config["tie_word_embeddings"].bool(default: family.tiesHead)
    let columns = b.shape(x)[1]
    var tied: ParameterID?
    if isTied, !b.saves(module) {
      if b.saves(embedding) {
        throw CheckpointError(
          .unexpectedValue(
            "modules_to_save of the adapter", found: "\(embedding) alone",
            expected: "\(module) as well: they are one table"),
          at: .init(file: config.file))
      }
      tied = try table(embedding, columns)
    }
    let changes = b.changedModules
    let logits = try b.linear(
      x, module, tied: tied, outputs: vocabulary, hasBias: owner != nil, biasOf: owner,
      isHead: true)
    guard let trained, isTied else { return logits }
    // PEFT trains the same rows of a tied head.
    guard tied != nil, owner == nil, b.changedModules == changes else {
      throw CheckpointError(
        .unexpectedValue(
          "trainable_token_indices of the adapter",
          found: "with a tied \(module) that has a bias or is adapted itself",
          expected: "a tied head that nothing else changes"), at: .init(file: config.file))
    }
    return try replace(logits, of: x, by: trained, module)
  }

  /// The model of these logits, `[positions, classes]`.
  ///
  /// - Parameter unread: Tensors that files may have and no computation reads.
  mutating func finish(
    _ logits: ValueID, unread: Set<String>
  ) throws(CheckpointError) -> Model {
    let shape = b.shape(logits)
    return try b.finish(
      output: logits, shape: task.isByPosition ? shape : [shape.last!], type: family.type,
      unreadTensors: unread, sequence: rule)
  }
}
