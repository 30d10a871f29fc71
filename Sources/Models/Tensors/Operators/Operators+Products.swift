import GraphModule
import TensorModule

/// Linear layers and products of matrices.
extension Operators {
  static let products = single([
    "aten.linear.default": {
      try $0.linear($1.tensor("input"), $1.tensor("weight"), $1.optionalTensor("bias"))
    },
    "aten.addmm.default": { builder, call in
      let (beta, alpha) = (
        try call.real("beta", default: 1), try call.real("alpha", default: 1)
      )
      let (x, weight) = (try call.tensor("mat1"), try call.tensor("mat2"))
      let bias = try call.tensor("self")
      if beta == 1, alpha == 1 {
        return try builder.linear(x, builder.transposed(weight, 0, 1), bias)
      }
      let product = try builder.scaled(builder.matrixProduct(x, weight), by: alpha)
      return try builder.sum(product, bias, factor: beta)
    },
    "aten.baddbmm.default": { builder, call in
      let product = try builder.scaled(
        builder.matrixProduct(call.tensor("batch1"), call.tensor("batch2")),
        by: call.real("alpha", default: 1))
      return try builder.sum(product, call.tensor("self"), factor: call.real("beta", default: 1))
    },
    "aten.mm.default": { try $0.matrixProduct($1.tensor("self"), $1.tensor("mat2")) },
    "aten.bmm.default": { try $0.matrixProduct($1.tensor("self"), $1.tensor("mat2")) },
    "aten.matmul.default": { try $0.matrixProduct($1.tensor("self"), $1.tensor("other")) },
    "aten.mv.default": { try $0.matrixProduct($1.tensor("self"), $1.tensor("vec")) },
    "aten.vdot.default": { try $0.matrixProduct($1.tensor("self"), $1.tensor("other")) },
    "aten.bilinear.default": { builder, call in
      let (a, b) = (try call.tensor("input1"), try call.tensor("input2"))
      let weight = try call.tensor("weight")
      guard weight.rank == 3, a.rank == b.rank, a.rank > 0 else {
        throw ImportFailure("a bilinear form \(weight.sizes) of \(a.sizes) and \(b.sizes)")
      }
      let (outputs, inner) = (weight.sizes[0], weight.sizes[2])
      let rows = try builder.viewed(
        builder.permuted(weight, [0, 2, 1]), [outputs * inner, weight.sizes[1]])
      let front = Array(a.sizes.dropLast())
      let left = try builder.viewed(builder.linear(a, rows, nil), front + [outputs, inner])
      let terms = try builder.product(left, builder.unsqueezed(b, b.rank - 1))
      let result = try builder.reduced(terms, .sum, [terms.rank - 1], keeps: false)
      guard let bias = call.optionalTensor("bias") else { return result }
      return try builder.sum(result, bias)
    },
    "aten.dot.default": { try $0.matrixProduct($1.tensor("self"), $1.tensor("tensor")) },
    "aten.einsum.default": { builder, call in
      try builder.einsum(call.string("equation", default: ""), call.tensors("tensors"))
    },
    "aten._weight_norm.default": weightNorm,
    "aten._weight_norm_interface.default": weightNorm,
  ])

  /// `w = g v / |v|`, with norms over all dimensions but one.
  @Sendable private static func weightNorm(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let (v, g) = (try call.tensor("v"), try call.tensor("g"))
    let kept = try call.integer("dim", default: 0)
    let dimensions = kept == -1 ? Array(0..<v.rank) : (0..<v.rank).filter { $0 != kept }
    let norm = try builder.norm(v, dimensions, order: 2, keeps: true)
    return try builder.product(v, builder.quotient(g, norm))
  }
}

