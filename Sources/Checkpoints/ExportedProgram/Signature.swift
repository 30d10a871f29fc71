extension ExportedProgram {
  /// What the inputs and outputs of the graph are for, in their order.
  package struct Signature: Equatable, Sendable {
    package var inputs: [Input]
    package var outputs: [Output]

    /// `value` is a name in the graph, other names are those of the `state_dict`.
    package enum Input: Equatable, Sendable {
      case parameter(value: String, name: String)
      case buffer(value: String, name: String, isPersistent: Bool)
      case constant(value: String, name: String)
      /// A tensor, or a number that the graph takes.
      case user(Argument)
      /// An input of the user's for which the graph is made: its value, which is part of the graph.
      case fixed(name: String, Argument)
      /// Keeps effects in order, and is no number.
      case token(value: String)
    }

    /// Where operators work in place the graph itself says so; only a functional graph has outputs
    /// for what they would have changed.
    package enum Output: Equatable, Sendable {
      case user(Argument)
      case loss(value: String)
      case bufferMutation(value: String, name: String)
      case parameterMutation(value: String, name: String)
      case userInputMutation(value: String, input: String)
      case parameterGradient(value: String, name: String)
      case userInputGradient(value: String, input: String)
      case token(value: String)
    }
  }
}

extension ExportedProgram.Signature.Input {
  /// The name of the tensor that it stands for, and whether the `state_dict` has it.
  package var weight: (name: String, isPersistent: Bool)? {
    switch self {
    case .parameter(_, let name): (name, true)
    case .buffer(_, let name, let isPersistent): (name, isPersistent)
    case .constant(_, let name): (name, false)
    case .user, .fixed, .token: nil
    }
  }

  /// Its name in the graph, if it has one.
  package var value: String? {
    switch self {
    case .parameter(let value, _), .buffer(let value, _, _), .constant(let value, _),
      .token(let value):
      value
    case .user(let argument): argument.names.first
    case .fixed: nil
    }
  }
}

extension ExportedProgram.Signature.Output {
  /// Its name in the graph, if it has one.
  package var value: String? {
    switch self {
    case .user(let argument): argument.names.first
    case .loss(let value), .bufferMutation(let value, _), .parameterMutation(let value, _),
      .userInputMutation(let value, _), .parameterGradient(let value, _),
      .userInputGradient(let value, _), .token(let value):
      value
    }
  }
}

// MARK: - Reading

extension ExportedProgram.Signature {
  init(_ json: JSONValue, _ expressions: SymbolicExpressions) throws(CheckpointError) {
    inputs = try json["input_specs"].list { json throws(CheckpointError) in
      try .init(json, expressions)
    }
    outputs = try json["output_specs"].list { json throws(CheckpointError) in
      try .init(json, expressions)
    }
  }
}

extension ExportedProgram.Signature.Input {
  fileprivate init(_ json: JSONValue, _ expressions: SymbolicExpressions) throws(CheckpointError) {
    let (kind, input) = try json.onlyMember()
    let value = input["arg"]["name"]
    switch kind {
    case "parameter":
      self = .parameter(value: try value.string(), name: try input["parameter_name"].string())
    case "buffer":
      self = .buffer(
        value: try value.string(), name: try input["buffer_name"].string(),
        isPersistent: try input["persistent"].bool())
    case "tensor_constant":
      self = .constant(
        value: try value.string(), name: try input["tensor_constant_name"].string())
    case "user_input": self = .user(try .init(input["arg"], expressions))
    case "constant_input":
      self = .fixed(
        name: try input["name"].string(), try .init(input["value"], expressions))
    case "token": self = .token(value: try value.string())
    case "custom_obj":
      throw json.wrong(
        "a tensor or a number",
        hint: "\(quoted(try input["custom_obj_name"].string())) is an object of the class "
          + "\(quoted(try input["arg"]["class_fqn"].string())), which only its own code understands."
      )
    default: throw json.wrong("an input of a known kind")
    }
  }
}

extension ExportedProgram.Signature.Output {
  fileprivate init(_ json: JSONValue, _ expressions: SymbolicExpressions) throws(CheckpointError) {
    let (kind, output) = try json.onlyMember()
    if kind == "user_output" {
      self = .user(try .init(output["arg"], expressions))
      return
    }
    let value = try output["arg"]["name"].string()
    switch kind {
    case "loss_output": self = .loss(value: value)
    case "buffer_mutation":
      self = .bufferMutation(value: value, name: try output["buffer_name"].string())
    case "parameter_mutation":
      self = .parameterMutation(value: value, name: try output["parameter_name"].string())
    case "user_input_mutation":
      self = .userInputMutation(value: value, input: try output["user_input_name"].string())
    case "gradient_to_parameter":
      self = .parameterGradient(value: value, name: try output["parameter_name"].string())
    case "gradient_to_user_input":
      self = .userInputGradient(value: value, input: try output["user_input_name"].string())
    case "token": self = .token(value: value)
    default: throw json.wrong("an output of a known kind")
    }
  }
}
