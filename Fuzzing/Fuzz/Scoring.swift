import ApproxEval
import Checkpoints
import Foundation
import GraphModule
import Updates

/// How a model of the input is scored: what the command would be told by options, from the first
/// bytes of the input, and every number of its tensors, from the last.
struct Scoring {
  static let byteCount = 8
  /// What an evaluation may use; what needs more is refused.
  static let memory = 32 << 20
  private static let mostMethods = 3

  /// Models beyond it are built, not scored.
  private struct Bound {
    /// Of all tensors of one kind.
    let numbers: Int
    /// Logits of the batch, which exact references are cubic in.
    let logits: Int
    /// Multiplications of a forward pass.
    let operations: Int
    let nodes = 48

    /// Of nearly all inputs: what goes wrong in a large model mostly goes wrong in a small one, and
    /// many times as often in a second.
    static let usual = Bound(numbers: 1 << 9, logits: 1 << 6, operations: 6_000)
    static let rare = Bound(numbers: 1 << 11, logits: 1 << 10, operations: 20_000)
  }

  let options: EvaluationOptions
  let loss: String
  let samples: Int
  let draws: Int
  /// A third of the label positions are not scored.
  let leavesOut: Bool
  let dtype: DType
  private let bound: Bound
  /// Whether all is told that headers tell, before and in reports.
  private let looksFirst: Bool
  /// Whether the engine checks itself on the model as well.
  private let checks: Bool

  private static let dampings = [
    ["rel:1e-7"], ["0"], ["1e-3", "1"], ["rel:0", "rel:1e300"], ["1e300"], ["5e-324"],
    ["1.7976931348623157e308", "1e-300"], ["rel:1", "rel:1e-16"],
  ]
  private static let scales = [1, 0.125, 16, 1e4, 1e-4, 1e18, 1e-20, 0]

  init(_ bytes: ArraySlice<UInt8>) {
    let all = Array(bytes) + [UInt8](repeating: 0, count: Self.byteCount)
    func pick<T>(_ values: [T], _ place: Int) -> T { values[Int(all[place]) % values.count] }
    func bit(_ index: UInt8, _ place: Int) -> Bool { all[place] >> index & 1 == 1 }
    var options = EvaluationOptions()
    let known = UpdateMethod.named + [.truncated(iterations: 2)]
    let mask = Int(all[0]) | Int(all[1]) << 8
    options.methods = Array(
      known.indices.filter { mask >> ($0 % 16) & 1 == 1 }.map { known[$0] }.prefix(Self.mostMethods)
    )
    if options.methods.isEmpty { options.methods = [.sgd, .ief] }
    options.reference = pick(ReferenceMethod.all, 2)
    if [.cg, .auto].contains(options.reference) {
      options.cgPreconditioner = pick([.none, .jacobi, .sf], 3)
    }
    options.dampings = pick(Self.dampings, 4).compactMap { Damping($0) }
    options.precision = bit(0, 5) ? .float64 : .float32
    options.perLayer = bit(1, 5)
    options.dropDuplicates = bit(2, 5) ? 0.5 : nil
    options.cgDamping = bit(3, 5) ? 1e-3 : 0
    draws = bit(4, 5) ? 2 : 0
    leavesOut = bit(5, 5)
    options.monteCarloSamples = bit(6, 5) ? [1, 2] : []
    looksFirst = bit(6, 3)
    checks = bit(7, 5) && bit(7, 3)
    options.cgIterations = 4
    options.threads = 1
    options.memory = Self.memory
    self.options = options
    loss = pick(CheckpointFile.losses, 6)
    samples = 1 + Int(all[6] >> 2) % 4
    bound = all[2] < 250 ? .usual : .rare
    dtype = pick([.f32, .f64, .f16, .bf16], 7)
    scale = Self.scales[Int(all[7] >> 2) % Self.scales.count]
  }

  private let scale: Double

  /// The numbers of tensors, from these bytes over and over.
  func numbers(_ bytes: ArraySlice<UInt8>) -> Numbers { Numbers(bytes, scale: scale) }

  /// Whether a model is small enough to be scored many times a second.
  func isSmall(_ graph: Graph) -> Bool {
    let parameters = graph.parameters.map(\.count)
    let logits = graph.outputShape.reduce(samples, *)
    let values = graph.inputs.map { $0.shape.reduce(samples, *) }
    return (parameters + values).allSatisfy { $0 <= bound.numbers } && logits <= bound.logits
      && parameters.reduce(0, +) <= bound.numbers && graph.nodes.count <= bound.nodes
      && Program(graph: graph, isTrainable: { _ in true }).operationCount * samples
        <= bound.operations
  }

  /// Scores what has been written, and makes the reports.
  func score(checkpoint: String, _ change: (inout EvaluationOptions) -> Void = { _ in }) throws
    -> [BatchResult]
  {
    var options = options
    change(&options)
    let evaluation = Evaluation(options)
    if checks { _ = try evaluation.selfCheck(checkpoint: checkpoint) }
    if !looksFirst { return try evaluation.score(checkpoint: checkpoint) }
    let plan = try evaluation.plan(checkpoints: [checkpoint])
    let needs = try evaluation.resources(checkpoint: checkpoint)
    precondition(needs.batchOperations >= 0 && needs.memory.total >= 0)
    let results = try evaluation.score(checkpoint: checkpoint)
    let report = plan.report(results.numbered)
    precondition(!report.text.isEmpty && report.tables.allSatisfy { !$0.csv.isEmpty })
    return results
  }
}

/// Bytes as numbers of tensors.
struct Numbers {
  private let bytes: [UInt8]
  private let scale: Double
  private var position = 0

  init(_ bytes: ArraySlice<UInt8>, scale: Double) {
    self.bytes = bytes.isEmpty ? [3, 250, 17, 40, 201, 99, 128, 64, 5] : Array(bytes)
    self.scale = scale
  }

  private mutating func next() -> UInt8 {
    position += 1
    // A shift with every pass, so that equal rows are an exception.
    return bytes[position % bytes.count] &+ UInt8(truncatingIfNeeded: position / bytes.count)
  }

  mutating func tensor(_ dtype: DType, _ shape: [Int], isUnit: Bool = false) -> Data {
    var data = Data()
    for _ in 0..<shape.reduce(1, *) {
      let byte = next()
      let value = isUnit ? Double(byte) / 255 : Double(Int8(bitPattern: byte)) / 32 * scale
      switch dtype {
      case .f64: withUnsafeBytes(of: value) { data.append(contentsOf: $0) }
      case .f32: withUnsafeBytes(of: Float(value)) { data.append(contentsOf: $0) }
      case .bf16:
        withUnsafeBytes(of: Float(value).bitPattern >> 16) { data.append(contentsOf: $0.prefix(2)) }
      default: withUnsafeBytes(of: Float16(value).bitPattern) { data.append(contentsOf: $0) }
      }
    }
    return data
  }

  /// Whole numbers below a bound, one of them in 32 beyond it; with `leavesOut` a third are -100.
  mutating func integers(_ shape: [Int], below bound: Int, leavesOut: Bool = false) -> Data {
    var data = Data()
    for _ in 0..<shape.reduce(1, *) {
      let byte = next()
      let value =
        leavesOut && byte % 3 == 0 ? -100 : byte == 255 ? bound : Int(byte) % max(bound, 1)
      withUnsafeBytes(of: Int64(value)) { data.append(contentsOf: $0) }
    }
    return data
  }
}
