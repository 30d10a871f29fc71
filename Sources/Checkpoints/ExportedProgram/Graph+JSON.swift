// From `models/model.json`. Of structures the schema lets keys be ignored that are not known, and keys
// be missing that have a default; of kinds of values it does not.

/// Texts of expressions and what they mean: the same few stand in every type of a graph.
final class SymbolicExpressions {
  private var known: [String: SymbolicExpression] = [:]

  func expression(_ json: JSONValue) throws(CheckpointError) -> SymbolicExpression {
    let text = try json.string()
    if let known = known[text] { return known }
    do throws(SymbolicExpression.Defect) {
      let expression = try SymbolicExpression(parsing: text)
      known[text] = expression
      return expression
    } catch {
      throw json.wrong(
        "an expression of known functions and symbols",
        hint: "What cannot be read begins with \(quoted(error.rest)).")
    }
  }
}

extension ExportedProgram.Graph {
  init(_ json: JSONValue, _ expressions: SymbolicExpressions) throws(CheckpointError) {
    inputs = try json["inputs"].list { json throws(CheckpointError) in
      try .init(json, expressions)
    }
    outputs = try json["outputs"].list { json throws(CheckpointError) in
      try .init(json, expressions)
    }
    nodes = try json["nodes"].list { json throws(CheckpointError) in
      try .init(json, expressions)
    }
    tensors = try json["tensor_values"].dictionary { json throws(CheckpointError) in
      try .init(json, expressions)
    }
    let value = { (json: JSONValue) throws(CheckpointError) in
      try ExportedProgram.SymbolicValue(json, expressions)
    }
    integers = try json["sym_int_values"].dictionary(value)
    bools = try json["sym_bool_values"].dictionary(value)
    reals =
      json["sym_float_values"].exists ? try json["sym_float_values"].dictionary(value) : [:]
  }
}

extension ExportedProgram.Node {
  fileprivate init(_ json: JSONValue, _ expressions: SymbolicExpressions) throws(CheckpointError) {
    target = try json["target"].string()
    inputs = try json["inputs"].list { json throws(CheckpointError) in
      ExportedProgram.NamedArgument(
        name: try json["name"].string(),
        argument: try .init(json["arg"], expressions),
        isKeyword: try json["kind"].integer(default: 1) == 2)
    }
    outputs = try json["outputs"].list { json throws(CheckpointError) in
      try .init(json, expressions)
    }
    source = try ExportedProgram.Source(json["metadata"])
    let single = json["is_hop_single_tensor_return"]
    returnsSingleTensor = single.exists ? try single.bool() : nil
    name = try json["name"].string(default: outputs.first?.names.first ?? target)
  }
}

extension ExportedProgram.TensorType {
  init(_ json: JSONValue, _ expressions: SymbolicExpressions) throws(CheckpointError) {
    dtype = try json["dtype"].number(
      of: ExportedProgram.ScalarType.self, "the number of a dtype")
    sizes = try json["sizes"].list { json throws(CheckpointError) in
      try .init(json, expressions)
    }
    strides = try json["strides"].list { json throws(CheckpointError) in
      try .init(json, expressions)
    }
    storageOffset = try .init(json["storage_offset"], expressions)
    requiresGradient = try json["requires_grad"].bool()
    device = try .init(json["device"])
    layout = try json["layout"].number(
      of: ExportedProgram.Layout.self, "the number of a layout")
    // Sizes that no data decide are looked at here, so that whoever multiplies them need not.
    if sizes.contains(where: { ($0.expression.constant ?? 0) < 0 })
      || checkedByteCount(dtype.stored ?? .f64, sizes.compactMap(\.expression.constant)) == nil
    {
      throw json["sizes"].wrong("sizes that can be addressed")
    }
  }
}

extension ExportedProgram.Device {
  fileprivate init(_ json: JSONValue) throws(CheckpointError) {
    type = try json["type"].string()
    index = json["index"].exists ? try json["index"].integer() : nil
  }
}

extension ExportedProgram.SymbolicValue {
  fileprivate init(_ json: JSONValue, _ expressions: SymbolicExpressions) throws(CheckpointError) {
    let (kind, value) = try json.onlyMember()
    example = nil
    switch kind {
    case "as_int": expression = .integer(try value.integer())
    case "as_float": expression = .real(try value.real())
    case "as_bool": expression = .bool(try value.bool())
    case "as_expr":
      expression = try expressions.expression(value["expr_str"])
      if value["hint"]["as_int"].exists { example = try value["hint"]["as_int"].integer() }
    default: throw json.wrong("a number or an expression")
    }
  }
}

// MARK: - Arguments

