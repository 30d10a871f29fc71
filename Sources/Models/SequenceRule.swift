/// How a model of tokens reads its data: which label columns are scored positions of the graph, and
/// which inputs are made where the data have none.
package struct SequenceRule: Sendable, Equatable {
  /// Labels by position; `nil` where a sample has one label.
  package var labels: Columns?
  /// What a sequence-to-sequence model makes of its labels.
  package var decoder: Decoder?
  /// The input that says which tokens count, if the graph has one; all do where the data have none.
  package var mask: String?
  /// Tokens that samples of the data have, where the graph reads the first of them alone.
  package var tokens: Int?
  /// Visible tokens put in front of the mask.
  package var maskPrefix = 0
  /// An input of positions that follow from tokens or mask, and never come from the data.
  package var positions: Positions?

  /// Columns of the labels.
  package struct Columns: Sendable, Equatable {
    /// One for each position of the graph.
    package let scored: [Int]
    /// All that the labels have.
    package let count: Int
  }

  /// How labels become the decoder's input: shifted right, -100 replaced.
  package struct Decoder: Sendable, Equatable {
    /// The input that is made from the labels where the data have none.
    package let input: String
    package let start: Int
    package let padding: Int
    /// Positions that are not scored, put in front of the labels.
    package let labelPrefix: Int

    /// The decoder's input for one sample's labels.
    package func tokens(_ labels: [Int64]) -> [Int32] {
      let all = [Int64](repeating: -100, count: labelPrefix) + labels
      return [Int32(start)] + all.dropLast().map { $0 == -100 ? Int32(padding) : Int32($0) }
    }
  }

  /// Tokens that count are numbered from `offset + 1` on; the others have the number `offset`.
  package struct Positions: Sendable, Equatable {
    package enum Source: Sendable, Equatable {
      /// A token counts unless it is this one (RoBERTa).
      case tokens(String, padding: Int)
      /// It counts where the mask says so (OPT).
      case mask
    }
    package let input: String
    package let source: Source
    package let offset: Int

    package func numbers(counts: [Bool]) -> [Int32] {
      var last = 0
      return counts.map { isCounted in
        if isCounted { last += 1 }
        return Int32(offset + (isCounted ? last : 0))
      }
    }
  }
}