extension TensorBuilder {
  /// `x W^T + b` along the last dimension.
  mutating func linear(
    _ x: ImportedTensor, _ weight: ImportedTensor, _ bias: ImportedTensor?
  ) throws -> ImportedTensor {
    guard x.rank > 0, x.batch?.axis != x.rank - 1 else {
      throw ImportFailure.mixing("a product over the dimension of the samples")
    }
    let isOwnBias = bias.map { $0.wholeParameter != nil && $0.rank == 1 } ?? true
    guard let weight = weight.wholeParameter, let outputs = weightRows(weight), isOwnBias else {
      let product = try matrixProduct(x, transposed(weight, 0, max(weight.rank - 1, 0)))
      guard let bias else { return product }
      return try sum(product, bias)
    }
    let x = try real(x)
    let last = x.sampleAxis(x.rank - 1)
    let order = x.order.last == last ? x.order : Array(x.sampleShape.indices)
    let shape = x.sampleShape
    let positions = order.dropLast().map { shape[$0] }
    // Positions of length 1 are none.
    let rows = positions.filter { $0 > 1 }
    let input = try reshaped(stored(x, order), to: rows + [shape[last]])
    let parameters = [weight] + (bias?.wholeParameter.map { [$0] } ?? [])
    let id = try apply(Linear(), [input], parameters)
    var sizes = x.sizes
    sizes[x.rank - 1] = outputs
    return made(try reshaped(id, to: positions + [outputs]), sizes, x.batch, order: order)
  }

  private func weightRows(_ weight: ParameterID) -> Int? {
    let shape = graph.shape(of: weight)
    return shape.count == 2 ? shape[0] : nil
  }

  /// PyTorch's `matmul`: vectors, matrices, and matrices in leading dimensions that are repeated.
  mutating func matrixProduct(
    _ a: ImportedTensor, _ b: ImportedTensor
  ) throws -> ImportedTensor {
    guard a.rank > 0, b.rank > 0 else { throw ImportFailure("a product with a number") }
    if a.rank == 1 || b.rank == 1 {
      let result = try matrixProduct(
        a.rank == 1 ? unsqueezed(a, 0) : a, b.rank == 1 ? unsqueezed(b, 1) : b)
      let dropped =
        (a.rank == 1 ? [result.rank - 2] : []) + (b.rank == 1 ? [result.rank - 1] : [])
      return squeezed(result, dropped)
    }
    if b.transposedParameter != nil { return try linear(a, transposed(b, 0, 1), nil) }
    let rank = max(a.rank, b.rank)
    let (a, b) = (try real(a.padded(to: rank)), try real(b.padded(to: rank)))
    guard a.batch?.axis != rank - 1, b.batch?.axis != rank - 2 else {
      throw ImportFailure.mixing("a product over the dimension of the samples")
    }
    guard a.sizes[rank - 1] == b.sizes[rank - 2] else {
      throw ImportFailure("a product of \(a.sizes) and \(b.sizes)")
    }
    // Leading dimensions as of products of elements; rows or columns may run over samples too.
    func leading(_ tensor: ImportedTensor) -> ImportedTensor {
      var result = scalar(0)
      result.sizes = Array(tensor.sizes.dropLast(2))
      result.batch = (tensor.batch?.axis ?? rank) < rank - 2 ? tensor.batch : nil
      return result
    }
    let (front, frontSizes, frontBatch) = try matched([leading(a), leading(b)])
    if a.batch != nil, b.batch != nil, frontBatch == nil || a.batch != b.batch {
      throw ImportFailure.mixing("a product of samples with each other")
    }
    let m = rowsOrColumns(a, rank - 2)
    let n = rowsOrColumns(b, rank - 1)
    let k = a.sizes[rank - 1]
    // Transposed operands are not moved where they already lie so.
    let isTransposed = b.order.last == b.sampleAxis(rank - 2) && k > 1
    let left = try reshaped(canonical(a), to: long(front[0], front) + [m, k])
    let right = try reshaped(
      canonical(isTransposed ? transposed(b, rank - 2, rank - 1) : b),
      to: long(front[1], front) + (isTransposed ? [n, k] : [k, n]))
    let id = try apply(MatrixProduct(isTransposed: isTransposed), [left, right])
    let sizes = frontSizes + [a.sizes[rank - 2], b.sizes[rank - 1]]
    let batch = frontBatch ?? a.batch ?? b.batch
    let shape = ImportedTensor.sampleShape(sizes, batch)
    return made(try reshaped(id, to: shape), sizes, batch)
  }

