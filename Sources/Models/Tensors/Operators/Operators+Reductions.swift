import GraphModule
import TensorModule

extension Operators {
  static let reductions: [String: Builder] = single(oneResult).merging([
    "aten.max.dim": { try extremes(&$0, $1, isMaximum: true) },
    "aten.min.dim": { try extremes(&$0, $1, isMaximum: false) },
    "aten.var_mean.correction": { builder, call in
      [
        try reduce(&builder, call, variance(call)), try reduce(&builder, call, .mean),
      ]
    },
    "aten.std_mean.correction": { builder, call in
      [
        try builder.unary("sqrt", reduce(&builder, call, variance(call))),
        try reduce(&builder, call, .mean),
      ]
    },
  ]) { first, _ in first }

  /// The values along a dimension and, where something asks, their places.
  @Sendable private static func extremes(
    _ builder: inout TensorBuilder, _ call: OperatorCall, isMaximum: Bool
  ) throws -> [ImportedTensor] {
    let value = try reduce(&builder, call, isMaximum ? .maximum : .minimum)
    guard builder.isRead(call, 1) else { return [value] }
    let x = try call.tensor("self")
    return [
      value,
      try builder.extremePlace(
        x, call.dimension("dim", rank: x.rank), isMaximum: isMaximum,
        keeps: call.bool("keepdim", default: false)),
    ]
  }

  private static let oneResult:
    [String: @Sendable (inout TensorBuilder, OperatorCall) throws -> ImportedTensor] = [
      "aten.mean.dim": { try reduce(&$0, $1, .mean) },
      "aten.mean.default": { try reduce(&$0, $1, .mean) },
      "aten.sum.dim_IntList": { try reduce(&$0, $1, .sum) },
      "aten.sum.default": { try reduce(&$0, $1, .sum) },
      "aten.amax.default": { try reduce(&$0, $1, .maximum) },
      "aten.amin.default": { try reduce(&$0, $1, .minimum) },
      "aten.max.default": { try reduce(&$0, $1, .maximum) },
      "aten.min.default": { try reduce(&$0, $1, .minimum) },
      "aten.max.other": {
        try $0.extreme(.greaterOrEqual, $1.tensor("self"), $1.tensor("other"))
      },
      "aten.min.other": { try $0.extreme(.lessOrEqual, $1.tensor("self"), $1.tensor("other")) },
      "aten.any.dim": {
        try $0.compared(.greater, reduce(&$0, $1, .maximum), $0.scalar(0))
      },
      "aten.all.dim": {
        try $0.compared(.greater, reduce(&$0, $1, .minimum), $0.scalar(0))
      },
      "aten.prod.dim_int": { builder, call in
        let x = try call.tensor("self")
        return try builder.multiplied(
          x, [call.dimension("dim", rank: x.rank)], keeps: call.bool("keepdim", default: false))
      },
      "aten.prod.default": { builder, call in
        let x = try call.tensor("self")
        return try builder.multiplied(x, Array(0..<x.rank), keeps: false)
      },
      "aten.var.correction": { try reduce(&$0, $1, variance($1)) },
      "aten.var.dim": { try reduce(&$0, $1, variance($1)) },
      "aten.std.correction": { try $0.unary("sqrt", reduce(&$0, $1, variance($1))) },
      "aten.std.dim": { try $0.unary("sqrt", reduce(&$0, $1, variance($1))) },
      "aten.logsumexp.default": { builder, call in
        let x = try call.tensor("self")
        let dimensions = try call.dimensions("dim", rank: x.rank)
        let largest = try builder.reduced(x, .maximum, dimensions, keeps: true)
        let powers = try builder.unary("exp", builder.difference(x, largest))
        let sum = try builder.reduced(powers, .sum, dimensions, keeps: true)
        let result = try builder.sum(builder.unary("log", sum), largest)
        return try call.bool("keepdim", default: false)
          ? result : builder.squeezed(result, dimensions)
      },
      "aten.linalg_vector_norm.default": { builder, call in
        let x = try call.tensor("self")
        return try builder.norm(
          x, call.dimensions("dim", rank: x.rank), order: call.real("ord", default: 2),
          keeps: call.bool("keepdim", default: false))
      },
      "aten.norm.ScalarOpt_dim": { builder, call in
        let x = try call.tensor("self")
        return try builder.norm(
          x, call.dimensions("dim", rank: x.rank), order: call.real("p", default: 2),
          keeps: call.bool("keepdim", default: false))
      },
      "aten.cumsum.default": { builder, call in
        let x = try builder.real(call.tensor("self"))
        let dimension = try call.dimension("dim", rank: x.rank)
        guard x.batch?.axis != dimension else {
          throw ImportFailure.mixing("a cumulative sum over the samples")
        }
        let kind = x.kind == .boolean ? ImportedTensor.Kind.integer : x.kind
        if let values = x.constants {
          let shape = x.sampleShape
          let stride = rowMajorStrides(shape)[x.sampleAxis(dimension)]
          var sums = values
          for index in values.indices where index / stride % x.sizes[dimension] > 0 {
            sums[index] += sums[index - stride]
          }
          return builder.with(x, sums, kind: kind)
        }
        let place = x.order.firstIndex(of: x.sampleAxis(dimension))!
        let id = try builder.alongAxis(x, place) { CumulativeSum(axis: $0) }
        return builder.made(
          id, x.sizes, x.batch, order: x.order, kind: kind)
      },
    ]

