import Foundation
import GraphModule
import TensorModule

extension Operators {
  static let arithmetic = single([
    "aten.add.Tensor": { try $0.sum(other($1, "self"), scaledOther(&$0, $1)) },
    "aten.add.Scalar": { try $0.sum(other($1, "self"), scaledOther(&$0, $1)) },
    "aten.sub.Tensor": { try $0.difference(other($1, "self"), scaledOther(&$0, $1)) },
    "aten.sub.Scalar": { try $0.difference(other($1, "self"), scaledOther(&$0, $1)) },
    "aten.rsub.Scalar": { try $0.difference(other($1, "other"), scaledOther(&$0, $1, "self")) },
    "aten.rsub.Tensor": { try $0.difference(other($1, "other"), scaledOther(&$0, $1, "self")) },
    "aten.mul.Tensor": { try $0.product(other($1, "self"), other($1, "other")) },
    "aten.mul.Scalar": { try $0.product(other($1, "self"), other($1, "other")) },
    "aten.div.Tensor": { try $0.quotient(other($1, "self"), other($1, "other")) },
    "aten.div.Scalar": { try $0.quotient(other($1, "self"), other($1, "other")) },
    "aten.div.Tensor_mode": constantDivision,
    "aten.floor_divide.default": constantDivision,
    "aten.addcmul.default": { builder, call in
      let scale = try call.real("value", default: 1)
      let product = try builder.product(call.tensor("tensor1"), call.tensor("tensor2"))
      return try builder.sum(call.tensor("self"), product, factor: scale)
    },
    "aten.addcdiv.default": { builder, call in
      let scale = try call.real("value", default: 1)
      let quotient = try builder.quotient(call.tensor("tensor1"), call.tensor("tensor2"))
      return try builder.sum(call.tensor("self"), quotient, factor: scale)
    },
    "aten.lerp.Tensor": lerp, "aten.lerp.Scalar": lerp,
    "aten.pow.Tensor_Scalar": { builder, call in
      let x = try call.tensor("self")
      return switch try call.real("exponent") {
      case 0.5: try builder.unary("sqrt", x)
      case 1: x
      case 2: try builder.product(x, x)
      case let exponent: try builder.unary("pow", x, exponent)
      }
    },
    "aten.pow.Scalar": { builder, call in
      let base = try call.real("self")
      guard base > 0 else { throw ImportFailure("a power of \(base)") }
      let exponent = try builder.scaled(call.tensor("exponent"), by: log(base))
      return try builder.unary("exp", exponent)
    },
    "aten.outer.default": { builder, call in
      let (a, b) = (try call.tensor("self"), try call.tensor("vec2"))
      return try builder.product(builder.unsqueezed(a, 1), builder.unsqueezed(b, 0))
    },
    "aten.square.default": { try $0.product($1.tensor("self"), $1.tensor("self")) },
    "aten.neg.default": { try $0.scaled($1.tensor("self"), by: -1) },
    "aten.maximum.default": {
      try $0.extreme(.greaterOrEqual, $1.tensor("self"), $1.tensor("other"))
    },
    "aten.minimum.default": {
      try $0.extreme(.lessOrEqual, $1.tensor("self"), $1.tensor("other"))
    },
    "aten.where.self": {
      try $0.chosen(other($1, "condition"), other($1, "self"), other($1, "other"))
    },
    "aten.where.ScalarOther": {
      try $0.chosen(other($1, "condition"), other($1, "self"), other($1, "other"))
    },
    "aten.where.ScalarSelf": {
      try $0.chosen(other($1, "condition"), other($1, "self"), other($1, "other"))
    },
    "aten.where.Scalar": {
      try $0.chosen(other($1, "condition"), other($1, "self"), other($1, "other"))
    },
    "aten.masked_fill.Scalar": {
      try $0.chosen($1.tensor("mask"), other($1, "value"), $1.tensor("self"))
    },
    "aten.masked_fill.Tensor": {
      try $0.chosen($1.tensor("mask"), other($1, "value"), $1.tensor("self"))
    },
  ])

  /// An operand that is a tensor or a number.
  @Sendable private static func other(
    _ call: OperatorCall, _ name: String
  ) throws -> ImportedTensor {
    if let tensor = call.optionalTensor(name) { return tensor }
    let value = try call.real(name)
    return ImportedTensor(
      sizes: [], batch: nil, kind: call.isInteger(name) ? .integer : .real,
      storage: .constant([value]))
  }

  @Sendable private static func scaledOther(
    _ builder: inout TensorBuilder, _ call: OperatorCall, _ name: String = "other"
  ) throws -> ImportedTensor {
    try builder.scaled(other(call, name), by: call.real("alpha", default: 1))
  }

