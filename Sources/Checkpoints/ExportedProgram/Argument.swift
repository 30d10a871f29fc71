extension ExportedProgram {
  /// A value that a node takes or gives, by name or as a constant. The cases are those of the schema.
  package indirect enum Argument: Equatable, Sendable {
    case none
    case tensor(String)
    case tensors([String])
    case optionalTensor(String?)
    case optionalTensors([String?])
    case nestedTensors([[String]])
    case integer(Int)
    case integers([Int])
    case integerLists([[Int]])
    case real(Double)
    case reals([Double])
    case realLists([[Double]])
    case complex(Double, Double)
    case bool(Bool)
    case bools([Bool])
    case string(String)
    case strings([String])
    case symbolicInteger(Symbolic<Int>)
    case symbolicIntegers([Symbolic<Int>])
    case symbolicReal(Symbolic<Double>)
    case symbolicReals([Symbolic<Double>])
    case symbolicBool(Symbolic<Bool>)
    case symbolicBools([Symbolic<Bool>])
    case dtype(ScalarType)
    case memoryFormat(MemoryFormat)
    case layout(Layout)
    case device(Device)
    /// Of an operator that takes graphs, such as a part without gradients.
    case graph(name: String, Graph)
    case operation(String)
    /// An object that only the code of its class understands.
    case customObject(name: String, className: String)
    case dictionary([String: Argument])
  }

  /// A constant, or the name of a value that sizes decide.
  package enum Symbolic<Value: Equatable & Sendable>: Equatable, Sendable {
    case name(String)
    case value(Value)
  }
}

extension ExportedProgram.Argument {
  /// The names of values in it, which a node gives or uses; graphs have inputs of their own.
  package var names: [String] {
    switch self {
    case .tensor(let name), .customObject(let name, _): [name]
    case .tensors(let names): names
    case .optionalTensor(let name): name.map { [$0] } ?? []
    case .optionalTensors(let names): names.compactMap { $0 }
    case .nestedTensors(let lists): lists.flatMap { $0 }
    case .symbolicInteger(let value): value.names
    case .symbolicIntegers(let values): values.flatMap(\.names)
    case .symbolicReal(let value): value.names
    case .symbolicReals(let values): values.flatMap(\.names)
    case .symbolicBool(let value): value.names
    case .symbolicBools(let values): values.flatMap(\.names)
    case .dictionary(let members):
      members.sorted { $0.key < $1.key }.flatMap(\.value.names)
    case .none, .integer, .integers, .integerLists, .real, .reals, .realLists, .complex, .bool,
      .bools, .string, .strings, .dtype, .memoryFormat, .layout, .device, .graph, .operation:
      []
    }
  }
}

extension ExportedProgram.Symbolic {
  fileprivate var names: [String] {
    if case .name(let name) = self { [name] } else { [] }
  }
}
