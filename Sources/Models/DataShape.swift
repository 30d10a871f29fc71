import Checkpoints

/// What the graph of a token model must know of the data: its lengths, and which label positions
/// are scored at all, so that logits are computed for no others.
package struct DataShape: Sendable, Equatable {
  /// Tokens of one sample's input.
  package var inputLength: Int
  /// Columns of the labels.
  package var labelLength: Int
  /// Columns of the labels in which some sample is scored, ascending.
  package var scoredColumns: [Int]

  /// For looking at a model without data.
  package static let nominal = DataShape(inputLength: 64, labelLength: 1, scoredColumns: [0])

  package init(inputLength: Int, labelLength: Int, scoredColumns: [Int]) {
    self.inputLength = inputLength
    self.labelLength = labelLength
    self.scoredColumns = scoredColumns
  }

  /// - Throws: `CheckpointError` if the arrays are not `[N, T]` and `[N]` or `[N, O]`, or if no
  ///   position is scored.
  package init(_ data: DataFile) throws(CheckpointError) {
    inputLength = try Self.inputLength(data)
    scoredColumns = try Self.scoredColumns(
      data, hint: "The decoder reads the labels as tokens: soft labels are not taken for it.")
    labelLength = data.labels.shape.count == 2 ? data.labels.shape[1] : 1
  }

  /// T of `input_ids`, `[N, T]`.
  static func inputLength(_ data: DataFile) throws(CheckpointError) -> Int {
    guard let tokens = try data.inputs(["input_ids"])["input_ids"] else {
      preconditionFailure("DataShape: inputs() finds what was asked for, or throws")
    }
    guard tokens.shape.count == 2, tokens.shape[1] > 0 else {
      throw CheckpointError(
        .shapeMismatch(found: tokens.shape, expected: [data.count, 1]), at: tokens.location,
        hint: "input_ids are [samples, tokens].")
    }
    return tokens.shape[1]
  }

  /// Columns of the labels in which some sample is scored, ascending.
  ///
  /// - Parameter hint: What to say where labels are no classes.
  static func scoredColumns(
    _ data: DataFile, hint: String
  ) throws(CheckpointError) -> [Int] {
    if data.labels.dtype.isFloatingPoint {
      throw CheckpointError(
        .wrongDType(found: data.labels.dtype, expected: [.i64, .i32]), at: data.labels.location,
        hint: hint)
    }
    guard data.labels.shape.count <= 2, data.labels.shape.last != 0 else {
      throw CheckpointError(
        .shapeMismatch(found: data.labels.shape, expected: [data.count, 1]),
        at: data.labels.location, hint: "Labels are [samples] or [samples, positions].")
    }
    let length = data.labels.shape.count == 2 ? data.labels.shape[1] : 1
    var scored = Set<Int>()
    // In pieces: as wide integers, all labels may be eight times as large as the file.
    let piece = 1 << 16
    for first in stride(from: 0, to: data.labels.count, by: piece) {
      let range = first..<min(first + piece, data.labels.count)
      for (place, label) in try data.labels.integers(range).enumerated() where label != -100 {
        scored.insert((first + place) % length)
      }
      if scored.count == length { break }
    }
    guard !scored.isEmpty else {
      throw CheckpointError(
        .unexpectedValue("labels", found: "only -100", expected: "at least one scored position"),
        at: data.labels.location,
        hint: "-100 marks what is not scored: give the positions that count their labels.")
    }
    return scored.sorted()
  }
}
