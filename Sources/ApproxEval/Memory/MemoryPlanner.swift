import Checkpoints
import Curvature
import TensorModule
import Training
import Updates

/// What is done with the batch of a checkpoint.
enum MemoryTask {
  case score(updates: [any UpdateSource])
  case reference
  case selfCheck
  case train(OptimizerSettings)
  case prune(PruningOptions, PrunableWeights)

  var subject: String {
    switch self {
    case .score: "scoring a batch"
    case .reference: "the reference of a batch"
    case .selfCheck: "checking a batch"
    case .train: "a step of training on a batch"
    case .prune: "the inverse Fisher matrix of a batch"
    }
  }
}

/// Finds out whether a computation fits into the memory that it may use, and how much of it goes where;
/// if not, what would fit. `auto` is planned in single precision, in which its first attempt is made.
struct MemoryPlanner {
  let checkpoint: LoadedCheckpoint
  var options: EvaluationOptions
  var samples: Int
  var task: MemoryTask

  /// - Parameter samples: Of a batch.
  init(
    _ checkpoint: LoadedCheckpoint, samples: Int, options: EvaluationOptions, _ task: MemoryTask
  ) {
    self.checkpoint = checkpoint
    self.samples = samples
    self.options = options
    self.task = task
  }

  /// Bytes that may be used: what the options say, or less where the address space ends before.
  var allowed: Int { min(options.memory, spaceLeft ?? .max, mappable ?? .max) }

  /// What the system was found to give at once, where that is less.
  private var mappable: Int?

  /// Beyond what is mapped for libraries and for the products of every thread.
  private var spaceLeft: Int? {
    guard let left = SystemMemory.addressSpaceLeft else { return nil }
    // The first thread's buffer is there already.
    let threads = (options.threads - 1) * ByteCount(Self.threadBytes)
    return (ByteCount(left) - threads - ByteCount(Self.heapBytes)).value
  }

  /// Address space of a thread: its stack and the memory that OpenBLAS multiplies in, 64 MB in Debian's
  /// build and 128 MB in others. Where there is none for it OpenBLAS tries for ever.
  private static var threadBytes: Int { 136 << 20 }
  /// What small allocations may take.
  private static var heapBytes: Int { 32 << 20 }

  /// How the memory is shared out.
  ///
  /// - Throws: `EvaluationError.memory` if it is not enough.
  func budget() throws(EvaluationError) -> MemoryBudget {
    var found = best()
    if found.plan.total <= allowed, !SystemMemory.canMap(found.plan.total) {
      // The system promises no more than it has: so much of it as can be had.
      var planner = self
      planner.mappable = SystemMemory.mappable(below: found.plan.total)
      found = planner.best()
      guard found.plan.total <= planner.allowed else {
        throw .memory(planner.shortage(found.plan))
      }
    }
    guard found.plan.total <= allowed else { throw .memory(shortage(found.plan)) }
    return budget(found)
  }

  // MARK: - Forward values

  /// The plan that is followed where it fits, otherwise the smallest that was found, and what of it
  /// forward values may take.
  func best() -> Choice {
    let usual = usualForward
    var found = choice(forward: usual, releasesPages: false)
    if found.plan.total <= allowed { return found }
    let released = choice(forward: usual, releasesPages: true)
    if released.plan.total < found.plan.total { found = released }
    if found.plan.total <= allowed { return found }
    // All of them after all, as many as the rest leaves room for, or none.
    let kept = found.plan.bytes(of: "forward values")
    let rest = max(0, kept - (found.plan.total - allowed))
    for forward in [Int.max / 4, rest, rest / 2, 0] {
      let next = choice(forward: forward, releasesPages: found.releasesPages)
      if next.plan.total < found.plan.total { found = next }
      if next.plan.total <= allowed { break }
    }
    return found
  }

  /// How much of the memory forward values may take, and what follows from that.
  struct Choice {
    var plan: MemoryPlan
    var forward: Int
    var releasesPages: Bool
  }