  @Sendable private static func lerp(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let start = try call.tensor("self")
    let way = try builder.difference(call.tensor("end"), start)
    return try builder.sum(start, builder.product(other(call, "weight"), way))
  }

  /// Division that rounds has no derivatives: of constants alone.
  @Sendable private static func constantDivision(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let (a, b) = (try call.tensor("self"), try other(call, "other"))
    let mode = try call.string("rounding_mode", default: call.has("rounding_mode") ? "" : "floor")
    let kind: ImportedTensor.Kind =
      a.kind == .real || b.kind == .real ? .real : .integer
    guard ["floor", "trunc"].contains(mode),
      let result = try builder.folded(
        [a, b], kind: kind,
        {
          ($0[0] / $0[1]).rounded(mode == "floor" ? .down : .towardZero)
        })
    else { throw ImportFailure("division that rounds is supported between constants only") }
    return result
  }

  // MARK: - Functions of one number

  static let functions: [String: Builder] = {
    var table: [String: Builder] = [:]
    let names = [
      "relu", "silu", "tanh", "sigmoid", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt",
      "reciprocal", "abs", "sin", "cos", "erf", "selu", "hardsigmoid", "hardswish", "mish",
      "log_sigmoid",
    ]
    for name in names {
      table["aten.\(name).default"] = { builder, call in
        let x = try call.tensor("self")
        if let values = x.constants, let function = constantFunctions[name] {
          return [builder.with(x, values.map(function), kind: .real)]
        }
        return [try builder.unary(name, x)]
      }
    }
    // The function, then its options in the order of the table of functions: name, default.
    let options: [(String, [(String, Double)])] = [
      ("leaky_relu", [("negative_slope", 0.01)]),
      ("softplus", [("beta", 1), ("threshold", 20)]),
      ("clamp", [("min", -.infinity), ("max", .infinity)]),
      ("hardtanh", [("min_val", -1), ("max_val", 1)]),
      ("celu", [("alpha", 1)]),
    ]
    for (name, options) in options {
      table["aten.\(name).default"] = { builder, call in
        var function = ElementFunction(name)!
        for (place, option) in options.enumerated() {
          function = function.with(place, try call.real(option.0, default: option.1))
        }
        return [try builder.unary(function, call.tensor("self"))]
      }
    }
    return table.merging(single(otherFunctions)) { first, _ in first }
  }()

  private static let constantFunctions: [String: @Sendable (Double) -> Double] = [
    "abs": { abs($0) }, "sqrt": { $0.squareRoot() }, "reciprocal": { 1 / $0 },
  ]

