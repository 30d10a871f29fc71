import GraphModule
import TensorModule

/// Tensors that no data decide.
extension Operators {
  static let creation: [String: Builder] = {
    var table: [String: Builder] = [:]
    for (name, value) in [("zeros", 0.0), ("ones", 1.0)] {
      for form in ["\(name)", "new_\(name)", "\(name)_like"] {
        table["aten.\(form).default"] = { try [filled(&$0, $1, value)] }
      }
    }
    for name in ["full.default", "full_like.default", "new_full.default"] {
      table["aten.\(name)"] = { try [filled(&$0, $1, $1.real("fill_value"))] }
    }
    for name in ["fill.Scalar", "zero.default"] {
      table["aten.\(name)"] = { try [filled(&$0, $1, $1.real("value", default: 0))] }
    }
    table["aten.scalar_tensor.default"] = { try [filled(&$0, $1, $1.real("s"))] }
    table["aten.arange.default"] = range
    table["aten.arange.start"] = range
    table["aten.arange.start_step"] = range
    for name in ["eye.default", "eye.m"] {
      table["aten.\(name)"] = { _, call in
        let result = call.results[0]
        let columns = result.sizes[1]
        let count = try TensorBuilder.constantCount(result.sizes)
        let values = (0..<count).map { $0 / columns == $0 % columns ? 1.0 : 0 }
        return [
          ImportedTensor(
            sizes: result.sizes, batch: nil, kind: result.kind, storage: .constant(values))
        ]
      }
    }
    for (name, keepsLower) in [("tril", true), ("triu", false)] {
      table["aten.\(name).default"] = { builder, call in
        let x = try call.tensor("self")
        return [
          try builder.triangle(
            x, diagonal: call.integer("diagonal", default: 0), keepsLower: keepsLower)
        ]
      }
    }
    table["aten.copy.default"] = { builder, call in
      [try builder.expanded(call.tensor("src"), call.tensor("self").sizes)]
    }
    return table
  }()

  @Sendable private static func filled(
    _ builder: inout TensorBuilder, _ call: OperatorCall, _ value: Double
  ) throws -> ImportedTensor {
    let result = call.results[0]
    return try builder.expanded(builder.scalar(value, kind: result.kind), result.sizes)
  }

  @Sendable private static func range(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> [ImportedTensor] {
    let (start, step) = (try call.real("start", default: 0), try call.real("step", default: 1))
    guard call.has("end") else { throw ImportFailure("a range without an end") }
    let result = call.results[0]
    if call.dependsOnSamples("end"), start == 0, step == 1, result.sizes == [builder.samples] {
      return [
        ImportedTensor(
          sizes: result.sizes, batch: .init(axis: 0), kind: .integer, storage: .sampleNumbers)
      ]
    }
    _ = try call.real("end")
    let count = try TensorBuilder.constantCount(result.sizes)
    let values = (0..<count).map { start + Double($0) * step }
    return [
      ImportedTensor(sizes: result.sizes, batch: nil, kind: result.kind, storage: .constant(values))
    ]
  }
}

extension TensorBuilder {
  mutating func triangle(
    _ x: ImportedTensor, diagonal: Int, keepsLower: Bool
  ) throws -> ImportedTensor {
    guard x.rank >= 2, (x.batch?.axis ?? -1) < x.rank - 2 else {
      throw ImportFailure.mixing("a triangle of samples")
    }
    let shape = Array(x.sizes.suffix(2))
    let mask = (0..<(try Self.constantCount(shape))).map { place -> Double in
      let distance = place % shape[1] - place / shape[1]
      return (keepsLower ? distance <= diagonal : distance >= diagonal) ? 1 : 0
    }
    let condition = ImportedTensor(
      sizes: shape, batch: nil, kind: .boolean, storage: .constant(mask))
    var result = try chosen(condition, x, scalar(0, kind: x.kind))
    result.kind = x.kind
    return result
  }
}
