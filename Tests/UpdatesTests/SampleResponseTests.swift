import TensorModule
import TestSupport
import Testing

@testable import Updates

/// What errors of directions do to the samples.
struct SampleResponseTests {
  /// Parts with signs may cancel, bounds may not; each part has a power of two of its own.
  @Test func partsOfTensorsAreAddedUp() throws {
    let program = try EngineProblem(Problem(Case("mlp", input: [3], mlp)), Double.self).program
    let parameters = program.trainable
    let responses = SampleResponses(parameters: program.graph.parameters.count, samples: 2)
    responses.set(parameters[0], [3, 1], exponent: 1, isBound: false)
    responses.set(parameters[1], [-1, 2], exponent: 2, isBound: false)
    responses.set(parameters[2], [3, 4], exponent: 0, isBound: true)
    let total = responses.total(top: 1)
    #expect(total[0] == (1 + 1.5 * 1.5).squareRoot())
    #expect(total[1] == (25 + 4.0).squareRoot())
  }

  /// `<G_n, X>` of either form against the sums that it stands for.
  @Test func productsWithGradientsOfSamples() {
    let (samples, positions, rows, columns) = (3, 2, 4, 5)
    func numbers(_ count: Int, _ factor: Double) -> Vector<Double> {
      Vector((0..<count).map { (Double($0) * factor).truncatingRemainder(dividingBy: 1) - 0.5 })
    }
    let b = numbers(samples * positions * rows, 0.37)
    let a = numbers(samples * positions * columns, 0.61)
    let x = numbers(rows * columns, 0.83)
    var written = [Double](repeating: 0, count: samples * rows * columns)
    for n in 0..<samples {
      for t in 0..<positions {
        for i in 0..<rows {
          for j in 0..<columns {
            written[(n * rows + i) * columns + j] +=
              b[(n * positions + t) * rows + i] * a[(n * positions + t) * columns + j]
          }
        }
      }
    }
    let expected = (0..<samples).map { n in
      (0..<rows * columns).reduce(0) { $0 + written[n * rows * columns + $1] * x[$1] }
    }
    let forms: [GradientMatrices.Form] = [
      .products(positions: positions, b: b, a: a), .explicit(Vector(written)),
    ]
    for form in forms {
      let found = GradientMatrices(samples: samples, rows: rows, columns: columns, form)
        .products(with: x)
      for (own, other) in zip(found, expected) { #expect(abs(own - other) < 1e-13) }
    }
  }
}
