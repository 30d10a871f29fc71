/// One application of a layer type with some choice of options.
package struct LayerCase: Sendable {
  let name: String
  let input: [Int]
  let layer: String
  var isToken = false
}

/// Every layer type with every option, each in the places where its derivatives take another path:
/// * on the input of the model, which has no tangent;
/// * behind a linear layer: an active input in PyTorch's order;
/// * behind a convolution: an active input with its channels last;
/// * twice on one value in a residual, with shared parameters: cotangents and gradients add up.
package let layerCases: [Case] = layers.flatMap { layer in
  let flatten = #", {"type": "flatten"}"#
  let bare = Case(
    layer.name, input: layer.input, layer.layer + flatten, loss: "mse", samples: 2)
  // A model without trainable parameters has no derivatives.
  var cases = OracleModel(bare.model).parameters.contains { !$0.isBuffer } ? [bare] : []
  if layer.isToken { return cases }
  let size = layer.input.last!
  let linear =
    #"{"type": "linear", "name": "pre", "in_features": \#(size), "out_features": \#(size)}, "#
  cases.append(
    Case(
      layer.name + " after linear", input: layer.input, linear + layer.layer + flatten,
      loss: "mse", samples: 2, seed: 2))
  let twice =
    #"{"type": "residual", "layers": [\#(layer.layer)], "shortcut": [\#(layer.layer)]}"#
  cases.append(
    Case(
      layer.name + " twice", input: layer.input, linear + twice + flatten, loss: "mse",
      samples: 2, seed: 3))
  guard layer.input.count == 3 else { return cases }
  let channels = layer.input[0]
  let convolution =
    #"{"type": "conv2d", "name": "pre", "in_channels": \#(channels), "#
    + #""out_channels": \#(channels), "kernel_size": 1}, "#
  cases.append(
    Case(
      layer.name + " after conv", input: layer.input, convolution + layer.layer + flatten,
      loss: "mse", samples: 2, seed: 4))
  cases.append(
    Case(
      layer.name + " after conv, twice", input: layer.input, convolution + twice + flatten,
      loss: "mse", samples: 2, seed: 5))
  return cases
}

