import Checkpoints
import GraphModule
import TensorModule

/// Rows of the table of tokens that an adapter trains in place of the model's own (PEFT's
/// `trainable_token_indices`).
struct TrainedTokens {
  /// In the order of the rows, which is that of the configuration.
  let tokens: [Int]
  /// `[tokens, columns]`
  let rows: ParameterID
}

extension LanguageBuilder {
  /// Those of an embedding, if the adapter has any.
  mutating func trainedTokens(
    _ module: String, columns: Int
  ) throws(CheckpointError) -> TrainedTokens? {
    guard case .lowRank(let adapter)? = b.adapter, let tokens = adapter.trainedTokens else {
      return nil
    }
    let names = try tokens.names()
    guard names.allSatisfy({ ("." + module).hasSuffix("." + $0) }) else {
      throw tokens.place.wrong("tokens of \(module) alone")
    }
    guard tokens.indices.allSatisfy({ (0..<vocabulary).contains($0) }),
      Set(tokens.indices).count == tokens.indices.count
    else { throw tokens.place.wrong("tokens of the vocabulary, each of them once") }
    let rows = try b.adapterParameter(
      module + ".token_adapter.trainable_tokens_delta",
      shape: [tokens.indices.count, columns])
    b.takesTrainedTokens()
    return TrainedTokens(tokens: tokens.indices, rows: rows)
  }

  /// Rows of a table `[T, columns]` with the trained ones in place of the others.
  mutating func replace(
    _ x: ValueID, by trained: TrainedTokens, _ module: String
  ) throws(CheckpointError) -> ValueID {
    let name = module + ".token_adapter"
    let count = trained.tokens.count
    let list = try b.apply(
      Constant(
        trained.tokens.map(Double.init), shape: [1, count], element: .index(bound: vocabulary)),
      to: [], name: name)
    let isToken = try b.apply(
      Comparison(.equal), to: [b.reshape(ids, to: [data.length, 1]), list], name: name)
    let places = try b.apply(Cast(), to: [isToken], name: name)
    let rows = try b.value(trained.rows, name)
    let own = try b.apply(MatrixProduct(), to: [places, rows], name: name)
    let found = try b.apply(
      Reduction(.sum, axes: [1], keepsDimensions: true), to: [places], name: name)
    let zero = try b.apply(Constant([0], shape: [1]), to: [], name: name)
    let isTrained = try b.apply(Comparison(.greater), to: [found, zero], name: name)
    return try b.apply(Where(), to: [isTrained, own, x], name: name)
  }

  /// Logits of a tied head `[rows, vocabulary]` with those of the trained rows in place of the others.
  mutating func replace(
    _ logits: ValueID, of x: ValueID, by trained: TrainedTokens, _ module: String
  ) throws(CheckpointError) -> ValueID {
    let name = module + ".token_adapter"
    let rows = try b.value(trained.rows, name)
    let own = try b.apply(MatrixProduct(isTransposed: true), to: [x, rows], name: name)
    var places = [Int?](repeating: nil, count: vocabulary)
    for (place, token) in trained.tokens.enumerated() { places[token] = place }
    let matrix = SparseMatrix(columns: trained.tokens.count, taking: places)!
    let spread = try b.apply(SparseMap(axis: 1, matrix), to: [own], name: name)
    let isTrained = try b.apply(
      Constant(
        places.map { $0 == nil ? 0 : 1 }, shape: [vocabulary], element: .boolean), to: [],
      name: name)
    return try b.apply(Where(), to: [isTrained, spread, logits], name: name)
  }
}
