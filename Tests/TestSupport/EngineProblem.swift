import Checkpoints
import Curvature
import GraphModule
import Models
import TensorModule

/// A problem as the engine sees it, with the way between the two layouts of directions.
package struct EngineProblem<S: EngineScalar> {
  package let problem: Problem
  package let program: Program
  package let parameters: ParameterStore<S>
  package let inputs: BatchInputs<S>

  package init(_ problem: Problem, _: S.Type) throws {
    self.problem = problem
    let model = try Model(JSONValue(parsing: problem.json, name: "model", file: nil))
    program = Program(graph: model.graph) { problem.trainable.contains($0.name) }
    let order = EngineProblem.order
    parameters = ParameterStore(
      program.graph.parameters.map { spec in
        let values = problem.parameters[spec.name]!
        return Vector(order(spec).map { S(values[$0]) })
      })
    inputs = BatchInputs(
      samples: problem.samples,
      values: [
        problem.model.tokenBound == nil
          ? .real(Vector(problem.inputs.flatMap { $0.map { S($0) } }))
          : .index(IndexVector(problem.inputs.flatMap { $0.map { Int32($0) } }))
      ])
  }

  package func linearize(threads: Int = 1, budget: Int = .max) -> Linearization<S> {
    linearize(pool: WorkerPool(threads: threads), budget: budget)
  }

  package func linearize(pool: WorkerPool, budget: Int = .max) -> Linearization<S> {
    Linearization(
      program: program, parameters: parameters, inputs: inputs, pool: pool, budget: budget)
  }

  package func output(_ linearization: Linearization<S>) -> OutputState<S> {
    OutputState(
      loss: Loss(rawValue: problem.loss)!, labels: Labels(problem.labels),
      weighting: LossWeighting(problem), linearization: linearization)
  }

  // MARK: - Layouts

  /// Entry i of the engine's storage is entry `order[i]` of the file's: weights of convolutions
  /// have their input channels last.
  private static func order(_ spec: ParameterSpec) -> [Int] {
    guard spec.storage == .channelsLast else { return Array(0..<spec.count) }
    let (inputs, height, width) = (spec.shape[1], spec.shape[2], spec.shape[3])
    var order: [Int] = []
    for o in 0..<spec.shape[0] {
      for y in 0..<height {
        for x in 0..<width {
          for i in 0..<inputs { order.append(((o * inputs + i) * height + y) * width + x) }
        }
      }
    }
    return order
  }

  /// For every entry of a direction of the engine, the entry of the oracle's.
  private var places: [Int] {
    var starts: [String: Int] = [:]
    var end = 0
    for parameter in problem.trained {
      starts[parameter.name] = end
      end += parameter.count
    }
    return program.trainable.flatMap { id in
      let spec = program.graph.parameters[id.index]
      return EngineProblem.order(spec).map { starts[spec.name]! + $0 }
    }
  }

  /// The oracle's direction in the engine's layout.
  package func vector(_ direction: [Double]) -> Vector<S> {
    Vector(places.map { S(direction[$0]) })
  }

  /// The engine's direction in the oracle's layout.
  package func direction(_ vector: Vector<S>) -> [Double] {
    unscrambled(vector.array.map { Double($0) })
  }

  package func direction(_ scaled: ScaledVector<S>) -> [Double] {
    direction(scaled.vector).map { $0 * scaled.scale }
  }

  package func unscrambled(_ values: [Double]) -> [Double] {
    var result = [Double](repeating: .nan, count: values.count)
    for (place, value) in zip(places, values) { result[place] = value }
    return result
  }
}

extension Labels {
  package init(_ labels: OracleLabels) {
    switch labels {
    case .classes(let classes): self = .classes(classes.map { Int64($0) })
    case .real(let targets): self = .real(targets)
    }
  }
}

extension LossWeighting {
  /// Weights of cross-entropy are of positions, others of outputs.
  package init(_ problem: Problem) {
    let weighting = problem.weighting
    let step = problem.loss == "cross_entropy" ? problem.classes : 1
    self.init(
      smoothing: weighting.smoothing, classes: weighting.classes,
      positives: weighting.positives,
      samples: weighting.samples.map { all in
        all.flatMap { row in stride(from: 0, to: row.count, by: step).map { row[$0] } }
      })
  }
}

extension Linearization {
  /// `[N O C]`
  package var allLogits: [Double] {
    schedule.chunks.flatMap { chunk in
      let pointer = logits(chunk)
      return (0..<chunk.count * logitCount).map { Double(pointer[$0]) }
    }
  }

  /// J v for several directions, `[R][N O C]`.
  package func jvps(_ directions: [Vector<S>]) -> [[Double]] {
    let size = samples * logitCount
    let results = directions.map { _ in Vector<Double>(count: size) }
    jvp(directions) { chunk, tangents in
      for r in directions.indices {
        for i in 0..<chunk.count * logitCount {
          results[r].pointer[chunk.first * logitCount + i] =
            Double(tangents[r * chunk.count * logitCount + i])
        }
      }
    }
    return results.map(\.array)
  }

  /// J^T w for several cotangents `[R][N O C]`.
  package func vjps(_ cotangents: [[Double]]) -> [Vector<S>] {
    let results = cotangents.map { _ in Vector<S>(count: parameterCount) }
    vjp(into: results) { chunk, out in
      writeChunk(cotangents, chunk, out)
    }
    return results
  }

  package func writeChunk(_ cotangents: [[Double]], _ chunk: Chunk, _ out: Scalars) {
    let size = chunk.count * logitCount
    for r in cotangents.indices {
      for i in 0..<size {
        out[r * size + i] = S(cotangents[r][chunk.first * logitCount + i])
      }
    }
  }
}