  private func choice(forward: Int, releasesPages: Bool) -> Choice {
    Choice(
      plan: plan(forward: forward, releasesPages), forward: forward, releasesPages: releasesPages)
  }

  private var usualForward: Int {
    switch options.precision {
    case .float32, .auto:
      BatchProblem<Float>.forwardBudget(checkpoint, memory: options.memory)
    case .float64: BatchProblem<Double>.forwardBudget(checkpoint, memory: options.memory)
    }
  }

  private func plan(
    forward: Int, _ releasesPages: Bool, fallback: ByteCount = 0
  ) -> MemoryPlan {
    switch options.precision {
    case .float32, .auto: plan(forward: forward, releasesPages, fallback, Float.self)
    case .float64: plan(forward: forward, releasesPages, fallback, Double.self)
    }
  }

  private func plan<S: EngineScalar>(
    forward: Int, _ releasesPages: Bool, _ fallback: ByteCount, _: S.Type
  ) -> MemoryPlan {
    var memory = memory(S.self, forward: forward, releasesPages)
    memory.fallback = fallback
    switch task {
    case .score(let updates): memory.addScoring(updates: updates.map { $0.bytes(checkpoint) })
    case .reference: memory.addReferenceFile()
    case .selfCheck: memory.addSelfCheck()
    case .train(let settings): memory.addTraining(settings)
    case .prune(let settings, let weights): memory.addPruning(weights, settings)
    }
    return memory.plan
  }

  private func memory<S: EngineScalar>(
    _: S.Type, forward: Int, _ releasesPages: Bool
  ) -> BatchMemory<S> {
    var memory = BatchMemory<S>(
      checkpoint, samples: samples, options: options, budget: forward)
    memory.releasesPages = releasesPages
    return memory
  }

  /// With what conjugate gradients may be followed by, which takes what it finds.
  func largest() -> MemoryPlan {
    let found = best()
    if found.plan.total > allowed { return found.plan }
    let budget = budget(found)
    let fallback =
      options.precision == .float64
      ? memory(Double.self, found).fallback(within: budget)
      : memory(Float.self, found).fallback(within: budget)
    return plan(forward: found.forward, found.releasesPages, fallback: fallback)
  }

  private func memory<S: EngineScalar>(_: S.Type, _ choice: Choice) -> BatchMemory<S> {
    memory(S.self, forward: choice.forward, choice.releasesPages)
  }

  /// The plan of this choice without a reference.
  func withoutReference(_ choice: Choice) -> MemoryPlan {
    changed { $0.options.reference = .none }.plan(forward: choice.forward, choice.releasesPages)
  }

  private func budget(_ found: Choice) -> MemoryBudget {
    let isDouble = options.precision == .float64
    let single = memory(Float.self, found)
    return MemoryBudget(
      forward: found.forward, reference: found.plan.room(of: allowed),
      doubleProblem: isDouble ? 0 : single.doubleProblem.value,
      releasesPages: found.releasesPages, plan: found.plan,
      demands: isDouble
        ? memory(Double.self, found).referenceDemands : single.referenceDemands)
  }
}

// MARK: - What would fit

extension MemoryPlanner {
  private var fits: Bool { best().plan.total <= allowed }

  /// As many of the samples as there is room for, one at least.
  var fittingSamples: Int {
    fits ? samples : most(below: samples) { $0.samples = $1 } ?? 1
  }

  private func changed(_ change: (inout MemoryPlanner) -> Void) -> MemoryPlanner {
    var other = self
    change(&other)
    return other
  }

  private func shortage(_ plan: MemoryPlan) -> MemoryShortage {
    let count = samples == 1 ? "1 sample" : "\(grouped(samples)) samples"
    return MemoryShortage(
      subject: "\(task.subject) of \(count)", path: checkpoint.path, needed: plan.total,
      allowed: allowed, isLimitOfProcess: allowed < options.memory, largest: plan.largest,
      remedies: remedies(plan), isChoice: isChoice)
  }

