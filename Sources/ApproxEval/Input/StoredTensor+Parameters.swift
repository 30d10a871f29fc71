import Checkpoints
import GraphModule
import TensorModule

extension StoredTensor {
  func requireFloatingPoint() throws(CheckpointError) {
    if dtype.isFloatingPoint { return }
    throw CheckpointError(
      .wrongDType(found: dtype, expected: DType.allCases.filter(\.isFloatingPoint)),
      at: location)
  }

  /// The tensor in the engine's precision and the storage order of a parameter. One that nobody
  /// writes stays in the file's memory where it can.
  func finiteVector<S: EngineScalar>(
    of: S.Type, _ spec: ParameterSpec, isRead: Bool = false,
    pool: WorkerPool = WorkerPool(threads: 1)
  ) throws(CheckpointError) -> Vector<S> {
    let stored = try storedVector(of: S.self, isRead: isRead)
    try requireFinite(UnsafePointer(stored.pointer), count: count, pool: pool)
    return inOrder(stored, spec)
  }

  /// The numbers of a frozen parameter that operations read in place, in the order of the file: there, if
  /// they have 16 bits or the engine's precision.
  func frozenNumbers<S: EngineScalar>(
    _ spec: ParameterSpec, pool: WorkerPool
  ) throws(CheckpointError) -> ParameterNumbers<S> {
    let isTransposed = spec.storage == .transposed
    // Another pass over them is nothing beside those of the engine, and reads the same pages.
    defer { pages?.release() }
    pages?.fetch()
    if let halves = try halvesInPlace() {
      try requireFinite(halves, pool: pool)
      return ParameterNumbers(.halves(halves), isTransposed: isTransposed, pages: pages)
    }
    let vector = try storedVector(of: S.self, isRead: true)
    try requireFinite(UnsafePointer(vector.pointer), count: count, pool: pool)
    return ParameterNumbers(
      .scalars(vector), isTransposed: isTransposed,
      pages: dtype.byteCount == MemoryLayout<S>.stride ? pages : nil)
  }

  private func requireFinite(
    _ halves: HalfNumbers, pool: WorkerPool
  ) throws(CheckpointError) {
    let pieces = WorkerPool.rangeCount(halves.count)
    let found = Vector<Double>(count: max(pieces, 1))
    pool.forEachRange(halves.count) { number, range in
      let first = Kernels.firstNonFinite(
        halves.format, halves.pointer + 2 * range.lowerBound, count: range.count)
      found[number] = first.map { Double(range.lowerBound + $0) } ?? -1
    }
    guard let index = found.array.prefix(pieces).first(where: { $0 >= 0 }) else { return }
    var value: Float = 0
    Kernels.convert(halves.format, halves.pointer + 2 * Int(index), &value, count: 1)
    throw notFinite(Int(index), "\(value)", Float.self)
  }

  /// The tensor in the order of the file.
  func finiteVector<S: EngineScalar>(of: S.Type) throws(CheckpointError) -> Vector<S> {
    let values = try vector(of: S.self)
    try requireFinite(UnsafePointer(values.pointer), count: count)
    return values
  }

  func requireFinite<S: EngineScalar>(
    _ values: UnsafePointer<S>, count: Int, pool: WorkerPool = WorkerPool(threads: 1)
  ) throws(CheckpointError) {
    let largest = pool.largest(count) { _, range in
      Kernels.largest(values + range.lowerBound, count: range.count)
    }
    try requireFinite(values, count: count, largest: largest)
  }

  /// The same, to be read only, with the largest magnitude and the sum of squares.
  func measuredVector<S: EngineScalar>(
    of: S.Type, _ spec: ParameterSpec, pool: WorkerPool
  ) throws(CheckpointError) -> (vector: Vector<S>, largest: Double, square: Double) {
    let stored = try storedVector(of: S.self, isRead: true)
    let values = UnsafePointer(stored.pointer)
    let squares = Vector<Double>(count: WorkerPool.rangeCount(count))
    // While a part is in cache: numbers that come from a file are looked at once.
    let largest = pool.largest(count) { number, range in
      let part = values + range.lowerBound
      squares.pointer[number] = Kernels.dot(part, part, count: range.count)
      return Kernels.largest(part, count: range.count)
    }
    try requireFinite(values, count: count, largest: largest)
    return (inOrder(stored, spec), largest, squares.array.reduce(0, +))
  }

  private func storedVector<S: EngineScalar>(
    of: S.Type, isRead: Bool
  ) throws(CheckpointError) -> Vector<S> {
    if isRead, let mapped = try inPlace(as: S.self) { return mapped }
    return try vector(of: S.self)
  }

  private func inOrder<S: EngineScalar>(_ stored: Vector<S>, _ spec: ParameterSpec) -> Vector<S> {
    if spec.storage == .plain { return stored }
    let ordered = Vector<S>(count: stored.count)
    spec.reorder(stored.pointer, into: ordered.pointer)
    return ordered
  }

  private func requireFinite<S: EngineScalar>(
    _ values: UnsafePointer<S>, count: Int, largest: Double
  ) throws(CheckpointError) {
    if largest.isFinite { return }
    let index = Kernels.firstNonFinite(values, count: count)!
    throw notFinite(index, "\(values[index])", S.self)
  }

  private func notFinite<S: EngineScalar>(
    _ index: Int, _ value: String, _: S.Type
  ) -> CheckpointError {
    CheckpointError(
      .unexpectedValue("entry \(index)", found: value, expected: "a finite number"),
      at: location,
      hint: (S.self == Double.self
        ? "" : "Numbers beyond the range of float32 need \(.precision) float64; ")
        + "NaN means that the run had diverged.")
  }
}
