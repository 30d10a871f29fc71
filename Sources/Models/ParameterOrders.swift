import GraphModule

extension Model {
  /// The model's parameters in the order of PyTorch's `model.parameters()`, which is that of its
  /// modules; several orders where versions of Transformers differ.
  package var parameterOrders: [[ParameterSpec]] {
    guard let family = ModelFamily.named(type) else {
      // The order of its description.
      return [graph.parameters]
    }
    return family.nameOrders.map { words in
      let all = words + Self.endOfLayers
      let ranks = Dictionary(uniqueKeysWithValues: zip(all, all.indices))
      return graph.parameters.map { (spec: $0, key: Self.key($0.name, ranks)) }
        .sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.spec)
    }
  }

  /// Numbers of layers by their size; words that are in no list, last.
  private static func key(_ name: String, _ ranks: [String: Int]) -> [Int] {
    name.split(separator: ".").map { Int($0) ?? ranks[String($0)] ?? .max }
  }

  // Parts of names, those of one module in the order in which it has them: its own parameters come
  // before those of its modules.
  private static let endOfLayers = ["weight", "bias", "lora_A", "lora_B", "prompt_embeddings"]
}