  @Sendable private static func reduce(
    _ builder: inout TensorBuilder, _ call: OperatorCall, _ kind: Reduction.Kind
  ) throws -> ImportedTensor {
    let x = try call.tensor("self")
    return try builder.reduced(
      x, kind, call.dimensions("dim", rank: x.rank),
      keeps: call.bool("keepdim", default: false))
  }

  @Sendable private static func variance(_ call: OperatorCall) throws -> Reduction.Kind {
    if try call.has("unbiased") && !call.bool("unbiased", default: true) {
      return .variance(correction: 0)
    }
    return .variance(correction: try call.real("correction", default: 1))
  }
}

extension TensorBuilder {
  /// Products of all entries of dimensions, half with half: zeros have their derivatives too.
  fileprivate mutating func multiplied(
    _ x: ImportedTensor, _ dimensions: [Int], keeps: Bool
  ) throws -> ImportedTensor {
    var result = try real(x)
    for dimension in dimensions {
      while result.sizes[dimension] > 1 {
        let (size, half) = (result.sizes[dimension], result.sizes[dimension] / 2)
        let pairs = try product(
          sliced(result, dimension, start: 0, count: half),
          sliced(result, dimension, start: half, count: half))
        result =
          size % 2 == 0
          ? pairs
          : try concatenated(
            [pairs, sliced(result, dimension, start: size - 1, count: 1)], dimension)
      }
    }
    return keeps ? result : squeezed(result, dimensions)
  }

  mutating func norm(
    _ x: ImportedTensor, _ dimensions: [Int], order: Double, keeps: Bool
  ) throws -> ImportedTensor {
    switch order {
    case 2:
      let squares = try reduced(product(x, x), .sum, dimensions, keeps: keeps)
      if squares.batch == nil { return try unary("sqrt", squares) }
      // As in PyTorch a norm of zeros has the derivative 0: of padding there are such rows.
      let isZero = try compared(.equal, squares, scalar(0))
      let root = try unary("sqrt", chosen(isZero, scalar(1), squares))
      return try chosen(isZero, scalar(0), root)
    case 1: return try reduced(unary("abs", x), .sum, dimensions, keeps: keeps)
    case .infinity: return try reduced(unary("abs", x), .maximum, dimensions, keeps: keeps)
    default: throw ImportFailure("a norm of order \(order); there are 1, 2 and infinity")
    }
  }
}
