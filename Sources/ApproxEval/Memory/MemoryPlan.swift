import TensorModule

/// What a computation will allocate, buffer by buffer and in the order in which it does, from shapes and
/// options alone: made before any number is read, and refused where it is more than they allow.
///
/// Some buffers are made only where numbers turn out so: sums in double for directions that cancel,
/// vectors of as many iterations as a solve takes. They count in what is at most allocated, and not in what
/// is expected.
public struct MemoryPlan: Sendable, Equatable {
  /// What is allocated for one purpose.
  public struct Buffer: Sendable, Equatable {
    /// What it holds, in words.
    public var name: String
    /// Its size.
    public var bytes: Int
  }

  /// How much of something there is.
  struct Amount: Equatable {
    var expected: ByteCount
    var most: ByteCount

    static func + (a: Amount, b: Amount) -> Amount {
      Amount(expected: a.expected + b.expected, most: a.most + b.most)
    }
  }

  /// All that there may be at the worst moment.
  public private(set) var buffers: [Buffer] = []
  /// All that there is expected to be at the worst moment.
  public private(set) var expectedBuffers: [Buffer] = []
  /// What there is at the moment that has been planned last.
  private var present: [(name: String, amount: Amount)] = []
  /// Those of them that stay from one batch to the next.
  private var lastingNames: Set<String> = []
  private var phase: PhaseCost.Phase?
  /// The most that is expected to be allocated in each phase.
  private(set) var peaks: [PhaseCost.Phase: Int] = [:]
  /// What `reserve` has set aside, and the most that there is beside it from then on.
  private var reserved: ByteCount = 0
  private var besideReserve: ByteCount?

  /// What the files' own pages take, which nobody allocates.
  static var files: String { "pages of files" }

  /// Bytes at the worst moment; the largest number for what is beyond all numbers.
  public var total: Int { Self.sum(buffers).value }

  /// The same without what only some numbers bring about.
  public var expected: Int { Self.sum(expectedBuffers).value }

  /// The largest of `buffers`; `nil` where nothing is planned.
  public var largest: Buffer? { buffers.max { $0.bytes < $1.bytes } }

  /// Bytes that are held between two batches.
  var lasting: Int {
    present.filter { lastingNames.contains($0.name) }.total { $0.amount.most }.value
  }

  /// What a part that `reserve` has set aside for may take of so many bytes.
  func room(of allowed: Int) -> Int {
    (ByteCount(allowed) - (besideReserve ?? Self.sum(buffers))).value
  }

  private static func sum(_ buffers: [Buffer]) -> ByteCount {
    buffers.total { ByteCount($0.bytes) }
  }

  /// Of one name at the worst moment, 0 without one.
  public func bytes(of name: String) -> Int {
    Self.sum(buffers.filter { $0.name == name }).value
  }

  public static func == (a: MemoryPlan, b: MemoryPlan) -> Bool {
    a.buffers == b.buffers && a.expectedBuffers == b.expectedBuffers
  }

  // MARK: - Planning

  /// What follows belongs to this phase.
  mutating func begin(_ phase: PhaseCost.Phase) {
    self.phase = phase
    during([])
  }

  /// Something that stays until the end of the batch. What has a name already is added to it.
  ///
  /// - Parameter expected: Where that is less.
  mutating func keep(_ name: String, _ bytes: ByteCount, expected: ByteCount? = nil) {
    set(name, present(name) + Amount(expected: expected ?? bytes, most: bytes))
  }

  /// Something that stays as large as the largest that is asked for.
  mutating func grow(_ name: String, to bytes: ByteCount) {
    let known = present(name)
    set(name, Amount(expected: max(known.expected, bytes), most: max(known.most, bytes)))
  }

  /// Something that the first batch makes and all others use again; it is asked for once.
  mutating func keepForAllBatches(
    _ name: String, _ bytes: ByteCount, expected: ByteCount? = nil
  ) {
    if lastingNames.insert(name).inserted { keep(name, bytes, expected: expected) }
  }

  /// What is given back before the batch ends.
  mutating func release(_ name: String) { present.removeAll { $0.name == name } }

  /// Room for something that takes what it finds, and at least so much: it stays until the end of the
  /// batch.
  mutating func reserve(_ name: String, _ bytes: ByteCount) {
    (reserved, besideReserve) = (bytes, 0)
    keep(name, bytes)
    during([])
  }

  /// A step, after which its buffers are given back.
  ///
  /// - Parameter isExpected: Whether it is taken whatever the numbers.
  mutating func during(_ step: [(name: String, bytes: ByteCount)], isExpected: Bool = true) {
    let added = step.total { $0.bytes }
    let most = present.total { $0.amount.most } + added
    if most > Self.sum(buffers) {
      buffers = Self.buffers(present.map { ($0.name, $0.amount.most) } + step)
    }
    if let beside = besideReserve { besideReserve = max(beside, most - reserved) }
    if !isExpected { return }
    let expected = present.total { $0.amount.expected } + added
    if expected > Self.sum(expectedBuffers) {
      expectedBuffers = Self.buffers(present.map { ($0.name, $0.amount.expected) } + step)
    }
    if let phase {
      let allocated = (expected - present(Self.files).expected).value
      peaks[phase] = max(peaks[phase] ?? 0, allocated)
    }
  }

  private static func buffers(_ amounts: [(name: String, bytes: ByteCount)]) -> [Buffer] {
    amounts.filter { $0.bytes > 0 }.map { Buffer(name: $0.name, bytes: $0.bytes.value) }
  }

  /// Whether something of this name is there now.
  func holds(_ name: String) -> Bool { present(name).most > 0 }

  private func present(_ name: String) -> Amount {
    present.first { $0.name == name }?.amount ?? Amount(expected: 0, most: 0)
  }

  private mutating func set(_ name: String, _ amount: Amount) {
    if amount.most == 0 { return }
    if let place = present.firstIndex(where: { $0.name == name }) {
      present[place].amount = amount
    } else {
      present.append((name, amount))
    }
    during([])
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
  /// Whether frozen weights that lie in files leave memory once they have been read: where all of them
  /// would be more than is allowed.
  var releasesPages = false
  /// What has been planned.
  var plan = MemoryPlan()
  /// What exact references may come to ask for of `reference`.
  var demands: [Int] = []

  /// Whether so much more can be held beside all that, whatever is asked for.
  func leavesRoom(for bytes: Int) -> Bool {
    bytes + (demands.filter { $0 <= reference }.max() ?? 0) <= reference
  }
}
