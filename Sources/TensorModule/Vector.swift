import CKernels

/// A fixed number of scalars at a fixed, 64-byte aligned address.
///
/// Vectors are references: the engine and the solvers write into vectors that were allocated
/// once, so that an iteration allocates nothing. Whoever holds one while another writes it must
/// see to the order; the package only ever lets one thread write a given range.
public final class Vector<Scalar: EngineScalar>: @unchecked Sendable {
  /// How many scalars there are.
  public let count: Int
  /// The first of them; the vector owns them.
  public let pointer: UnsafeMutablePointer<Scalar>
  /// What holds the memory.
  private let owner: AnyObject

  /// A vector of zeros.
  public convenience init(count: Int) { self.init(count: count, zeroed: true) }

  /// A vector of whatever was in its memory, for what writes all of it.
  public convenience init(unsetCount count: Int) { self.init(count: count, zeroed: false) }

  private init(count: Int, zeroed: Bool) {
    precondition(count >= 0, "Vector: negative count \(count)")
    self.count = count
    let bytes = ByteCount(ByteCount(max(count, 1)), of: Scalar.self).value
    let memory = VectorMemory(bytes: bytes, zeroed: zeroed)
    pointer = memory.pointer.bindMemory(to: Scalar.self, capacity: max(count, 1))
    owner = memory
  }

  /// A vector over memory that `owner` holds, such as a mapped file: to be read only.
  public init(reading memory: UnsafePointer<Scalar>, count: Int, owner: AnyObject) {
    self.count = count
    pointer = UnsafeMutablePointer(mutating: memory)
    self.owner = owner
  }

  /// A copy of these.
  public convenience init(_ values: some Collection<Scalar>) {
    self.init(unsetCount: values.count)
    for (index, value) in values.enumerated() { pointer[index] = value }
  }

  /// The scalar at a place, which is checked.
  public subscript(index: Int) -> Scalar {
    get {
      precondition(index >= 0 && index < count, "Vector: index \(index) of \(count)")
      return pointer[index]
    }
    set {
      precondition(index >= 0 && index < count, "Vector: index \(index) of \(count)")
      pointer[index] = newValue
    }
  }

  /// Another vector of the same numbers.
  public func copy() -> Vector {
    let copy = Vector(unsetCount: count)
    copy.pointer.update(from: pointer, count: count)
    return copy
  }

  /// A copy.
  public var array: [Scalar] { Array(UnsafeBufferPointer(start: pointer, count: count)) }
}