  /// Rows of a matrix, of all samples' axes in them.
  private func rowsOrColumns(_ tensor: ImportedTensor, _ dimension: Int) -> Int {
    guard let batch = tensor.batch, batch.axis == dimension else { return tensor.sizes[dimension] }
    return batch.outer * batch.inner
  }

  /// The leading axes of an operand, without those that are 1 in both.
  private func long(_ tensor: ImportedTensor, _ all: [ImportedTensor]) -> [Int] {
    let shapes = all.map(\.sampleShape)
    return tensor.sampleShape.indices.filter { axis in shapes.contains { $0[axis] > 1 } }
      .map { tensor.sampleShape[$0] }
  }

  // MARK: - Einstein's sums

  /// One or two operands, each letter at most once in each.
  mutating func einsum(_ equation: String, _ tensors: [ImportedTensor]) throws -> ImportedTensor {
    let text = equation.filter { $0 != " " }
    let sides = text.components("->")
    let terms = sides[0].split(separator: ",", omittingEmptySubsequences: false).map(Array.init)
    guard (1...2).contains(tensors.count), terms.count == tensors.count, !text.contains("."),
      zip(terms, tensors).allSatisfy({ $0.count == $1.rank && Set($0).count == $0.count })
    else {
      throw ImportFailure("einsum of one or two operands, without repeated letters, is supported")
    }
    let all = terms.joined()
    let output =
      sides.count > 1
      ? Array(sides[1])
      : Set(all).filter { letter in all.filter { $0 == letter }.count == 1 }.sorted()
    var operands: [(letters: [Character], tensor: ImportedTensor)] = []
    for (place, (letters, tensor)) in zip(terms, tensors).enumerated() {
      // Letters of one operand alone are summed over at once.
      let alone = letters.indices.filter { index in
        !output.contains(letters[index])
          && !terms.enumerated().contains { $0 != place && $1.contains(letters[index]) }
      }
      let rest = alone.isEmpty ? tensor : try reduced(tensor, .sum, alone, keeps: false)
      operands.append(
        (letters.enumerated().filter { !alone.contains($0.offset) }.map(\.element), rest))
    }
    guard operands.count == 2 else {
      let only = operands[0]
      return permuted(only.tensor, output.map { only.letters.firstIndex(of: $0)! })
    }
    let (a, b) = (operands[0], operands[1])
    let common = output.filter { a.letters.contains($0) && b.letters.contains($0) }
    let inner = a.letters.filter { b.letters.contains($0) && !output.contains($0) }
    let left = a.letters.filter { !b.letters.contains($0) }
    let right = b.letters.filter { !a.letters.contains($0) }
    // Element by element over all letters; sums of many products are products of matrices.
    func sizes(_ letters: [Character], _ operand: ([Character], ImportedTensor)) -> [Int] {
      letters.map { operand.1.sizes[operand.0.firstIndex(of: $0)!] }
    }
    func arranged(
      _ operand: (letters: [Character], tensor: ImportedTensor), _ order: [Character]
    ) -> ImportedTensor {
      permuted(operand.tensor, order.map { operand.letters.firstIndex(of: $0)! })
    }
    let front = sizes(common, a)
    let (m, n, k) = (
      sizes(left, a).reduce(1, *), sizes(right, b).reduce(1, *), sizes(inner, a).reduce(1, *)
    )
    let x = try viewed(arranged(a, common + left + inner), front + [m, k])
    let y = try viewed(arranged(b, common + right + inner), front + [n, k])
    let product = try matrixProduct(x, transposed(y, y.rank - 2, y.rank - 1))
    let letters = common + left + right
    let result = try viewed(product, front + sizes(left, a) + sizes(right, b))
    return permuted(result, output.map { letters.firstIndex(of: $0)! })
  }
}

extension String {
  /// Its parts around a separator.
  fileprivate func components(_ separator: String) -> [Substring] {
    guard let range = firstRange(of: separator) else { return [self[...]] }
    return [self[..<range.lowerBound], self[range.upperBound...]]
  }
}
