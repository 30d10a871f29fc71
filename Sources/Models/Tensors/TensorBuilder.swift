import GraphModule
import TensorModule

/// Builds a graph of one sample from tensors with a dimension of samples, as PyTorch shows them. What an
/// operator computes is told by `Operators`.
struct TensorBuilder {
  let graph: GraphBuilder
  /// What stands for the number of samples in sizes.
  let samples: Int
  /// Whether it stands for any number.
  let isSymbolic: Bool
  /// The node or layer at hand, for messages.
  var label = ""
  /// Names of results that something reads.
  let read: (String) -> Bool
  private var parameterValues: [ParameterID: ValueID] = [:]

  /// A prime that no other size is likely to be a multiple of: it tells where in a shape the batch is.
  static let nominalSamples = 1_000_003

  init(
    graph: GraphBuilder = GraphBuilder(), samples: Int = nominalSamples, isSymbolic: Bool = true,
    read: @escaping (String) -> Bool = { _ in true }
  ) {
    self.graph = graph
    (self.samples, self.isSymbolic, self.read) = (samples, isSymbolic, read)
  }

  /// Whether anything reads a result of an operator.
  func isRead(_ call: OperatorCall, _ result: Int) -> Bool {
    call.resultNames.indices.contains(result) && read(call.resultNames[result])
  }

  /// Entries of a table along one dimension, which may be a minute of sound at 16 kHz.
  static let mostTerms = 1 << 20
  /// Numbers of a tensor that the program makes itself, as a mask of 5,792 by 5,792 tokens.
  private static let mostConstants = 1 << 25

  /// How many numbers a tensor of this shape has that is made before any data come.
  static func constantCount(_ shape: [Int]) throws -> Int {
    guard let count = checkedProduct(shape, atMost: mostConstants) else {
      throw ImportFailure("a constant \(shape) of more than \(mostConstants) numbers")
    }
    return count
  }

  mutating func apply(
    _ operation: some GraphModule.Operation, _ inputs: [ValueID], _ parameters: [ParameterID] = []
  ) throws -> ValueID {
    try graph.apply(operation, to: inputs, parameters: parameters, name: label)
  }

  /// The same numbers in another shape.
  func reshaped(_ value: ValueID, to shape: [Int]) throws -> ValueID {
    try graph.reshape(value, to: shape)
  }

  /// A parameter as a value; every use of it reads the same one.
  mutating func parameterValue(_ parameter: ImportedParameter) throws -> ValueID {
    if let value = parameterValues[parameter.id] { return value }
    var value = try apply(ParameterValue(), [], [parameter.id])
    let shape = parameter.shape
    if parameter.storage == .channelsLast {
      let window = shape[2...].reduce(1, *)
      value = try reshaped(value, to: [shape[0], window, shape[1]])
      value = try reshaped(apply(View(.permute([0, 2, 1])), [value]), to: shape)
    }
    parameterValues[parameter.id] = value
    return value
  }

  /// A parameter, or statistics, of a shape.
  mutating func parameter(
    _ name: String, _ shape: [Int], _ storage: ParameterSpec.Storage = .plain,
    isBuffer: Bool = false
  ) throws -> ImportedTensor {
    let id = try graph.parameter(name, shape: shape, storage: storage, isBuffer: isBuffer)
    return ImportedTensor(
      sizes: shape, batch: nil, kind: .real,
      storage: .parameter(
        ImportedParameter(id: id, shape: shape, storage: storage), order: Array(shape.indices)))
  }
}
