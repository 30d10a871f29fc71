import Checkpoints
import GraphModule
import TensorModule

// Operators that work in place: what they write is seen by everything that shows the same memory.
extension ProgramImporter {
  /// What a node that works in place does to what else shows the memory.
  mutating func change(
    _ node: ExportedProgram.Node, at index: Int, _ mutations: ProgramMutations
  ) throws {
    guard let changed = node.inputs.first?.argument.names.first,
      let result = node.outputs.first?.names.first, let new = values[result]
    else { return }
    let readers = mutations.readers(ofWhat: node, at: index)
    defer { values[changed] = values[result] }
    // Cut off from derivatives is the tensor, and not its numbers.
    guard let first = readers.first, node.operation != "aten.detach_.default" else { return }
    let root = mutations.root(changed)
    if let unclear = ([changed] + readers).first(where: mutations.isUnclear) {
      throw ImportFailure(
        "it works in place on memory that \(first) shares, perhaps, by \(unclear): write it without "
          + "the underscore, or export with run_decompositions()")
    }
    guard let old = values[root] else {
      throw ImportFailure("it works in place on memory that \(first) shares")
    }
    values[root] = try written(new, through: mutations.views(to: changed)[...], into: old)
    for name in readers where name != root {
      values[name] = try replayed(mutations.views(to: name), on: values[root]!)
    }
  }

  /// A tensor with the part that views show replaced.
  private mutating func written(
    _ new: ImportedTensor, through views: ArraySlice<ProgramMutations.View>,
    into old: ImportedTensor
  ) throws -> ImportedTensor {
    guard let view = views.first?.node else { return new }
    guard let scatter = Self.scatters[String(view.operation)],
      let build = Operators.builder(scatter)
    else { return try replacedAtPlaces(new, views: Array(views), in: old) }
    let rest = views.dropFirst()
    let source = view.inputs.first?.name ?? ""
    var arguments = try arguments(of: view)
    arguments[source] = .tensor(old)
    let results = try results(view.outputs.flatMap(\.names))
    let part =
      try rest.isEmpty
      ? new
      : written(
        new, through: rest, into: seen(OperatorCall(results: results, arguments: arguments), view))
    arguments["src"] = .tensor(part)
    return try build(&builder, OperatorCall(results: results, arguments: arguments))[0]
  }

  /// What writes into the part that a view shows.
  private static let scatters: [String: Substring] = [
    "aten.select.int": "aten.select_scatter.default",
    "aten.slice.Tensor": "aten.slice_scatter.default",
    "aten.narrow.default": "aten.slice_scatter.default",
  ]

  private mutating func seen(
    _ call: OperatorCall, _ view: ExportedProgram.Node
  ) throws -> ImportedTensor {
    guard let build = Operators.builder(view.operation),
      let result = try build(&builder, call).first
    else { throw ImportFailure("a part of a tensor by \(view.operation) is changed in place") }
    return result
  }

  /// The same through any views, number by number: numbers of their places show where each goes.
  private mutating func replacedAtPlaces(
    _ new: ImportedTensor, views: [ProgramMutations.View], in old: ImportedTensor
  ) throws -> ImportedTensor {
    let shape = old.sampleShape
    let count = try TensorBuilder.constantCount(shape)
    var places = old
    (places.storage, places.kind) = (.constant((0..<count).map(Double.init)), .integer)
    let shown = try replayed(views, on: places)
    guard let numbers = shown.constants, numbers.count <= 1 << 22 else {
      throw ImportFailure("a part of a tensor is changed in place")
    }
    let part = try builder.expanded(new, shown.sizes)
    guard part.batch == shown.batch else {
      throw ImportFailure.mixing("samples are written into what all of them share")
    }
    var sources = [Int?](repeating: nil, count: count)
    for (place, number) in numbers.enumerated() { sources[Int(number)] = place }
    if let before = old.constants, let after = part.constants {
      return builder.with(
        old, before.indices.map { i in sources[i].map { after[$0] } ?? before[i] })
    }
    let source = try builder.reshaped(
      builder.canonical(builder.real(part)), to: [numbers.count])
    let moved = try builder.apply(
      SparseMap(axis: 0, SparseMatrix(columns: numbers.count, taking: sources)!), [source])
    let result = builder.made(
      try builder.reshaped(moved, to: shape), old.sizes, old.batch, kind: old.kind)
    if !sources.contains(nil) { return result }
    var isNew = old
    (isNew.storage, isNew.kind) = (.constant(sources.map { $0 == nil ? 0 : 1 }), .boolean)
    var all = try builder.chosen(isNew, result, old)
    all.kind = old.kind
    return all
  }

  /// A tensor through views.
  private mutating func replayed(
    _ views: [ProgramMutations.View], on root: ImportedTensor
  ) throws -> ImportedTensor {
    var value = root
    for view in views {
      let node = view.node
      guard let source = node.inputs.first, let build = Operators.builder(node.operation) else {
        continue
      }
      var arguments = try arguments(of: node)
      arguments[source.name] = .tensor(value)
      let results = try build(
        &builder,
        OperatorCall(results: results(node.outputs.flatMap(\.names)), arguments: arguments))
      guard results.indices.contains(view.result) else {
        throw ImportFailure("a part by \(node.operation) is changed in place")
      }
      value = results[view.result]
    }
    return value
  }
}
