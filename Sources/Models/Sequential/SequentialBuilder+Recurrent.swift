import Checkpoints
import GraphModule
import TensorModule

// Recurrent networks as layers: of a sequence `[length, features]`, whichever dimension PyTorch has the
// samples in, the states of all times.

extension SequentialBuilder {
  static let recurrent: [String: LayerBuilder] = [
    "lstm": { b, l, v throws(CheckpointError) in
      try b.recurrent(l, v, gates: 4, ["proj_size"]) { _ in "lstm.input" }
    },
    "gru": { b, l, v throws(CheckpointError) in
      try b.recurrent(l, v, gates: 3, []) { _ in "gru.input" }
    },
    "rnn": { b, l, v throws(CheckpointError) in
      try b.recurrent(l, v, gates: 1, ["nonlinearity"]) { l throws(CheckpointError) in
        let function = try l.json["nonlinearity"].string(default: "tanh")
        guard ["tanh", "relu"].contains(function) else {
          throw l.json["nonlinearity"].wrong("\"tanh\" or \"relu\"")
        }
        return "rnn_\(function).input"
      }
    },
  ]

  private mutating func recurrent(
    _ l: LayerContext, _ v: Value, gates: Int, _ own: [String],
    _ operator: (LayerContext) throws(CheckpointError) -> String
  ) throws(CheckpointError) -> Value {
    try l.options(
      [
        "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
        "bidirectional",
      ]
        + own)
    let (inputs, hidden) = (try l.size("input_size"), try l.size("hidden_size"))
    let layers = l.json["num_layers"].exists ? try l.sizes("num_layers", 1, minimum: 1)[0] : 1
    let hasBias = try l.json["bias"].bool(default: true)
    _ = try l.json["batch_first"].bool(default: false)
    let directions = try l.json["bidirectional"].bool(default: false) ? 2 : 1
    let projected = try l.json["proj_size"].integer(default: 0)
    guard projected >= 0, projected < hidden else {
      throw l.json["proj_size"].wrong("less than hidden_size, or 0 for none")
    }
    guard v.shape.count == 2, v.shape[1] == inputs else {
      throw l.mismatch("[length, input_size = \(inputs)]", found: v.shape)
    }
    // Each of them is a step of its own in the graph.
    guard let steps = checkedProduct([v.shape[0], layers, directions], atMost: 10_000), steps > 0
    else { throw l.mismatch("at most 10,000 steps of all layers", found: v.shape) }
    let width = projected > 0 ? projected : hidden
    let (name, operation) = (try l.name(), try `operator`(l))
    let isCell = operation.hasPrefix("lstm")
    return try self.operation(
      operation, l, v, input: "input", size: [v.shape[0], width * directions]
    ) { builder in
      var parameters: [ImportedTensor] = []
      for layer in 0..<layers {
        for direction in 0..<directions {
          let suffix = "_l\(layer)" + (direction == 1 ? "_reverse" : "")
          func add(_ kind: String, _ shape: [Int]) throws {
            parameters.append(try builder.parameter("\(name).\(kind)\(suffix)", shape))
          }
          try add("weight_ih", [gates * hidden, layer == 0 ? inputs : width * directions])
          try add("weight_hh", [gates * hidden, width])
          if hasBias {
            try add("bias_ih", [gates * hidden])
            try add("bias_hh", [gates * hidden])
          }
          if projected > 0 { try add("weight_hr", [width, hidden]) }
        }
      }
      func zeros(_ width: Int) throws -> ImportedTensor {
        try builder.expanded(
          builder.scalar(0), [layers * directions, builder.samples, width])
      }
      let state = try zeros(width)
      return [
        "hx": isCell ? .tensors([state, try zeros(hidden)]) : .tensor(state),
        "params": .tensors(parameters), "has_biases": .bool(hasBias),
        "num_layers": .number(layers), "bidirectional": .bool(directions == 2),
        "batch_first": .bool(true), "train": .bool(false), "dropout": .real(0),
      ]
    }
  }
}
