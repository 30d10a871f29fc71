import Checkpoints
import Testing

@testable import Models

/// Every mistake in a description is an error whose text names the place.
struct BuilderErrorTests {
  struct Mistake: Sendable, CustomStringConvertible {
    let description: String
    let input: String
    let layers: String
    let message: String

    init(_ layers: String, input: String = "[4]", _ message: String) {
      (self.layers, self.input, self.message) = (layers, input, message)
      description = message
    }
  }

  static let linear = #"{"type": "linear", "name": "a", "in_features": 4, "out_features": 2}"#
  static let image = "[2, 4, 4]"

  static let mistakes = [
    // The model.
    Mistake(
      linear, input: "[]",
      "model.input_shape is a list of 0, expected the positive dimensions of one sample"),
    Mistake(
      linear, input: "[0]",
      "model.input_shape is a list of 1, expected the positive dimensions of one sample"),
    Mistake(
      linear, input: "[-4]",
      "model.input_shape is a list of 1, expected the positive dimensions of one sample"),
    Mistake(
      linear, input: "[65536, 65536, 65536, 65536]",
      "model.input_shape is a list of 4, expected the positive dimensions of one sample"),
    Mistake(linear, input: "4", "model.input_shape is 4, expected a list"),
    Mistake(linear, input: "[4.5]", "model.input_shape[0] is 4.5, expected an integer"),
    Mistake("", "model.layers is a list of 0, expected at least one layer"),
    Mistake(
      linear, input: "[2, 2, 4]",
      "model.layers is a list of 1, expected a last layer whose output is [classes] or [positions, classes]; it is [2, 2, 2]"
    ),
    Mistake("3", "model.layers[0] is 3, expected an object"),
    // Layers.
    Mistake(linear + #", {"name": "b"}"#, "model.layers[1].type is missing"),
    Mistake(linear + #", {"type": 3}"#, "model.layers[1].type is 3, expected a string"),
    Mistake(linear + #", {"type": "linaer"}"#, "unknown layer type \"linaer\""),
    Mistake(#"{"type": "tanh", "inplace": true}"#, "unknown key model.layers[0].inplace"),
    Mistake(
      #"{"type": "flatten", "start_dim": 2}"#,
      "model.layers[0].start_dim is 2, expected a dimension of [-1, 4] other than that of the samples, 0"
    ),
    Mistake(
      #"{"type": "softplus", "beta": 0}"#,
      "model.layers[0].beta is 0, expected a positive number"),
    Mistake(
      #"{"type": "softplus", "threshold": 1e300}"#,
      "model.layers[0].threshold is 1e+300, expected a finite number"),
    Mistake(
      #"{"type": "hardtanh", "min_val": 1e300}"#,
      "model.layers[0].min_val is 1e+300, expected a finite number"),
    Mistake(
      #"{"type": "linear", "name": "a", "in_features": 4, "out_feature": 2}"#,
      "unknown key model.layers[0].out_feature"),
    Mistake(
      #"{"type": "residual", "layers": ["#
        + Array(repeating: #"{"type": "relu"}"#, count: 10_000).joined(separator: ", ") + "]}",
      "model.layers[0].layers[9999].type is \"relu\", expected no more layers: there are 10000 before it"
    ),
    // Names.
    Mistake(
      #"{"type": "linear", "in_features": 4, "out_features": 2}"#, "model.layers[0].name is missing"
    ),
    Mistake(
      #"{"type": "linear", "name": "", "in_features": 4, "out_features": 2}"#,
      "model.layers[0].name is \"\", expected the prefix of the layer's parameters"),
    Mistake(
      linear + #", {"type": "linear", "name": "a", "in_features": 2, "out_features": 2}"#,
      "model.layers[1].name is \"a\", expected a name of its own: another layer has a parameter a.weight of another shape"
    ),
    // Linear.
    Mistake(
      #"{"type": "linear", "name": "a", "out_features": 2}"#,
      "model.layers[0].in_features is missing"),
    Mistake(
      #"{"type": "linear", "name": "a", "in_features": 4, "out_features": 0}"#,
      "model.layers[0].out_features is 0, expected a positive integer"),
    Mistake(
      #"{"type": "linear", "name": "a", "in_features": 4, "out_features": -3}"#,
      "model.layers[0].out_features is -3, expected a positive integer"),
    Mistake(
      #"{"type": "linear", "name": "a", "in_features": 4, "out_features": 3000000000}"#,
      "model.layers[0].out_features is 3000000000, expected a positive integer"),
    Mistake(
      #"{"type": "linear", "name": "a", "in_features": 5, "out_features": 2}"#,
      "the input of model.layers[0] linear a is [4], expected in_features = 5 as the last dimension"
    ),
    Mistake(
      #"{"type": "linear", "name": "a", "in_features": 4, "out_features": 2, "bias": 1}"#,
      "model.layers[0].bias is 1, expected true or false"),
    Mistake(
      #"{"type": "linear", "name": "a", "in_features": 4, "out_features": 2000000000}"#,
      input: "[4, 4]",
      "the size of model.layers[0] linear a is 2000000000 x 4, expected fewer than 2^31 numbers per sample and per parameter"
    ),
    // Convolutions.
    conv("", "model.layers[0].kernel_size is missing"),
    conv(
      #", "kernel_size": 0"#,
      "model.layers[0].kernel_size is 0, expected an integer or a pair of integers, at least 1"),
    conv(
      #", "kernel_size": [1, 2, 3]"#,
      "model.layers[0].kernel_size is a list of 3, expected an integer or a pair of integers, at least 1"
    ),
    conv(#", "kernel_size": "3""#, "model.layers[0].kernel_size is \"3\", expected an integer"),
    conv(
      #", "kernel_size": [3, 2.5]"#, "model.layers[0].kernel_size[1] is 2.5, expected an integer"),
    conv(
      #", "kernel_size": 2, "stride": 0"#,
      "model.layers[0].stride is 0, expected an integer or a pair of integers, at least 1"),
    conv(
      #", "kernel_size": 2, "padding": -1"#,
      "model.layers[0].padding is -1, expected an integer or a pair of integers, at least 0"),
    conv(
      #", "kernel_size": 2, "padding": "full""#,
      "model.layers[0].padding is \"full\", expected numbers, \"same\" or \"valid\""),
    conv(
      #", "kernel_size": 1, "padding": 2147483647"#,
      "model.layers[0].padding is 2147483647, expected at most the kernel with its dilation, which is 1 x 1"
    ),
    conv(
      #", "kernel_size": [3, 2], "dilation": 2, "padding": [5, 4]"#,
      "model.layers[0].padding is a list of 2, expected at most the kernel with its dilation, which is 5 x 3"
    ),
    conv(
      #", "kernel_size": 3, "dilation": 2147483647"#,
      "model.layers[0].kernel_size is 3, expected less than 2^31 pixels with its dilation"),
    conv(
      #", "kernel_size": 2, "dilation": 2147483646, "padding": 1073741824"#,
      "the size of model.layers[0] conv2d c is 2 x 2147483652 x 2147483652, expected fewer than 2^31 numbers per sample and per parameter"
    ),
    conv(
      #", "kernel_size": 2, "dilation": 0"#,
      "model.layers[0].dilation is 0, expected an integer or a pair of integers, at least 1"),
    conv(
      #", "kernel_size": 2, "groups": 3"#,
      "model.layers[0].groups is 3, expected a divisor of in_channels and out_channels"),
    conv(
      #", "kernel_size": 2, "groups": 0"#,
      "model.layers[0].groups is 0, expected a positive integer"),
    conv(
      #", "kernel_size": 5"#,
      "the input of model.layers[0] conv2d c is [2, 4, 4], expected an image into which, padded, kernel_size (5, 5) fits with its dilation"
    ),
    conv(
      #", "kernel_size": 3, "dilation": 2"#,
      "the input of model.layers[0] conv2d c is [2, 4, 4], expected an image into which, padded, kernel_size (3, 3) fits with its dilation"
    ),
    conv(
      #", "kernel_size": 2"#, input: "[3, 4, 4]",
      "the input of model.layers[0] conv2d c is [3, 4, 4], expected [in_channels = 2, height, width]"
    ),
    conv(
      #", "kernel_size": 2"#, input: "[2, 4]",
      "the input of model.layers[0] conv2d c is [2, 4], expected [in_channels = 2, height, width]"
    ),
    conv(
      #", "kernel_size": 2147483647"#,
      "the size of model.layers[0] conv2d c is 2 x 2 x 2147483647 x 2147483647, expected fewer than 2^31 numbers per sample and per parameter"
    ),
    // Norms.
    Mistake(
      #"{"type": "batch_norm2d", "name": "n", "num_features": 3}"#, input: image,
      "the input of model.layers[0] batch_norm2d n is [2, 4, 4], expected [num_features = 3, height, width]"
    ),
    Mistake(
      #"{"type": "batch_norm2d", "name": "n", "num_features": 2, "eps": -1}"#, input: image,
      "model.layers[0].eps is -1, expected a number that is not negative"),
    Mistake(
      #"{"type": "batch_norm2d", "name": "n", "num_features": 4}"#,
      "the input of model.layers[0] batch_norm2d n is [4], expected [num_features = 4, height, width]"
    ),
    Mistake(
      #"{"type": "layer_norm", "name": "n", "normalized_shape": [3]}"#,
      "the input of model.layers[0] layer_norm n is [4], expected normalized_shape = [3] as the last dimensions"
    ),
    Mistake(
      #"{"type": "layer_norm", "name": "n", "normalized_shape": [2, 4]}"#,
      "the input of model.layers[0] layer_norm n is [4], expected normalized_shape = [2, 4] as the last dimensions"
    ),
    Mistake(
      #"{"type": "layer_norm", "name": "n", "normalized_shape": []}"#,
      "the input of model.layers[0] layer_norm n is [4], expected normalized_shape = [] as the last dimensions"
    ),
    Mistake(#"{"type": "layer_norm", "name": "n"}"#, "model.layers[0].normalized_shape is missing"),
    Mistake(
      #"{"type": "group_norm", "name": "n", "num_groups": 3, "num_channels": 4}"#,
      "model.layers[0].num_groups is 3, expected a divisor of num_channels = 4"),
    Mistake(
      #"{"type": "group_norm", "name": "n", "num_groups": 2, "num_channels": 2}"#,
      "the input of model.layers[0] group_norm n is [4], expected num_channels = 2 as the first dimension"
    ),
    // Embeddings.
    Mistake(
      linear + #", {"type": "embedding", "name": "e", "num_embeddings": 3, "embedding_dim": 2}"#,
      "model.layers[1].type is \"embedding\", expected an embedding only as the first layer: it reads whole numbers"
    ),
    Mistake(
      #"{"type": "embedding", "name": "e", "num_embeddings": 0, "embedding_dim": 2}"#,
      "model.layers[0].num_embeddings is 0, expected a positive integer"),
    Mistake(
      #"{"type": "embedding", "name": "e", "num_embeddings": 3}"#,
      "model.layers[0].embedding_dim is missing"),
    Mistake(
      #"{"type": "embedding", "name": "e", "num_embeddings": 3, "embedding_dim": 1000000000}"#,
      "the size of model.layers[0] embedding e is 3 x 1000000000, expected fewer than 2^31 numbers per sample and per parameter"
    ),
    // Pools and activations.
    Mistake(
      #"{"type": "gelu", "approximate": "erf"}"#,
      "model.layers[0].approximate is \"erf\", expected \"none\" or \"tanh\""),
    Mistake(
      #"{"type": "leaky_relu", "negative_slope": "steep"}"#,
      "model.layers[0].negative_slope is \"steep\", expected a number"),
    Mistake(
      #"{"type": "max_pool2d", "kernel_size": 2}"#,
      "the input of model.layers[0] max_pool2d is [4], expected [channels, height, width]"
    ),
    Mistake(
      #"{"type": "max_pool2d", "kernel_size": 3, "padding": 2}"#, input: image,
      "model.layers[0].padding is 2, expected at most half of kernel_size"),
    Mistake(
      #"{"type": "avg_pool2d", "kernel_size": 5}"#, input: image,
      "the input of model.layers[0] avg_pool2d is [2, 4, 4], expected an image into which, padded, kernel_size (5, 5) fits with its dilation"
    ),
    Mistake(
      #"{"type": "adaptive_avg_pool2d", "output_size": 0}"#, input: image,
      "model.layers[0].output_size is 0, expected an integer or 2 of them, at least 1"),
    Mistake(
      #"{"type": "adaptive_avg_pool2d", "output_size": 1}"#,
      "the input of model.layers[0] adaptive_avg_pool2d is [4], expected [channels, height, width]"
    ),
    pool(
      "max", "2147483647, \"padding\": 1073741823",
      "the size of model.layers[0] max_pool2d is 1 x 1 x 2147483647 x 2147483647 x 2, expected fewer than 2^31 numbers per sample and per parameter"
    ),
    pool(
      "avg", "2147483647, \"padding\": 1073741823, \"stride\": 2147483647",
      "the size of model.layers[0] avg_pool2d is 1 x 1 x 2147483647 x 2147483647 x 2, expected fewer than 2^31 numbers per sample and per parameter"
    ),
    Mistake(
      #"{"type": "linear", "name": "a", "in_features": 65536, "out_features": 65536}"#,
      input: "[65536]",
      "the size of model.layers[0] linear a is 65536 x 65536, expected fewer than 2^31 numbers per sample and per parameter"
    ),
    // Other places.
    Mistake(
      #"{"type": "constant_pad1d", "padding": [-3, -3], "value": 0}"#, input: "[1, 4]",
      "the input of model.layers[0] constant_pad1d is [1, 4], expected one that the layer's options fit: padding by -3 and -3 of a dimension of 4"
    ),
    Mistake(
      #"{"type": "upsample", "scale_factor": 65535}"#, input: "[1, 65536]",
      "the input of model.layers[0] upsample is [1, 65536], expected one that the layer's options fit: a dimension of 65536 at 4294901760 places"
    ),
    Mistake(
      #"{"type": "upsample", "size": 8, "align_corners": true}"#, input: image,
      "model.layers[0].align_corners is true, expected nothing: PyTorch takes none with nearest"),
    // Tables of places, whose sizes are a few digits of a file.
    Mistake(
      #"{"type": "zero_pad1d", "padding": [1048576, 0]}"#, input: "[1, 4]",
      "the input of model.layers[0] zero_pad1d is [1, 4], expected one that the layer's options fit: padding by 1048576 and 0 of a dimension of 4"
    ),
    Mistake(
      #"{"type": "max_pool3d", "kernel_size": 2, "stride": 1}"#, input: "[1, 1025, 1025, 1025]",
      "the input of model.layers[0] max_pool3d is [1, 1025, 1025, 1025], expected one that the layer's options fit: windows of [2, 2, 2] on [1025, 1025, 1025] are too many"
    ),
    // It took minutes where every step copied the graph so far.
    Mistake(
      #"{"type": "lstm", "name": "a", "input_size": 3, "hidden_size": 2, "batch_first": true}"#,
      input: "[8000, 3]",
      "the number of operations of model.layers[0] lstm a is above 100000, expected fewer: shorter sequences, or fewer layers"
    ),
    // Residuals.
    Mistake(#"{"type": "residual"}"#, "model.layers[0].layers is missing"),
    Mistake(
      #"{"type": "residual", "layers": [\#(linear)]}"#,
      "model.layers[0].layers is a list of 1, expected a branch whose output has the shortcut's shape: branch [2], shortcut [4]"
    ),
    Mistake(
      #"{"type": "residual", "layers": [{"type": "tanh"}, {"type": "tanhh"}]}"#,
      "unknown layer type \"tanhh\""),
    Mistake(
      #"{"type": "residual", "layers": [], "shortcut": [{"type": "linear", "name": "s", "in_features": 3, "out_features": 4}]}"#,
      "the input of model.layers[0].shortcut[0] linear s is [4], expected in_features = 3 as the last dimension"
    ),
    Mistake(
      #"{"type": "residual", "layers": [{"type": "dropout"}]}, {"type": "embedding", "name": "e", "num_embeddings": 3, "embedding_dim": 2}"#,
      "model.layers[1].type is \"embedding\", expected an embedding only as the first layer: it reads whole numbers"
    ),
    Mistake(
      #"{"type": "residual", "layers": [\#(embedding)], "shortcut": [{"type": "flatten"}]}"#,
      "model.layers[0].layers is a list of 1, expected a branch whose output has the shortcut's shape: branch [4, 2], shortcut [4]"
    ),
  ]

  private static let embedding =
    #"{"type": "embedding", "name": "e", "num_embeddings": 3, "embedding_dim": 2}"#

  private static func conv(_ options: String, input: String = image, _ message: String) -> Mistake {
    Mistake(
      #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 2\#(options)}"#,
      input: input, message)
  }

  private static func pool(_ kind: String, _ options: String, _ message: String) -> Mistake {
    Mistake(#"{"type": "\#(kind)_pool2d", "kernel_size": \#(options)}"#, input: image, message)
  }

  @Test(arguments: mistakes)
  func mistakesNameTheirPlace(_ mistake: Mistake) throws {
    let json =
      #"{"type": "sequential", "input_shape": \#(mistake.input), "layers": [\#(mistake.layers)]}"#
    #expect(try message(json) == mistake.message)
  }

  @Test func typesThatAreNotKnownAreNamed() throws {
    #expect(try message(#"{"type": "sequentail"}"#) == "unknown model type \"sequentail\"")
    #expect(try message(#"{"layers": []}"#) == "model.type is missing")
    #expect(
      try message(#"{"type": "sequential", "input_shape": [1]}"#) == "model.layers is missing")
    #expect(
      try message(#"{"type": "sequential", "input_shape": [1], "layers": [], "loss": "mse"}"#)
        == "unknown key model.loss")
  }

  /// The advice said where the layer is instead of what it may have meant.
  @Test func adviceFollowsTheFile() throws {
    let text = #"{"type": "sequential", "input_shape": [4], "layers": [{"type": "linaer"}]}"#
    let json = try JSONValue(parsing: text, name: "model", file: "run.bin")
    let error = #expect(throws: CheckpointError.self) { try Model(json) }
    #expect(
      error?.description == """
        unknown layer type "linaer"
          at run.bin, model.layers[0].type
          Did you mean linear?
        """)
  }

  @Test func whatDoesNotFitSaysHowToFixIt() throws {
    let text =
      #"{"type": "sequential", "input_shape": [4], "layers": [{"type": "tanh"}, "#
      + #"{"type": "linear", "name": "fc", "in_features": 5, "out_features": 2}]}"#
    let json = try JSONValue(parsing: text, name: "model", file: "run.bin")
    let error = #expect(throws: CheckpointError.self) { try Model(json) }
    #expect(
      error?.description == """
        the input of model.layers[1] linear fc is [4], expected in_features = 5 as the last dimension
          at run.bin
          Set in_features to 4, or change the layers before it.
        """)
  }

  /// As many entries in several dimensions: it is no matter of `in_features`.
  @Test func aMissingFlattenIsNamed() throws {
    let text =
      #"{"type": "sequential", "input_shape": [2, 4, 4], "layers": ["#
      + #"{"type": "linear", "name": "fc", "in_features": 32, "out_features": 2}]}"#
    let json = try JSONValue(parsing: text, name: "model", file: "run.bin")
    let error = #expect(throws: CheckpointError.self) { try Model(json) }
    #expect(
      error?.description == """
        the input of model.layers[0] linear fc is [2, 4, 4], expected in_features = 32 as the last dimension
          at run.bin
          Put {"type": "flatten"} before it.
        """)
  }

  /// The first line of the error's text.
  private func message(_ text: String) throws -> String {
    let json = try JSONValue(parsing: text, name: "model", file: nil)
    do {
      _ = try Model(json)
    } catch {
      return "\(error)".split(separator: "\n").first.map(String.init) ?? ""
    }
    return "no error"
  }
}
