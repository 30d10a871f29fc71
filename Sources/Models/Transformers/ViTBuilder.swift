import Checkpoints
import GraphModule
import TensorModule

/// Hugging Face's `ViTForImageClassification` (Dosovitskiy et al. 2021): patches, class token,
/// learned positions, pre-norm blocks, a linear head on the class token.
enum ViTBuilder {
  static func build(
    _ config: JSONValue, adapter: Adapter?
  ) throws(CheckpointError) -> Model {
    if case .promptTuning? = adapter {
      throw config["model_type"].wrong("a model that prompt tuning applies to")
    }
    var b = TransformerBuilder(
      config: config, adapter: adapter, otherNames: otherNames)
    let hidden = try config["hidden_size"].size(default: 768)
    let layers = try config["num_hidden_layers"].layerCount(default: 12)
    let channels = try config["num_channels"].size(default: 3)
    let image = try pair(config["image_size"], default: 224)
    let patch = try pair(config["patch_size"], default: 16)
    guard image.0 >= patch.0, image.1 >= patch.1 else {
      throw config["patch_size"].wrong("at most the image size")
    }
    guard checkedProduct(image.0 / patch.0, image.1 / patch.1, atMost: 1 << 20) != nil else {
      throw config["patch_size"].wrong("a size that divides the image into at most 2^20 patches")
    }
    let epsilon = try config["layer_norm_eps"].double(default: 1e-12)

    let input = try b.input(
      "pixel_values", shape: [channels, image.0, image.1], kind: .real)
    var x = try embed(&b, input, patch: patch, channels: channels, hidden: hidden)
    for layer in 0..<layers {
      x = try block(&b, x, layer, epsilon: epsilon)
    }
    x = try b.norm(x, "vit.layernorm", epsilon: epsilon, centered: true)
    x = try b.apply(Take([0]), to: [x], name: "vit.class_token")
    let classes = try ModelFamily.classCount(config)
    let logits = try b.linear(x, "classifier", outputs: classes, hasBias: true)
    return try b.finish(
      output: logits, shape: [classes], type: "vit",
      unreadTensors: [
        "vit.embeddings.mask_token", "vit.pooler.dense.weight", "vit.pooler.dense.bias",
      ])
  }

  private static func embed(
    _ b: inout TransformerBuilder, _ input: ValueID, patch: (Int, Int), channels: Int, hidden: Int
  ) throws(CheckpointError) -> ValueID {
    let name = "vit.embeddings.patch_embeddings.projection"
    let channelsLast = try b.apply(View.firstToLast(3), to: [input], name: name)
    let weight = try b.parameter(
      name, "weight", shape: [hidden, channels, patch.0, patch.1], storage: .channelsLast)
    let bias = try b.parameter(name, "bias", shape: [hidden])
    let patches = try b.apply(
      Convolution(stride: patch), to: [channelsLast], parameters: [weight, bias], name: name)
    let grid = b.shape(patches)
    let (tokenName, positionName) = (
      "vit.embeddings.cls_token", "vit.embeddings.position_embeddings"
    )
    let token = try b.value(b.parameter(tokenName, "", shape: [1, 1, hidden]), tokenName)
    let parts = [
      try b.reshape(token, to: [1, hidden]),
      try b.reshape(patches, to: [grid[0] * grid[1], hidden]),
    ]
    let tokens = try b.apply(Concatenate(axis: 0), to: parts, name: tokenName)
    let table = try b.parameter(positionName, "", shape: [1] + b.shape(tokens))
    let positions = try b.value(table, positionName)
    return try b.apply(
      Sum(), to: [tokens, b.reshape(positions, to: b.shape(tokens))], name: positionName)
  }

  private static func block(
    _ b: inout TransformerBuilder, _ x: ValueID, _ layer: Int, epsilon: Double
  ) throws(CheckpointError) -> ValueID {
    let name = "vit.encoder.layer.\(layer)"
    let config = b.config
    let columns = b.shape(x)[1]
    let heads = try config["num_attention_heads"].heads(sharing: columns, default: 12)
    let hasBias = try config["qkv_bias"].bool(default: true)
    let normed = try b.norm(x, name + ".layernorm_before", epsilon: epsilon, centered: true)
    let attention = name + ".attention.attention"
    let width = columns / heads
    let layer = AttentionLayer(
      name: attention, query: attention + ".query", key: attention + ".key",
      value: attention + ".value", heads: heads, width: width,
      scale: 1 / Double(width).squareRoot(), hasBias: hasBias)
    let mixed = try b.attention(layer, queries: normed, keys: normed)
    let projected = try b.linear(
      mixed, name + ".attention.output.dense", outputs: columns, hasBias: true)
    let attended = try b.apply(Sum(), to: [projected, x], name: name + ".attention")

    let second = try b.norm(attended, name + ".layernorm_after", epsilon: epsilon, centered: true)
    let inner = try config["intermediate_size"].size(default: 3072)
    let function = try JSONValue.activation(
      named: config["hidden_act"].string(default: "gelu"), at: config["hidden_act"])
    let active = try b.activated(
      second, name + ".intermediate.dense", outputs: inner, function,
      name: name + ".intermediate")
    let outer = try b.linear(
      active, name + ".output.dense", outputs: columns, hasBias: true)
    return try b.apply(Sum(), to: [outer, attended], name: name + ".output")
  }

  /// Modules that Transformers 5 names anew; checkpoints keep the names of version 4.
  private static let renamed = [
    (old: "attention.attention.query", new: "attention.q_proj"),
    (old: "attention.attention.key", new: "attention.k_proj"),
    (old: "attention.attention.value", new: "attention.v_proj"),
    (old: "attention.output.dense", new: "attention.o_proj"),
    (old: "intermediate.dense", new: "mlp.fc1"), (old: "output.dense", new: "mlp.fc2"),
  ]
  private static let layersInVersion4 = "vit.encoder.layer."
  private static let layersInVersion5 = "vit.layers."

  @Sendable static func otherNames(_ module: String) -> [String] {
    guard module.hasPrefix(layersInVersion4) else { return [] }
    let parts = module.dropFirst(layersInVersion4.count).split(separator: ".", maxSplits: 1)
    guard parts.count == 2 else { return [] }
    let new = renamed.first { $0.old == parts[1] }?.new ?? String(parts[1])
    return ["\(layersInVersion5)\(parts[0]).\(new)"]
  }

  static func nameInVersion4(_ name: String) -> String {
    guard name.hasPrefix(layersInVersion5) else { return name }
    let parts = name.dropFirst(layersInVersion5.count).split(separator: ".", maxSplits: 1)
    guard parts.count == 2 else { return name }
    var rest = String(parts[1])
    for (old, new) in renamed where rest.hasPrefix(new + ".") {
      rest = old + rest.dropFirst(new.count)
      break
    }
    return "\(layersInVersion4)\(parts[0]).\(rest)"
  }

  private static func pair(
    _ value: JSONValue, default standard: Int
  ) throws(CheckpointError) -> (Int, Int) {
    if value.exists, case .array = try value.content() {
      let values = try value.integers()
      guard values.count == 2, values.allSatisfy({ $0 > 0 && $0 < 1 << 20 }) else {
        throw value.wrong("an integer or a pair of positive integers")
      }
      return (values[0], values[1])
    }
    let size = try value.size(default: standard)
    return (size, size)
  }
}
