import GraphModule
import TensorModule

/// Recurrent networks: loops over cells, one after the other in time.
extension Operators {
  static let recurrent: [String: Builder] = [
    "aten.lstm.input": { try $0.recurrent($1, .lstm) },
    "aten.gru.input": { try $0.recurrent($1, .gru) },
    "aten.rnn_tanh.input": { try $0.recurrent($1, .plain("tanh")) },
    "aten.rnn_relu.input": { try $0.recurrent($1, .plain("relu")) },
    "aten.lstm_cell.default": { builder, call in
      let state = try call.tensors("hx")
      let next = try builder.step(call, .lstm, RecurrentState(h: state[0], c: state[1]))
      return [next.h, next.c ?? next.h]
    },
    "aten.gru_cell.default": { builder, call in
      [try builder.step(call, .gru, RecurrentState(h: call.tensor("hx"))).h]
    },
    "aten.rnn_tanh_cell.default": { builder, call in
      [try builder.step(call, .plain("tanh"), RecurrentState(h: call.tensor("hx"))).h]
    },
    "aten.rnn_relu_cell.default": { builder, call in
      [try builder.step(call, .plain("relu"), RecurrentState(h: call.tensor("hx"))).h]
    },
  ]
}

enum RecurrentCell {
  case lstm
  case gru
  case plain(String)
}

/// What a cell hands on; only an LSTM has c.
struct RecurrentState {
  var h: ImportedTensor
  var c: ImportedTensor?
}

/// Of one layer in one direction.
private struct RecurrentWeights {
  var input: ImportedTensor
  var hidden: ImportedTensor
  var inputBias: ImportedTensor?
  var hiddenBias: ImportedTensor?
  /// From the cell to what an LSTM hands on (`proj_size`).
  var projection: ImportedTensor?
}

extension TensorBuilder {
  /// One step of a cell that a node is.
  fileprivate mutating func step(
    _ call: OperatorCall, _ cell: RecurrentCell, _ state: RecurrentState
  ) throws -> RecurrentState {
    let weights = RecurrentWeights(
      input: try call.tensor("w_ih"), hidden: try call.tensor("w_hh"),
      inputBias: call.optionalTensor("b_ih"), hiddenBias: call.optionalTensor("b_hh"))
    let fromInput = try linear(call.tensor("input"), weights.input, weights.inputBias)
    return try step(cell, fromInput, state, weights)
  }

  /// All layers of a network, in both directions where it has two.
  fileprivate mutating func recurrent(
    _ call: OperatorCall, _ cell: RecurrentCell
  ) throws -> [ImportedTensor] {
    var x = try call.tensor("input")
    guard x.rank == 3 else { throw ImportFailure("a sequence without a dimension of samples") }
    if try call.real("dropout", default: 0) > 0, try call.bool("train", default: false) {
      throw ImportFailure("dropout in training mode: call net.eval() before torch.export.export")
    }
    let isBatchFirst = try call.bool("batch_first", default: false)
    if !isBatchFirst { x = transposed(x, 0, 1) }
    guard x.batch?.axis != 1 else {
      throw ImportFailure.mixing("its time runs over the samples; see batch_first")
    }
    let hasBias = try call.bool("has_biases", default: true)
    let directions = try call.bool("bidirectional", default: false) ? 2 : 1
    let layers = try call.integer("num_layers")
    let parameters = try call.tensors("params")
    let plain = hasBias ? 4 : 2
    let isProjected = parameters.count == layers * directions * (plain + 1)
    let count = isProjected ? plain + 1 : plain
    guard parameters.count == layers * directions * count else {
      throw ImportFailure("\(parameters.count) weights of \(layers) layers")
    }
    let states: [ImportedTensor]
    if case .lstm = cell {
      states = try call.tensors("hx")
    } else {
      states = [try call.tensor("hx")]
    }
    var last: [RecurrentState] = []
    for layer in 0..<layers {
      var outputs: [ImportedTensor] = []
      for direction in 0..<directions {
        let place = layer * directions + direction
        let own = Array(parameters[place * count..<(place + 1) * count])
        let weights = RecurrentWeights(
          input: own[0], hidden: own[1], inputBias: hasBias ? own[2] : nil,
          hiddenBias: hasBias ? own[3] : nil, projection: isProjected ? own[plain] : nil)
        var state = RecurrentState(h: try selected(states[0], 0, place))
        if states.count > 1 { state.c = try selected(states[1], 0, place) }
        let fromInput = try linear(x, weights.input, weights.inputBias)
        let length = x.sizes[1]
        var steps: [ImportedTensor] = []
        for time in direction == 0 ? Array(0..<length) : (0..<length).reversed() {
          state = try step(cell, selected(fromInput, 1, time), state, weights)
          steps.append(unsqueezed(state.h, 1))
        }
        if direction == 1 { steps.reverse() }
        outputs.append(try concatenated(steps, 1))
        last.append(state)
      }
      x = try concatenated(outputs, 2)
    }
    let output = isBatchFirst ? x : transposed(x, 0, 1)
    var results = [output, try concatenated(last.map { unsqueezed($0.h, 0) }, 0)]
    if states.count > 1 {
      results.append(try concatenated(last.compactMap { $0.c.map { unsqueezed($0, 0) } }, 0))
    }
    return results
  }

  /// - Parameter input: The input's part of the gates.
  private mutating func step(
    _ cell: RecurrentCell, _ input: ImportedTensor, _ state: RecurrentState,
    _ weights: RecurrentWeights
  ) throws -> RecurrentState {
    let hidden = try linear(state.h, weights.hidden, weights.hiddenBias)
    let width = (state.c ?? state.h).sizes[state.h.rank - 1]
    switch cell {
    case .plain(let function):
      return RecurrentState(h: try unary(function, sum(input, hidden)))
    case .lstm:
      guard let c = state.c else { throw ImportFailure("an LSTM without a cell state") }
      let gates = try sum(input, hidden)
      let i = try unary(.sigmoid, gate(gates, 0, width))
      let f = try unary(.sigmoid, gate(gates, 1, width))
      let g = try unary(.tanh, gate(gates, 2, width))
      let o = try unary(.sigmoid, gate(gates, 3, width))
      let next = try sum(product(f, c), product(i, g))
      let h = try product(o, unary(.tanh, next))
      return RecurrentState(h: try weights.projection.map { try linear(h, $0, nil) } ?? h, c: next)
    case .gru:
      let r = try unary(.sigmoid, sum(gate(input, 0, width), gate(hidden, 0, width)))
      let z = try unary(.sigmoid, sum(gate(input, 1, width), gate(hidden, 1, width)))
      let reset = try product(r, gate(hidden, 2, width))
      let n = try unary(.tanh, sum(gate(input, 2, width), reset))
      return RecurrentState(h: try sum(n, product(z, difference(state.h, n))))
    }
  }

  private mutating func gate(
    _ gates: ImportedTensor, _ place: Int, _ width: Int
  ) throws -> ImportedTensor {
    try sliced(gates, gates.rank - 1, start: place * width, count: width)
  }
}
