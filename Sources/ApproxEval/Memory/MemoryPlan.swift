import TensorModule

/// What a computation will allocate, buffer by buffer, from shapes and options alone: made before any
/// number is read, and refused where it is more than the options allow.
public struct MemoryPlan: Sendable, Equatable {
  public struct Buffer: Sendable, Equatable {
    public var name: String
    public var bytes: Int
  }

  /// What stays until the end.
  public private(set) var kept: [Buffer] = []
  /// What the step that takes most has beside it; steps come one after another.
  public private(set) var step: [Buffer] = []

  /// All that there is at the worst moment.
  public var buffers: [Buffer] { kept + step }

  /// Bytes at the worst moment; the largest number for what is beyond all numbers.
  public var total: Int { Self.sum(buffers).value }

  public var largest: Buffer? { buffers.max { $0.bytes < $1.bytes } }

  private static func sum(_ buffers: [Buffer]) -> ByteCount {
    buffers.total { ByteCount($0.bytes) }
  }

  /// Of one name, 0 without one.
  public func bytes(of name: String) -> Int {
    Self.sum(buffers.filter { $0.name == name }).value
  }

  /// Something that stays. What has a name already is added to it.
  mutating func keep(_ name: String, _ bytes: ByteCount) {
    if bytes == 0 { return }
    if let place = kept.firstIndex(where: { $0.name == name }) {
      kept[place].bytes = (ByteCount(kept[place].bytes) + bytes).value
    } else {
      kept.append(Buffer(name: name, bytes: bytes.value))
    }
  }

  /// A step, after which its buffers are given back.
  mutating func during(_ buffers: [(name: String, bytes: ByteCount)]) {
    let buffers = buffers.filter { $0.bytes > 0 }.map {
      Buffer(name: $0.name, bytes: $0.bytes.value)
    }
    if Self.sum(buffers) > Self.sum(step) { step = buffers }
  }
}

/// What of the memory allowed the parts of a computation may take that can do with less.
struct MemoryBudget: Equatable {
  /// Bytes of forward values.
  var forward: Int
  /// Bytes of an exact reference.
  var reference: Int
  /// Bytes that the batch takes once more in double, for such a reference.
  var doubleProblem: Int
}