  /// Whether the least that can be asked of this file would fit, or would but for the process's limits.
  private var isChoice: Bool {
    if allowed < options.memory { return true }
    return changed {
      $0.options.methods = [.baseline]
      $0.options.reference = .none
      $0.options.monteCarloSamples = []
      $0.options.perLayer = false
      $0.options.cgPreconditioner = .none
      $0.options.precision = .float32
      $0.options.threads = 1
      if case .score = task { $0.task = .score(updates: []) }
      if $0.choosesSamples { $0.samples = 1 }
    }.fits
  }

  /// Whether options say how large a batch is.
  private var choosesSamples: Bool { options.batchSize != nil || options.dataFile != nil }

  private func remedies(_ plan: MemoryPlan) -> [SettingText] {
    var found: [SettingText] = []
    if let count = most(below: samples, { $0.samples = $1 }) {
      found.append("\(.batchSize) \(count)")
    }
    if case .score(let updates) = task {
      for (setting, files) in filesOfUpdates {
        let others = updates.filter { !files.contains($0.path) }
        if others.count < updates.count, changed({ $0.task = .score(updates: others) }).fits {
          found.append("no \(setting)")
        }
      }
      let draws = options.monteCarloSamples.max() ?? 1
      if let count = most(below: draws, { $0.options.monteCarloSamples = [$1] }) {
        found.append("\(.mcSamples) \(count)")
      }
      let costly = costlyMethods
      if !costly.isEmpty { found.append("\(.methods) without \(costly.joined(separator: ", "))") }
      if options.reference != .none, changed({ $0.options.reference = .none }).fits {
        found.append("\(.reference) none")
      }
      if options.perLayer, changed({ $0.options.perLayer = false }).fits {
        found.append("no \(.perLayer)")
      }
    }
    if options.precision == .float64, changed({ $0.options.precision = .float32 }).fits {
      found.append("\(.precision) float32")
    }
    if options.threads > 1, changed({ $0.options.threads = 1 }).fits {
      found.append("\(.threads) 1")
    }
    if allowed < options.memory {
      found.append("a higher ulimit -v")
    } else if plan.total <= SystemMemory.available {
      found.append("\(.memory) \(memoryAmount(plan.total))")
    }
    return found
  }

  /// The settings that bring updates, and what they name.
  private var filesOfUpdates: [(setting: Setting, files: [String])] {
    [
      (.optimizerState, [options.optimizerState].compactMap { $0 }),
      (.updates, options.updateFiles),
    ]
  }

  /// The largest number below `count` with which it fits.
  private func most(below count: Int, _ set: (inout MemoryPlanner, Int) -> Void) -> Int? {
    var (fitting, tooMany) = (0, count)
    while tooMany - fitting > 1 {
      let middle = fitting + (tooMany - fitting) / 2
      if changed({ set(&$0, middle) }).fits { fitting = middle } else { tooMany = middle }
    }
    return fitting > 0 && fitting < count ? fitting : nil
  }

  /// Methods without which it fits: as few as do, those that take most first.
  private var costlyMethods: [String] {
    var rest = self
    var left: [String] = []
    while rest.options.methods.count > 1, !rest.fits {
      let totals = rest.options.methods.indices.map { place in
        rest.changed { $0.options.methods.remove(at: place) }.best().plan.total
      }
      guard let place = totals.indices.min(by: { totals[$0] < totals[$1] }) else { break }
      left.append(rest.options.methods.remove(at: place).name)
    }
    return rest.fits ? left : []
  }
}

/// As an amount of memory is written, rounded up: "3.2GB".
func memoryAmount(_ bytes: Int) -> String {
  let units: [(name: String, size: Int)] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)]
  let unit = units.first { bytes >= $0.size } ?? units[2]
  // In tenths.
  let tenths = bytes / (unit.size / 10) + (bytes % (unit.size / 10) == 0 ? 0 : 1)
  return tenths % 10 == 0
    ? "\(tenths / 10)\(unit.name)" : "\(tenths / 10).\(tenths % 10)\(unit.name)"
}
