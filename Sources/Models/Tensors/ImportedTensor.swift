import GraphModule
import TensorModule

/// A tensor while a program is imported: the sizes that PyTorch shows, where among them the batch is, and
/// what holds the numbers of one sample.
struct ImportedTensor {
  /// With the builder's number of samples where the batch is.
  var sizes: [Int]
  var batch: BatchPlace?
  var kind: Kind
  var storage: Storage

  /// The dimension that runs over the samples. It may run over more: `outer * samples * inner`.
  struct BatchPlace: Equatable {
    var axis: Int
    var outer = 1
    var inner = 1
  }

  enum Kind {
    case real, integer, boolean
  }

  /// `order[k]` is the axis of `sampleShape` that is stored as axis k: transpositions, and images with
  /// their channels last, are not carried out before something asks for another order.
  enum Storage {
    /// Row-major, the same for all samples.
    case constant([Double])
    case parameter(ImportedParameter, order: [Int])
    case node(ValueID, order: [Int])
    /// Of each sample its own number, which nothing can be made of but the sample's own rows.
    case sampleNumbers
  }

  /// The shape of one sample: two axes, outer and inner, in place of the batch's.
  var sampleShape: [Int] { Self.sampleShape(sizes, batch) }

  static func sampleShape(_ sizes: [Int], _ batch: BatchPlace?) -> [Int] {
    guard let batch else { return sizes }
    return Array(sizes[..<batch.axis]) + [batch.outer, batch.inner] + sizes[(batch.axis + 1)...]
  }

  var rank: Int { sizes.count }

  /// The axis of a sample that a dimension is.
  func sampleAxis(_ dimension: Int) -> Int {
    guard let batch, dimension > batch.axis else { return dimension }
    return dimension + 1
  }

  /// The order in which the axes of a sample are stored.
  var order: [Int] {
    switch storage {
    case .constant, .sampleNumbers: Array(sampleShape.indices)
    case .parameter(_, let order), .node(_, let order): order
    }
  }

  var constants: [Double]? {
    if case .constant(let values) = storage { values } else { nil }
  }

  /// The parameter that the tensor is, as it is in the file.
  var wholeParameter: ParameterID? {
    guard case .parameter(let parameter, let order) = storage, order == Array(sizes.indices),
      sizes == parameter.shape
    else { return nil }
    return parameter.id
  }

  /// The parameter whose transpose the tensor is.
  var transposedParameter: ParameterID? {
    guard case .parameter(let parameter, order: [1, 0]) = storage,
      sizes == parameter.shape.reversed()
    else { return nil }
    return parameter.id
  }

  /// With other axes of its sample: each of the present ones goes where `place` says, the new ones have
  /// length 1 and are stored first.
  func with(
    sizes: [Int], batch: BatchPlace?, new: [Int] = [], place: (Int) -> Int
  ) -> ImportedTensor {
    var result = self
    (result.sizes, result.batch) = (sizes, batch)
    switch storage {
    case .constant, .sampleNumbers: break
    case .parameter(let id, let order):
      result.storage = .parameter(id, order: new + order.map(place))
    case .node(let id, let order): result.storage = .node(id, order: new + order.map(place))
    }
    return result
  }

  /// With dimensions of 1 in front.
  func padded(to rank: Int) -> ImportedTensor {
    let count = rank - self.rank
    if count == 0 { return self }
    var batch = batch
    batch?.axis += count
    return with(
      sizes: [Int](repeating: 1, count: count) + sizes, batch: batch, new: Array(0..<count)
    ) { $0 + count }
  }

  /// With the axes of a batch in place of a dimension of 1.
  func repeated(along axis: Int) -> ImportedTensor {
    if batch != nil { return self }
    return with(sizes: sizes, batch: BatchPlace(axis: axis), new: [axis + 1]) {
      $0 > axis ? $0 + 1 : $0
    }
  }
}

/// A parameter of the program, or running statistics.
struct ImportedParameter {
  let id: ParameterID
  /// In the file.
  let shape: [Int]
  let storage: ParameterSpec.Storage
}

/// Numbers that the program itself brings, moved about.
enum ConstantViews {
  /// Parts `[outer, own length, inner]` behind each other along the middle.
  static func joined(_ parts: [(values: [Double], length: Int)], outer: Int) -> [Double] {
    (0..<outer).flatMap { row in
      parts.flatMap { part in
        let count = part.values.count / outer
        return part.values[row * count..<(row + 1) * count]
      }
    }
  }

  /// Row-major numbers in another order of their axes.
  static func permuted(_ values: [Double], shape: [Int], to order: [Int]) -> [Double] {
    if order == Array(shape.indices) || values.count < 2 { return values }
    let own = rowMajorStrides(shape)
    return strided(values, shape: order.map { shape[$0] }, strides: order.map { own[$0] })
  }

  /// Row-major numbers that strides pick.
  static func strided(_ values: [Double], offset: Int = 0, shape: [Int], strides: [Int]) -> [Double]
  {
    var result: [Double] = []
    let count = shape.reduce(1, *)
    result.reserveCapacity(count)
    var place = [Int](repeating: 0, count: shape.count)
    var index = offset
    for _ in 0..<count {
      result.append(values[index])
      for axis in shape.indices.reversed() {
        place[axis] += 1
        index += strides[axis]
        if place[axis] < shape[axis] { break }
        index -= strides[axis] * shape[axis]
        place[axis] = 0
      }
    }
    return result
  }
}
