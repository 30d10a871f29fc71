/// Model x loss x weight sharing x tied weights x what is trained x N x O: what every product and
/// every update is compared with the dense oracle on.
package let cases: [Case] = [
  Case("mlp", input: [3], mlp, samples: 5),
  Case("mlp", input: [3], mlp, loss: "mse", samples: 4),
  Case("mlp", input: [3], mlp, loss: "bce", samples: 6),
  Case("mlp of one sample", input: [3], mlp, samples: 1),
  Case("mlp of two samples", input: [3], mlp, samples: 2),
  Case("mlp, unscored sample", input: [3], mlp, samples: 4, ignores: true),
  Case("mlp, first layer frozen", input: [3], mlp, trainable: ["b.weight", "b.bias"]),
  Case("mlp, last layer frozen", input: [3], mlp, trainable: ["a.weight", "a.bias"]),
  Case("mlp, biases only", input: [3], mlp, trainable: ["a.bias", "b.bias"]),
  Case("mlp, weights only", input: [3], mlp, trainable: ["a.weight", "b.weight"]),
  Case("mlp, first bias only", input: [3], mlp, trainable: ["a.bias"]),
  Case("one output", input: [3], linear("a", 3, 1), loss: "mse"),
  Case("one output", input: [3], linear("a", 3, 1), loss: "bce", samples: 5),
  Case(
    "positions, few features", input: [3, 3],
    linear("a", 3, 3) + "," + gelu + "," + linear("b", 3, 3), ignores: true),
  Case(
    "positions, many features", input: [2, 8],
    linear("a", 8, 2) + "," + gelu + "," + linear("b", 2, 3), samples: 4, ignores: true),
  Case("positions by pairs", input: [2, 6], linear("a", 6, 6), samples: 2),
  Case("positions", input: [2, 8], linear("a", 8, 2), loss: "mse", samples: 3),
  Case("positions", input: [2, 8], linear("a", 8, 2), loss: "bce", samples: 3),
  Case(
    "tied linear", input: [3],
    linear("a", 3, 3) + "," + tanh + "," + linear("a", 3, 3) + "," + tanh + ","
      + linear("b", 3, 3), samples: 4),
  Case("tied convolution", input: [2, 3, 3], tiedConvolution),
  Case(
    "tied embedding", input: [3],
    embedding("e", 6, 3) + "," + tanh + ","
      + #"{"type": "linear", "name": "e", "in_features": 3, "out_features": 6, "bias": false}"#,
    ignores: true),
  Case(
    "tokens by pairs", input: [2],
    embedding("e", 7, 2) + #", {"type": "flatten"}, "# + linear("b", 4, 3), samples: 4),
  Case(
    "tokens by tables", input: [6],
    embedding("e", 4, 3) + #", {"type": "tanh"}, {"type": "flatten"}, "# + linear("b", 18, 3),
    samples: 4),
  Case(
    "tokens, embedding only", input: [4],
    embedding("e", 4, 3) + "," + tanh + ","
      + linear("b", 3, 3), trainable: ["e.weight"], ignores: true),
  Case(
    "tokens, embedding frozen", input: [4],
    embedding("e", 4, 3) + "," + tanh + ","
      + linear("b", 3, 3), trainable: ["b.weight", "b.bias"]),
  Case("table of tokens", input: [2, 2], embedding("e", 5, 2) + "," + tableTail, samples: 3),
  Case("cnn", input: [2, 4, 4], cnn, samples: 3),
  Case("cnn, biases only", input: [2, 4, 4], cnn, trainable: ["c.bias", "h.bias"]),
  Case("cnn, convolution only", input: [2, 4, 4], cnn, trainable: ["c.weight"]),
  Case("cnn of factored rows", input: [4, 3, 3], factoredConvolution, samples: 3),
  Case("cnn in groups", input: [4, 3, 3], groupedConvolution, loss: "bce", samples: 2),
  Case("transposed convolution", input: [2, 2, 2], transposedConvolution, samples: 3),
  Case("norms", input: [2, 3, 3], norms, samples: 3),
  Case(
    "norms, one norm only", input: [2, 3, 3], norms, trainable: ["n.weight", "n.bias"]),
  Case("norms, batch norm weight only", input: [2, 3, 3], norms, trainable: ["m.weight"]),
  Case("norms, biases of norms only", input: [2, 3, 3], norms, trainable: ["m.bias", "n.bias"]),
  Case("residual", input: [2, 4, 4], residual, samples: 3),
  Case(
    "rows of an image", input: [2, 2, 3],
    #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 2, "kernel_size": 1}, "#
      + linear("a", 3, 2) + #", {"type": "flatten"}, "# + linear("b", 8, 3), samples: 3),
  Case("pooled convolutions", input: [1, 3, 5], pooledConvolutions, samples: 3),
  Case(
    "logits with channels last", input: [3, 2],
    #"{"type": "group_norm", "name": "n", "num_groups": 1, "num_channels": 3}"#, samples: 3),
  Case("smoothed labels", input: [3], mlp, samples: 4, weights: [.smoothing]),
  Case("weighted classes", input: [3], mlp, samples: 4, weights: [.classes]),
  Case("weighted samples", input: [3], mlp, samples: 4, weights: [.samples]),
  Case("soft labels", input: [3], mlp, samples: 4, weights: [.softLabels]),
  Case(
    "weighted classes, smoothed labels", input: [3, 3],
    linear("a", 3, 3) + "," + gelu + "," + linear("b", 3, 3), ignores: true,
    weights: [.classes, .smoothing, .positions]),
  Case(
    "weighted classes, soft labels", input: [2, 6], linear("a", 6, 6), samples: 2,
    weights: [.classes, .smoothing, .softLabels, .positions]),
  Case(
    "weighted positions", input: [2, 6], linear("a", 6, 4), samples: 3, ignores: true,
    weights: [.classes, .positions]),
  Case("weighted samples", input: [3], mlp, loss: "mse", samples: 4, weights: [.samples]),
  Case(
    "weighted outputs", input: [2, 8], linear("a", 8, 2), loss: "mse", samples: 3,
    weights: [.classes, .elements]),
  Case("weighted samples", input: [3], mlp, loss: "bce", samples: 6, weights: [.samples]),
  Case(
    "weighted outputs", input: [3], mlp, loss: "bce", samples: 6,
    weights: [.classes, .positives, .elements]),
  Case(
    "weighted positives", input: [2, 8], linear("a", 8, 2), loss: "bce", samples: 3,
    weights: [.positives, .positions]),
]

/// Frozen layers over positions with low-rank changes beside them, as LoRA has them: four matrices, each a block of
/// its own, and products that go through frozen layers.
package let lowRank = Case(
  "low rank", input: [3, 6],
  adapted("p", 6, 5) + "," + gelu + "," + adapted("q", 5, 4) + #", {"type": "flatten"}, "#
    + linear("h", 12, 3),
  trainable: ["p.down.weight", "p.up.weight", "q.down.weight", "q.up.weight"], samples: 4)

/// A head that is tied to embeddings, both of so few rows that they are collected.
package let tiedRows = Case(
  "tied embedding of few rows", input: [2],
  embedding("e", 6, 5) + "," + tanh + ","
    + #"{"type": "linear", "name": "e", "in_features": 5, "out_features": 6, "bias": false}"#,
  samples: 2, ignores: true)

private func adapted(_ name: String, _ inputs: Int, _ outputs: Int) -> String {
  func matrix(_ part: String, _ inputs: Int, _ outputs: Int) -> String {
    #"{"type": "linear", "name": "\#(name).\#(part)", "in_features": \#(inputs), "#
      + #""out_features": \#(outputs), "bias": false}"#
  }
  return #"{"type": "residual", "layers": [\#(matrix("down", inputs, 2)), "#
    + #"\#(matrix("up", 2, outputs))], "shortcut": [\#(linear(name, inputs, outputs))]}"#
}

package func linear(_ name: String, _ inputs: Int, _ outputs: Int) -> String {
  #"{"type": "linear", "name": "\#(name)", "in_features": \#(inputs), "out_features": \#(outputs)}"#
}

package func embedding(_ name: String, _ rows: Int, _ columns: Int) -> String {
  #"{"type": "embedding", "name": "\#(name)", "num_embeddings": \#(rows), "#
    + #""embedding_dim": \#(columns)}"#
}

package let mlp = linear("a", 3, 4) + "," + tanh + "," + linear("b", 4, 3)
private let tanh = #"{"type": "tanh"}"#
private let gelu = #"{"type": "gelu"}"#
private let tableTail = tanh + #", {"type": "flatten"}, "# + linear("b", 8, 3)
private let tiedConvolution =
  #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 2, "kernel_size": 3, "#
  + #""padding": 1}, {"type": "silu"}, "#
  + #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 2, "kernel_size": 3, "#
  + #""padding": 1}, {"type": "adaptive_avg_pool2d", "output_size": 1}, {"type": "flatten"}"#
private let cnn =
  #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 3, "kernel_size": [3, 2], "#
  + #""stride": [1, 2], "padding": [1, 0]}, {"type": "silu"}, "#
  + #"{"type": "max_pool2d", "kernel_size": 2}, {"type": "flatten"}, "# + linear("h", 6, 3)
private let transposedConvolution =
  #"{"type": "conv_transpose2d", "name": "t", "in_channels": 2, "out_channels": 3, "#
  + #""kernel_size": [2, 3], "stride": [1, 2], "padding": [0, 1]}, {"type": "tanh"}, "#
  + #"{"type": "adaptive_avg_pool2d", "output_size": 1}, {"type": "flatten"}, "# + linear("h", 3, 3)
/// Rows of the second window fill a vector of 16, and its outputs go to poolings alone.
private let pooledConvolutions =
  #"{"type": "conv2d", "name": "a", "in_channels": 1, "out_channels": 4, "kernel_size": 1}, "#
  + #"{"type": "silu"}, {"type": "conv2d", "name": "b", "in_channels": 4, "out_channels": 4, "#
  + #""kernel_size": [2, 4], "padding": [1, 2]}, {"type": "gelu"}, "#
  + #"{"type": "max_pool2d", "kernel_size": [2, 3], "stride": [1, 2]}, "#
  + #"{"type": "conv2d", "name": "c", "in_channels": 4, "out_channels": 2, "kernel_size": [1, 4], "#
  + #""padding": [0, 2], "bias": false}, {"type": "max_pool2d", "kernel_size": 2, "stride": 1}, "#
  + #"{"type": "flatten"}, "# + linear("h", 8, 3)
private let factoredConvolution =
  #"{"type": "conv2d", "name": "c", "in_channels": 4, "out_channels": 2, "kernel_size": [3, 2]}, "#
  + #"{"type": "softplus"}, {"type": "flatten"}, "# + linear("h", 4, 3)
private let groupedConvolution =
  #"{"type": "conv2d", "name": "c", "in_channels": 4, "out_channels": 4, "kernel_size": 2, "#
  + #""groups": 2}, {"type": "gelu", "approximate": "tanh"}, "#
  + #"{"type": "avg_pool2d", "kernel_size": 2}, {"type": "flatten"}, "# + linear("h", 4, 2)
private let norms =
  #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 4, "kernel_size": 2, "#
  + #""bias": false}, {"type": "batch_norm2d", "name": "m", "num_features": 4}, {"type": "silu"}, "#
  + #"{"type": "group_norm", "name": "n", "num_groups": 2, "num_channels": 4}, "#
  + #"{"type": "silu"}, {"type": "layer_norm", "name": "o", "normalized_shape": [2, 2], "eps": 0.1}, "#
  + #"{"type": "adaptive_avg_pool2d", "output_size": 1}, {"type": "flatten"}, "#
  + linear("h", 4, 3)
private let residual =
  #"{"type": "residual", "layers": [{"type": "conv2d", "name": "a", "in_channels": 2, "#
  + #""out_channels": 3, "kernel_size": 2, "stride": 2}, {"type": "silu"}, "#
  + #"{"type": "conv2d", "name": "b", "in_channels": 3, "out_channels": 3, "kernel_size": 1}], "#
  + #""shortcut": [{"type": "conv2d", "name": "s", "in_channels": 2, "out_channels": 3, "#
  + #""kernel_size": 1, "stride": 2, "bias": false}]}, {"type": "silu"}, "#
  + #"{"type": "adaptive_avg_pool2d", "output_size": 1}, {"type": "flatten"}, "#
  + linear("h", 3, 3)
