import Checkpoints
import Curvature
import GraphModule
import TensorModule
import Updates

/// The natural-gradient direction of a checkpoint's first batch, as tensors.
public struct ReferenceDirection {
  /// What it is the natural gradient of.
  public let description: CheckpointDescription
  /// N of the batch.
  public let samples: Int
  /// L, summed over samples.
  public let loss: Double
  /// No direction has a smaller gamma.
  public let gammaBound: Double
  /// How it was reached.
  public let record: ReferenceRecord
  /// Empty for the dense solvers.
  public let trace: [TraceRow]
  fileprivate let writer: SafetensorsWriter

  /// Writes one tensor per trainable parameter, named and shaped like it, in the engine's
  /// precision; `updates` of a later run reads it.
  public func write(to path: String) throws(CheckpointError) { try writer.write(to: path) }

  /// How far gamma is above the least possible, as a share of it.
  public var excess: ReferenceExcess { ReferenceExcess(record, bound: gammaBound) }

  /// The iterates in the columns of cg.csv.
  public var traceTable: ReportTable {
    var table = ReportTable(name: "cg", columns: Report.traceColumns)
    for row in trace {
      table.append(Report.trace(row, checkpoint: description.path, batch: 0, run: description.run))
    }
    return table
  }
}

extension Evaluation {
  /// Solves for the natural gradient on the first batch.
  ///
  /// - Precondition: The options ask for a reference.
  public func reference(
    checkpoint path: String
  ) throws(EvaluationError) -> ReferenceDirection {
    precondition(options.reference != .none, "reference: the options ask for none")
    return try evaluating {
      let checkpoint = try LoadedCheckpoint(path: path, options: options, files: files)
      return switch try arithmetic(checkpoint, .reference) {
      case .float32: try reference(checkpoint, Float.self)
      case .float64: try reference(checkpoint, Double.self)
      }
    }
  }

  private func reference<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _: S.Type
  ) throws -> ReferenceDirection {
    let budget = try budget(checkpoint, source(checkpoint), .reference, S.self)
    let problem = try problem(checkpoint, batch: 0, budget, S.self)
    let solver = try BatchReference(
      problem, batch: 0, options: options, budget: budget, workspace: ReferenceWorkspace()
    ) {
      try problem as? BatchProblem<Double>
        ?? self.problem(checkpoint, batch: 0, budget, Double.self)
    }
    let gradients = BatchGradients(
      problem.linearization, problem.output, sampled: [], isSolved: false)
    let solved = try inBatch(0, of: checkpoint.path, options) { try solver.solve(gradients) }
    guard let solution = solved else {
      preconditionFailure("reference: the options ask for none")
    }
    try checkpoint.files.requireUnchanged()
    return ReferenceDirection(
      description: checkpoint.description, samples: problem.linearization.samples,
      loss: problem.output.totalLoss, gammaBound: problem.output.gammaBound,
      record: solution.record, trace: solution.trace,
      writer: writer(checkpoint, solution, samples: problem.linearization.samples))
  }

  private func writer<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _ solution: ReferenceSolution<S>, samples: Int
  ) -> SafetensorsWriter {
    let record = solution.record
    let direction = solution.direction
    // The scale is a power of two. Near the ends of the range of single precision it stays
    // outside, where it costs no digits; a direction has no length to speak of.
    let scale = direction.scale
    let isNear = (0x1p-40...0x1p40).contains(scale)
    var metadata = [
      "format": "approx-eval-direction/1", "version": packageVersion, "method": "ng",
      "checkpoint": checkpoint.path, "samples": String(samples),
      "seed": String(options.seed),
      "precision": (S.self == Double.self ? Arithmetic.float64 : .float32).rawValue,
      "reference": record.kind.name, "damping": String(options.cgDamping),
      "gamma": String(record.gamma), "residual": String(record.residual), "stop": record.stop,
      "status": record.status.rawValue,
      "scale": String(isNear ? 1 : scale),
    ]
    if let iterations = record.iterations { metadata["iterations"] = String(iterations) }
    var writer = SafetensorsWriter(metadata: metadata)
    let program = checkpoint.program
    for parameter in program.trainable {
      let spec = program.graph.parameters[parameter.index]
      let vector = Vector<S>(count: spec.count)
      spec.reorder(
        direction.vector.pointer + program.offsets[parameter.index]!,
        into: vector.pointer, toFile: true)
      if isNear {
        Kernels.axpby(0, vector.pointer, scale, vector.pointer, count: vector.count)
      }
      writer.add(spec.name, shape: spec.shape, vector)
    }
    return writer
  }
}
