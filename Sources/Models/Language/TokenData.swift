import Checkpoints

/// What the graph of a language model must know of the data.
struct TokenData: Sendable {
  /// Tokens that a sample of the data has.
  let given: Int
  /// Of these the first ones, which the graph reads: of a causal model those up to the last one whose
  /// successor is scored. Nothing that is scored depends on others. Behind padding all are read: a
  /// padded position that sees no token at all looks at every one.
  let length: Int
  let hasMask: Bool
  let hasTypes: Bool
  /// Samples; `nil` without data.
  let samples: Int?
  /// Columns of the labels in which some sample is scored, ascending; `nil` where a sample has one
  /// label, or without data.
  let columns: [Int]?

  static let (ids, mask, types) = ("input_ids", "attention_mask", "token_type_ids")

  /// - Parameters:
  ///   - data: `nil` for looking at a model alone.
  ///   - limit: Tokens that the model takes.
  ///   - first: The first column of the labels that has a position.
  /// - Throws: An error for arrays that do not fit each other, inputs that are not read, and samples
  ///   without a scored position.
  init(
    _ data: DataFile?, _ task: LanguageTask, limit: Int, firstColumn first: Int
  ) throws(CheckpointError) {
    guard let data else {
      given = max(1, min(DataShape.nominal.inputLength, limit))
      length = given
      (hasMask, hasTypes, samples, columns) = (true, false, nil, nil)
      return
    }
    given = try DataShape.inputLength(data)
    samples = data.count
    (hasMask, hasTypes) = (data.others[Self.mask] != nil, data.others[Self.types] != nil)
    for name in ["position_ids", "inputs_embeds", "head_mask", "encoder_hidden_states"] {
      guard let tensor = data.others[name] else { continue }
      throw CheckpointError(
        .unexpectedTensor(near: []), at: tensor.location,
        hint: "A language model is scored on input_ids, attention_mask and token_type_ids.")
    }
    var isPaddedBefore = false
    if let mask = data.others[Self.mask] {
      isPaddedBefore = try Self.requireOneSide(mask, data.count, given)
    }
    guard task.isByPosition else {
      (columns, length) = (nil, given)
      return
    }
    try data.labels.requireShape(
      [data.count, given], hint: "Each token has a label, -100 where it is not scored.")
    let scored = try DataShape.scoredColumns(
      data, hint: "Labels of positions are class numbers: soft labels are not taken for them."
    ).filter { $0 >= first }
    guard !scored.isEmpty else {
      throw CheckpointError(
        .unexpectedValue(
          "labels", found: "only the first one of each sample",
          expected: "at least one that a token stands before"),
        at: data.labels.location,
        hint: "The labels of a causal model are its tokens: they are shifted when they are scored.")
    }
    columns = scored
    length = task == .causal && !isPaddedBefore ? max(1, scored.last!) : given
  }

  /// Padding is before all samples or behind all of them: of both, one will not be what training saw.
  ///
  /// - Returns: Whether it is before some.
  private static func requireOneSide(
    _ mask: StoredTensor, _ samples: Int, _ length: Int
  ) throws(CheckpointError) -> Bool {
    guard mask.shape == [samples, length], mask.dtype.isInteger else { return false }
    var padded: (before: Int?, behind: Int?)
    for sample in 0..<samples {
      let row = try mask.integers(sample * length..<(sample + 1) * length)
      guard row.contains(where: { $0 != 0 }) else { continue }
      if row[0] == 0 { padded.before = padded.before ?? sample }
      if row[length - 1] == 0 { padded.behind = padded.behind ?? sample }
      guard let before = padded.before, let behind = padded.behind else { continue }
      throw CheckpointError(
        .unexpectedValue(
          mask.name, found: "padding before sample \(before) and behind sample \(behind)",
          expected: "all of it on one side"),
        at: mask.location, hint: "Tokenise all samples with the same padding_side.")
    }
    return padded.before != nil
  }
}
