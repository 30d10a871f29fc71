import TensorModule

@testable import GraphModule

/// One executor over one chunk of all samples.
struct Run<S: EngineScalar> {
  let program: Program
  let samples: Int
  private let executor: Executor<S>
  private let kept: ForwardStore<S>
  private let inputs: BatchInputs<S>

  init(
    _ program: Program, _ parameters: ParameterStore<S>, _ inputs: BatchInputs<S>, directions: Int
  ) {
    self.program = program
    samples = inputs.samples
    self.inputs = inputs
    executor = Executor(program: program, parameters: parameters, maximumSamples: samples)
    executor.reserve(directions: directions, tangents: true, cotangents: true)
    kept = ForwardStore<S>(program: program, samples: samples)
    executor.bind(first: 0, samples: samples, inputs: inputs, store: kept, storeOffset: 0)
    executor.forward()
  }

  private var size: Int { samples * program.graph.outputShape.reduce(1, *) }

  var values: [Double] {
    kept.values[program.graph.output.index]!.array.map { Double($0) }
  }

  func jvp(_ directions: [Vector<S>]) -> [[Double]] {
    withExtendedLifetime((kept, inputs)) {
      let tangents = executor.jvp(
        directions.map { direction in
          program.offsets.map { $0.map { UnsafePointer(direction.pointer + $0) } }
        })
      return directions.indices.map { r in (0..<size).map { Double(tangents[r * size + $0]) } }
    }
  }

  /// Sums over samples and rows of samples, in the engine's layout.
  func vjp(_ cotangents: [[Double]]) -> (sums: [[Double]], rows: [[[Double]]]) {
    withExtendedLifetime((kept, inputs)) {
      let target = executor.logitCotangents(directions: cotangents.count)
      for r in cotangents.indices {
        for i in 0..<size { target[r * size + i] = S(cotangents[r][i]) }
      }
      let count = program.parameterCount
      let collector = Collector(
        program: program, samples: samples,
        sums: Vector<S>(count: cotangents.count * count),
        rows: Vector<S>(count: cotangents.count * samples * count))
      executor.vjp(collector)
      func slice(_ vector: Vector<S>, _ index: Int) -> [Double] {
        (0..<count).map { Double(vector.pointer[index * count + $0]) }
      }
      return (
        cotangents.indices.map { slice(collector.sums, $0) },
        cotangents.indices.map { r in
          (0..<samples).map { slice(collector.rows, r * samples + $0) }
        }
      )
    }
  }

  /// Asks every operation for its own gradients, never for factors.
  struct Collector: GradientCollector {
    let program: Program
    let samples: Int
    let sums: Vector<S>
    let rows: Vector<S>

    func collect(_ pass: CotangentPass<S>, first: Int) {
      let count = program.parameterCount
      for (slot, parameter) in pass.node.parameters.enumerated() {
        guard let offset = program.offsets[parameter.index] else { continue }
        for r in 0..<pass.directions {
          pass.node.operation.addGradient(
            pass, slot: slot, direction: r, to: sums.pointer + r * count + offset)
          pass.node.operation.addPerSampleGradients(
            pass, slot: slot, direction: r, to: rows.pointer + r * samples * count + offset,
            stride: count)
        }
      }
    }
  }
}