  private static let otherFunctions:
    [String: @Sendable (inout TensorBuilder, OperatorCall) throws -> ImportedTensor] = [
      "aten.gelu.default": { builder, call in
        let isTanh = try call.string("approximate", default: "none") == "tanh"
        return try builder.unary(isTanh ? .geluTanh : .gelu, call.tensor("self"))
      },
      "aten.elu.default": { builder, call in
        let x = try builder.unary("elu", call.tensor("self"), call.real("alpha", default: 1))
        guard try call.real("input_scale", default: 1) == 1, try call.real("scale", default: 1) == 1
        else { throw ImportFailure("only an ELU with scales of 1 is supported") }
        return x
      },
      "aten.log2.default": { builder, call in
        try builder.scaled(builder.unary("log", call.tensor("self")), by: 1 / log(2))
      },
      "aten.log10.default": { builder, call in
        try builder.scaled(builder.unary("log", call.tensor("self")), by: 1 / log(10))
      },
      "aten.threshold.default": { builder, call in
        let x = try call.tensor("self")
        let isAbove = try builder.compared(
          .greater, x, builder.scalar(call.real("threshold")))
        return try builder.chosen(isAbove, x, builder.scalar(call.real("value")))
      },
      "aten.softshrink.default": { builder, call in
        let x = try call.tensor("self")
        let lambda = try call.real("lambd", default: 0.5)
        return try builder.difference(x, builder.unary("clamp", x, -lambda, lambda))
      },
      "aten.hardshrink.default": { builder, call in
        let x = try call.tensor("self")
        let isOutside = try builder.compared(
          .greater, builder.unary("abs", x), builder.scalar(call.real("lambd", default: 0.5)))
        return try builder.chosen(isOutside, x, builder.scalar(0))
      },
      "aten.relu6.default": { try $0.unary("hardtanh", $1.tensor("self"), 0, 6) },
      "aten.clamp_min.default": { builder, call in
        try builder.unary("clamp", call.tensor("self"), call.real("min"))
      },
      "aten.clamp_max.default": { builder, call in
        try builder.unary("clamp", call.tensor("self"), -.infinity, call.real("max"))
      },
      "aten.prelu.default": { builder, call in
        let x = try call.tensor("self")
        var weight = try call.tensor("weight")
        if x.rank > 1, weight.sizes != [1] {
          // One slope for each channel.
          for _ in 2..<x.rank { weight = builder.unsqueezed(weight, weight.rank) }
        }
        let positive = try builder.compared(.greater, x, builder.scalar(0))
        return try builder.chosen(positive, x, builder.product(x, weight))
      },
      "aten.glu.default": { builder, call in
        let x = try call.tensor("self")
        let dimension = try call.dimension("dim", rank: x.rank, default: -1)
        let half = x.sizes[dimension] / 2
        let a = try builder.sliced(x, dimension, start: 0, count: half)
        let b = try builder.sliced(x, dimension, start: half, count: half)
        return try builder.product(a, builder.unary(.sigmoid, b))
      },
      "aten.rrelu.default": { builder, call in
        guard try !call.bool("training", default: false) else {
          throw ImportFailure("random slopes: call net.eval() before torch.export.export")
        }
        let (lower, upper) = (
          try call.real("lower", default: 1.0 / 8), try call.real("upper", default: 1.0 / 3)
        )
        return try builder.unary("leaky_relu", call.tensor("self"), (lower + upper) / 2)
      },
      "aten.sign.default": { builder, call in
        let x = try call.tensor("self")
        let zero = builder.scalar(0)
        let positive = try builder.compared(.greater, x, zero)
        let negative = try builder.compared(.less, x, zero)
        return try builder.difference(positive, negative)
      },
      "aten.softmax.int": softmax, "aten._softmax.default": softmax,
      "aten.log_softmax.int": logSoftmax, "aten._log_softmax.default": logSoftmax,
      "aten.dropout.default": dropout, "aten.native_dropout.default": dropout,
      "aten.feature_dropout.default": dropout, "aten.alpha_dropout.default": dropout,
      "aten.feature_alpha_dropout.default": dropout,
    ]

  @Sendable private static func softmax(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let x = try call.tensor("self")
    return try builder.softmax(x, call.dimension("dim", rank: x.rank))
  }

  @Sendable private static func logSoftmax(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let x = try call.tensor("self")
    return try builder.softmax(x, call.dimension("dim", rank: x.rank), isLogarithm: true)
  }

  /// The identity in evaluation mode.
  @Sendable private static func dropout(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let p = try call.real("p", default: 0.5)
    if try call.bool("train", default: true), p > 0 {
      throw ImportFailure("dropout in training mode: call net.eval() before torch.export.export")
    }
    return try call.optionalTensor("input") ?? call.tensor("self")
  }

  // MARK: - Comparisons

  static let comparisons: [String: Builder] = {
    var table: [String: Builder] = [:]
    let kinds: [(String, Comparison.Kind)] = [
      ("eq", .equal), ("ne", .notEqual), ("lt", .less), ("le", .lessOrEqual), ("gt", .greater),
      ("ge", .greaterOrEqual),
    ]
    for (name, kind) in kinds {
      for overload in ["Tensor", "Scalar"] {
        table["aten.\(name).\(overload)"] = { builder, call in
          [try builder.compared(kind, other(call, "self"), other(call, "other"))]
        }
      }
    }
    let logic = single([
      "aten.logical_not.default": not, "aten.bitwise_not.default": not,
      "aten.logical_and.default": and, "aten.bitwise_and.Tensor": and,
      "aten.__and__.Tensor": and,
      "aten.logical_or.default": or, "aten.bitwise_or.Tensor": or, "aten.__or__.Tensor": or,
    ])
    return table.merging(logic) { first, _ in first }
  }()

  @Sendable private static func not(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    try builder.compared(.equal, boolean(call, "self"), builder.scalar(0))
  }

  @Sendable private static func and(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let product = try builder.product(boolean(call, "self"), boolean(call, "other"))
    return try builder.compared(.notEqual, product, builder.scalar(0))
  }

  @Sendable private static func or(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let sum = try builder.sum(boolean(call, "self"), boolean(call, "other"))
    return try builder.compared(.notEqual, sum, builder.scalar(0))
  }

  @Sendable private static func boolean(
    _ call: OperatorCall, _ name: String
  ) throws -> ImportedTensor {
    let tensor = try call.tensor(name)
    guard tensor.kind == .boolean else { throw ImportFailure("\(name) is no mask of booleans") }
    return tensor
  }
}