private let layers: [LayerCase] = [
  LayerCase(
    name: "linear", input: [4],
    layer: #"{"type": "linear", "name": "l", "in_features": 4, "out_features": 3}"#),
  LayerCase(
    name: "linear without bias", input: [4],
    layer:
      #"{"type": "linear", "name": "l", "in_features": 4, "out_features": 3, "bias": false}"#),
  LayerCase(
    name: "linear on a sequence", input: [3, 4],
    layer: #"{"type": "linear", "name": "l", "in_features": 4, "out_features": 2}"#),
  LayerCase(
    name: "linear on an image", input: [2, 3, 4],
    layer: #"{"type": "linear", "name": "l", "in_features": 4, "out_features": 2}"#),
  LayerCase(
    name: "conv2d", input: [2, 4, 5],
    layer:
      #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 3, "kernel_size": 2}"#),
  LayerCase(
    name: "conv2d, all asymmetric", input: [2, 6, 5],
    layer: #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 3, "#
      + #""kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 2], "dilation": [1, 3]}"#),
  LayerCase(
    name: "conv2d in groups", input: [4, 3, 4],
    layer: #"{"type": "conv2d", "name": "c", "in_channels": 4, "out_channels": 6, "#
      + #""kernel_size": [2, 3], "padding": [0, 1], "groups": 2}"#),
  LayerCase(
    name: "conv2d by channel", input: [3, 3, 3],
    layer: #"{"type": "conv2d", "name": "c", "in_channels": 3, "out_channels": 3, "#
      + #""kernel_size": 2, "groups": 3, "bias": false}"#),
  LayerCase(
    name: "conv2d 1 x 1", input: [3, 2, 3],
    layer: #"{"type": "conv2d", "name": "c", "in_channels": 3, "out_channels": 2, "#
      + #""kernel_size": 1}"#),
  LayerCase(
    name: "conv2d 1 x 1 with stride", input: [3, 3, 4],
    layer: #"{"type": "conv2d", "name": "c", "in_channels": 3, "out_channels": 2, "#
      + #""kernel_size": 1, "stride": [2, 3]}"#),
  LayerCase(
    name: "conv2d 1 x 1 with padding", input: [2, 2, 2],
    layer: #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 2, "#
      + #""kernel_size": 1, "padding": 1}"#),
  LayerCase(
    name: "conv2d 1 x 1 in groups", input: [4, 2, 2],
    layer: #"{"type": "conv2d", "name": "c", "in_channels": 4, "out_channels": 2, "#
      + #""kernel_size": 1, "groups": 2}"#),
  LayerCase(
    name: "conv2d with a kernel of the image", input: [2, 3, 2],
    layer: #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 3, "#
      + #""kernel_size": [3, 2]}"#),
  LayerCase(
    name: "conv2d of one pixel", input: [2, 1, 1],
    layer: #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 3, "#
      + #""kernel_size": 3, "padding": 1}"#),
  // From 16 channels on images are multiplied without unfolded rows.
  LayerCase(
    name: "conv2d of many channels", input: [17, 3, 4],
    layer: #"{"type": "conv2d", "name": "c", "in_channels": 17, "out_channels": 18, "#
      + #""kernel_size": [2, 3], "padding": [1, 2]}"#),
  LayerCase(
    name: "conv2d of many channels with stride", input: [16, 4, 5],
    layer: #"{"type": "conv2d", "name": "c", "in_channels": 16, "out_channels": 16, "#
      + #""kernel_size": 3, "padding": 1, "stride": [2, 3], "bias": false}"#),
  LayerCase(
    name: "batch_norm2d", input: [3, 2, 2],
    layer: #"{"type": "batch_norm2d", "name": "n", "num_features": 3, "eps": 0.01}"#),
  LayerCase(
    name: "batch_norm2d without weights", input: [3, 2, 2],
    layer: #"{"type": "batch_norm2d", "name": "n", "num_features": 3, "affine": false}"#),
  LayerCase(
    name: "layer_norm", input: [5],
    layer: #"{"type": "layer_norm", "name": "n", "normalized_shape": 5}"#),
  LayerCase(
    name: "layer_norm of a sequence", input: [3, 4],
    layer: #"{"type": "layer_norm", "name": "n", "normalized_shape": [4], "eps": 0.1}"#),
  LayerCase(
    name: "layer_norm of rows of an image", input: [2, 3, 4],
    layer: #"{"type": "layer_norm", "name": "n", "normalized_shape": [4]}"#),
  LayerCase(
    name: "layer_norm of planes of an image", input: [2, 2, 3],
    layer: #"{"type": "layer_norm", "name": "n", "normalized_shape": [2, 3]}"#),
  LayerCase(
    name: "layer_norm of an image", input: [2, 2, 3],
    layer: #"{"type": "layer_norm", "name": "n", "normalized_shape": [2, 2, 3]}"#),
  LayerCase(
    name: "layer_norm without bias", input: [4],
    layer: #"{"type": "layer_norm", "name": "n", "normalized_shape": 4, "bias": false}"#),
  LayerCase(
    name: "layer_norm without weights", input: [2, 4],
    layer:
      #"{"type": "layer_norm", "name": "n", "normalized_shape": 4, "elementwise_affine": false}"#),
  LayerCase(
    name: "group_norm of a vector", input: [6],
    layer: #"{"type": "group_norm", "name": "n", "num_groups": 2, "num_channels": 6}"#),
  LayerCase(
    name: "group_norm of a sequence", input: [4, 3],
    layer:
      #"{"type": "group_norm", "name": "n", "num_groups": 2, "num_channels": 4, "eps": 0.1}"#),
  LayerCase(
    name: "group_norm of an image", input: [6, 2, 3],
    layer: #"{"type": "group_norm", "name": "n", "num_groups": 3, "num_channels": 6}"#),
  LayerCase(
    name: "group_norm of one group", input: [3, 2, 2],
    layer: #"{"type": "group_norm", "name": "n", "num_groups": 1, "num_channels": 3}"#),
  LayerCase(
    name: "group_norm without weights", input: [4, 2, 2],
    layer: #"{"type": "group_norm", "name": "n", "num_groups": 4, "num_channels": 4, "#
      + #""affine": false}"#),
  LayerCase(
    name: "embedding", input: [3],
    layer: #"{"type": "embedding", "name": "e", "num_embeddings": 5, "embedding_dim": 2}"#,
    isToken: true),
  LayerCase(
    name: "embedding of a table of tokens", input: [2, 3],
    layer: #"{"type": "embedding", "name": "e", "num_embeddings": 4, "embedding_dim": 2}"#,
    isToken: true),
  LayerCase(
    name: "embedding behind dropout and flatten", input: [2, 2],
    layer: #"{"type": "dropout"}, {"type": "flatten"}, "#
      + #"{"type": "embedding", "name": "e", "num_embeddings": 4, "embedding_dim": 3}"#,
    isToken: true),
  LayerCase(name: "relu", input: [2, 3, 2], layer: #"{"type": "relu"}, \#(scale)"#),
  LayerCase(
    name: "leaky_relu", input: [2, 3, 2], layer: #"{"type": "leaky_relu"}, \#(scale)"#),
  LayerCase(
    name: "leaky_relu with a slope", input: [5],
    layer: #"{"type": "leaky_relu", "negative_slope": 0.25}, \#(row)"#),
  LayerCase(name: "gelu", input: [2, 3, 2], layer: #"{"type": "gelu"}, \#(scale)"#),
  LayerCase(
    name: "gelu none", input: [5], layer: #"{"type": "gelu", "approximate": "none"}, \#(row)"#),
  LayerCase(
    name: "gelu tanh", input: [5], layer: #"{"type": "gelu", "approximate": "tanh"}, \#(row)"#),
  LayerCase(name: "silu", input: [5], layer: #"{"type": "silu"}, \#(row)"#),
  LayerCase(name: "tanh", input: [5], layer: #"{"type": "tanh"}, \#(row)"#),
  LayerCase(name: "sigmoid", input: [5], layer: #"{"type": "sigmoid"}, \#(row)"#),
  LayerCase(name: "softplus", input: [5], layer: #"{"type": "softplus"}, \#(row)"#),
  LayerCase(
    name: "softplus with beta and a threshold", input: [5],
    layer: #"{"type": "softplus", "beta": 2.5, "threshold": 0.5}, \#(row)"#),
  LayerCase(
    name: "options of PyTorch at their defaults", input: [2, 4, 4],
    layer: #"{"type": "relu", "inplace": true}, {"type": "leaky_relu", "inplace": false}, "#
      + #"{"type": "silu", "inplace": true}, {"type": "dropout", "p": 0.5, "inplace": false}, "#
      + #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 2, "kernel_size": 1, "#
      + #""padding_mode": "zeros"}, {"type": "batch_norm2d", "name": "b", "num_features": 2, "#
      + #""momentum": 0.1, "track_running_stats": true}, {"type": "max_pool2d", "kernel_size": 2, "#
      + #""dilation": 1, "return_indices": false, "ceil_mode": false}, {"type": "avg_pool2d", "#
      + #""kernel_size": 2, "ceil_mode": false, "count_include_pad": true, "#
      + #""divisor_override": null}, {"type": "flatten", "start_dim": 1, "end_dim": -1}"#),
  LayerCase(name: "dropout", input: [5], layer: #"{"type": "dropout", "p": 0.5}, \#(row)"#),
  LayerCase(
    name: "max_pool2d", input: [2, 4, 5],
    layer: #"{"type": "max_pool2d", "kernel_size": 2}, \#(scale)"#),
  LayerCase(
    name: "max_pool2d, all asymmetric", input: [2, 5, 6],
    layer: #"{"type": "max_pool2d", "kernel_size": [3, 2], "stride": [1, 3], "padding": [1, 1]}, "#
      + scale),
  LayerCase(
    name: "max_pool2d with overlap", input: [2, 4, 4],
    layer: #"{"type": "max_pool2d", "kernel_size": 3, "stride": 1, "padding": 1}, \#(scale)"#),
  LayerCase(
    name: "avg_pool2d", input: [2, 4, 5],
    layer: #"{"type": "avg_pool2d", "kernel_size": 2}, \#(scale)"#),
  LayerCase(
    name: "avg_pool2d, all asymmetric", input: [2, 5, 6],
    layer: #"{"type": "avg_pool2d", "kernel_size": [2, 3], "stride": [2, 1], "padding": [1, 0]}, "#
      + scale),
  LayerCase(
    name: "adaptive_avg_pool2d", input: [2, 3, 2],
    layer: #"{"type": "adaptive_avg_pool2d", "output_size": 1}, \#(scale)"#),
  LayerCase(
    name: "adaptive_avg_pool2d of a pair", input: [2, 1, 3],
    layer: #"{"type": "adaptive_avg_pool2d", "output_size": [1, 1]}, \#(scale)"#),
  LayerCase(
    name: "flatten between", input: [2, 2, 2],
    layer: #"{"type": "flatten"}, {"type": "linear", "name": "l", "in_features": 8, "#
      + #""out_features": 3}"#),
  LayerCase(
    name: "residual with identity", input: [4],
    layer: #"{"type": "residual", "layers": [{"type": "linear", "name": "l", "in_features": 4, "#
      + #""out_features": 4}, {"type": "tanh"}]}"#),
  LayerCase(
    name: "residual without layers", input: [5],
    layer: #"{"type": "residual", "layers": []}, "# + row),
  LayerCase(
    name: "residual with a conv shortcut", input: [2, 4, 4],
    layer: #"{"type": "residual", "layers": [{"type": "conv2d", "name": "a", "in_channels": 2, "#
      + #""out_channels": 3, "kernel_size": 3, "stride": 2, "padding": 1}, {"type": "relu"}], "#
      + #""shortcut": [{"type": "conv2d", "name": "s", "in_channels": 2, "out_channels": 3, "#
      + #""kernel_size": 1, "stride": 2}]}"#),
  LayerCase(
    name: "residual of a row-wise branch and an image", input: [2, 2, 3],
    layer: #"{"type": "residual", "layers": [{"type": "linear", "name": "a", "in_features": 3, "#
      + #""out_features": 3}], "shortcut": [{"type": "conv2d", "name": "s", "in_channels": 2, "#
      + #""out_channels": 2, "kernel_size": 1}]}"#),
  LayerCase(
    name: "residual of an image branch and rows", input: [2, 2, 3],
    layer: #"{"type": "residual", "layers": [{"type": "conv2d", "name": "s", "in_channels": 2, "#
      + #""out_channels": 2, "kernel_size": 1}], "shortcut": [{"type": "layer_norm", "name": "a", "#
      + #""normalized_shape": [3]}]}"#),
  LayerCase(
    name: "residual in a residual", input: [3],
    layer: #"{"type": "residual", "layers": [{"type": "residual", "layers": [{"type": "linear", "#
      + #""name": "a", "in_features": 3, "out_features": 3}]}, {"type": "silu"}]}"#),
]

/// A layer with parameters for the cases whose own has none: something to train on the input.
private let row = #"{"type": "linear", "name": "r", "in_features": 5, "out_features": 2}"#
private let scale =
  #"{"type": "group_norm", "name": "g", "num_groups": 1, "num_channels": 2, "eps": 0.5}"#