extension ExportedProgram.Argument {
  init(_ json: JSONValue, _ expressions: SymbolicExpressions) throws(CheckpointError) {
    let (kind, value) = try json.onlyMember()
    switch kind {
    case "as_none": self = .none
    case "as_tensor": self = .tensor(try value["name"].string())
    case "as_tensors": self = .tensors(try value.list(Self.name))
    case "as_optional_tensor": self = .optionalTensor(try Self.optionalName(value))
    case "as_optional_tensors": self = .optionalTensors(try value.list(Self.optionalName))
    case "as_nested_tensors":
      self = .nestedTensors(
        try value.list { list throws(CheckpointError) in try list.list(Self.name) })
    case "as_int": self = .integer(try value.integer())
    case "as_ints": self = .integers(try value.integers())
    case "as_int_lists":
      self = .integerLists(
        try value.list { list throws(CheckpointError) in try list.integers() })
    case "as_float": self = .real(try value.real())
    case "as_floats": self = .reals(try Self.reals(value))
    case "as_float_lists": self = .realLists(try value.list(Self.reals))
    case "as_complex": self = .complex(try value["real"].real(), try value["imag"].real())
    case "as_bool": self = .bool(try value.bool())
    case "as_bools":
      self = .bools(try value.list { json throws(CheckpointError) in try json.bool() })
    case "as_string": self = .string(try value.string())
    case "as_strings": self = .strings(try value.strings())
    case "as_sym_int": self = .symbolicInteger(try Self.integer(value))
    case "as_sym_ints": self = .symbolicIntegers(try value.list(Self.integer))
    case "as_sym_float": self = .symbolicReal(try Self.real(value))
    case "as_sym_floats": self = .symbolicReals(try value.list(Self.real))
    case "as_sym_bool": self = .symbolicBool(try Self.bool(value))
    case "as_sym_bools": self = .symbolicBools(try value.list(Self.bool))
    case "as_scalar_type":
      self = .dtype(
        try value.number(of: ExportedProgram.ScalarType.self, "the number of a dtype"))
    case "as_memory_format":
      self = .memoryFormat(
        try value.number(of: ExportedProgram.MemoryFormat.self, "the number of a memory format"))
    case "as_layout":
      self = .layout(try value.number(of: ExportedProgram.Layout.self, "the number of a layout"))
    case "as_device": self = .device(try .init(value))
    case "as_graph":
      self = .graph(
        name: try value["name"].string(), try .init(value["graph"], expressions))
    case "as_operator": self = .operation(try value.string())
    case "as_custom_obj":
      self = .customObject(
        name: try value["name"].string(), className: try value["class_fqn"].string())
    case "as_string_to_argument":
      self = .dictionary(
        try value.dictionary { json throws(CheckpointError) in try .init(json, expressions) })
    default: throw Self.unknown(kind, json)
    }
  }

  private static func unknown(_ kind: String, _ json: JSONValue) -> CheckpointError {
    json.wrong(
      "an argument of a known kind", hint: "\(quoted(kind)) is of a later version of PyTorch.")
  }

  private static func name(_ json: JSONValue) throws(CheckpointError) -> String {
    try json["name"].string()
  }

  private static func optionalName(_ json: JSONValue) throws(CheckpointError) -> String? {
    let (kind, value) = try json.onlyMember()
    switch kind {
    case "as_tensor": return try value["name"].string()
    case "as_none": return nil
    default: throw unknown(kind, json)
    }
  }

  private static func reals(_ json: JSONValue) throws(CheckpointError) -> [Double] {
    try json.list { json throws(CheckpointError) in try json.real() }
  }

  private static func integer(
    _ json: JSONValue
  ) throws(CheckpointError) -> ExportedProgram.Symbolic<Int> {
    try symbolic(json, "as_int") { value throws(CheckpointError) in try value.integer() }
  }

  private static func real(
    _ json: JSONValue
  ) throws(CheckpointError) -> ExportedProgram.Symbolic<Double> {
    try symbolic(json, "as_float") { value throws(CheckpointError) in try value.real() }
  }

  private static func bool(
    _ json: JSONValue
  ) throws(CheckpointError) -> ExportedProgram.Symbolic<Bool> {
    try symbolic(json, "as_bool") { value throws(CheckpointError) in try value.bool() }
  }

  private static func symbolic<Value>(
    _ json: JSONValue, _ constant: String,
    _ read: (JSONValue) throws(CheckpointError) -> Value
  ) throws(CheckpointError) -> ExportedProgram.Symbolic<Value> {
    let (kind, value) = try json.onlyMember()
    switch kind {
    case "as_name": return .name(try value.string())
    case constant: return .value(try read(value))
    default: throw unknown(kind, json)
    }
  }
}

// MARK: - JSON

extension JSONValue {
  /// A real number; those that JSON has no form for are words.
  func real() throws(CheckpointError) -> Double {
    switch try content() {
    case .string("Infinity"): return .infinity
    case .string("-Infinity"): return -.infinity
    case .string("NaN"): return .nan
    default: return try double()
    }
  }

  func list<Element>(
    _ read: (JSONValue) throws(CheckpointError) -> Element
  ) throws(CheckpointError) -> [Element] {
    var result: [Element] = []
    for element in try array() { result.append(try read(element)) }
    return result
  }

  /// Sorted by key while it is read, so that of several defects the same one is always reported.
  func dictionary<Element>(
    _ read: (JSONValue) throws(CheckpointError) -> Element
  ) throws(CheckpointError) -> [String: Element] {
    var result: [String: Element] = [:]
    for key in try keys() { result[key] = try read(self[key]) }
    return result
  }
}
