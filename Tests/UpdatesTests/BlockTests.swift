import Curvature
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// Block-diagonal and diagonal methods where other methods or theorems say what they are.
struct BlockTests {
  /// With one tensor there is nothing between blocks to leave out.
  @Test func oneTensorMakesBlockMethodsThoseWithoutBlocks() throws {
    let test = try #require(cases.first { $0.name == "cnn, convolution only" })
    let oracle = DenseOracle(Problem(test))
    let labels = oracle.problem.drawnLabels(1, seed: 3)
    let (engine, gradients) = try batch(oracle, draws: labels, Double.self)
    let dampings = ["0", "1e-3", "rel:1e-5"].map { Damping($0)! }
    let pairs: [(UpdateMethod, UpdateMethod)] = [
      (.blockEF, .ef), (.blockIEF, .ief), (.blockSF, .sf),
    ]
    for (method, whole) in pairs {
      for (one, other) in try zip(
        gradients.directions(method, dampings), gradients.directions(whole, dampings))
      {
        let (found, expected) = (engine.direction(one.scaled), engine.direction(other.scaled))
        if method.needs.isSampled && one.lambda == 0 {
          // Nothing is outside of the span: the solution, in units of each one's own.
          #expect(mismatchUpToScale(found, expected, tolerance: 1e-10) == nil)
        } else {
          #expect(
            mismatch(
              found, expected, tolerance: 1e-10,
              // What SF leaves of g may be no more than the rounding of g.
              scale: method.needs.isSampled ? oracle.gradient.map(abs).max() : nil)
              == nil, "\(method.name) at \(one.damping!.text)")
          // The same system twice, once with its Gram matrix from one tensor.
          #expect(mismatch(one.relativeError, other.relativeError, tolerance: 1e-3) == nil)
        }
      }
    }
  }

  /// More draws than entries in every tensor: without damping block-sf is the inverse itself.
  @Test func withoutDampingRegularBlocksAreInverted() throws {
    let oracle = DenseOracle(
      Problem(Case("linear", input: [2], linear("a", 2, 2), loss: "mse", samples: 6)))
    let labels = oracle.problem.drawnLabels(3, seed: 12)
    let (engine, gradients) = try batch(oracle, draws: labels, Double.self)
    let direction = try gradients.directions(.blockSF, [Damping("0")!])[0]
    let expected = oracle.tensorRanges.flatMap { oracle.sampledBlock($0.range, labels, lambda: 0) }
    #expect(mismatch(engine.direction(direction.scaled), expected, tolerance: 1e-10) == nil)
    #expect(direction.relativeError < 1e-12)
  }

  /// Columns in which no sample has a gradient, as dead inputs make them, stay zero.
  @Test func entriesWithoutGradientStayZero() throws {
    var problem = Problem(Case("linear", input: [3], linear("a", 3, 2), samples: 4))
    for n in 0..<4 { problem.inputs[n][1] = 0 }
    let (engine, gradients) = try batch(problem, draws: [], Double.self)
    let direction = try gradients.directions(.adam, [Damping("0")!])[0]
    let found = engine.direction(direction.scaled)
    #expect(found[1] == 0 && found[4] == 0)
    #expect(found.allSatisfy { $0.isFinite })
    #expect(found[0] != 0)
  }

  // MARK: - Ranges

  /// Samples fitted to 1e-40 and below: squares that no precision holds.
  @Test func wellFittedSamplesKeepTheirDigits() throws {
    var problem = Problem(Case("linear", input: [3], linear("a", 3, 3), samples: 3, seed: 4))
    problem.inputs = [[1, 0.25, 0], [0.125, 1, 0], [0, 0.25, 1]]
    problem.parameters["a.bias"] = [0, 0, 0]
    problem.labels = .classes([0, 1, 2])
    var found: [[Float]] = []
    for gap in [60.0, 400] {
      problem.parameters["a.weight"] = [gap, 0, 0, 0, gap, 0, 0, 0, gap]
      let (_, gradients) = try batch(problem, draws: [problem.labels], Float.self)
      let dampings = [Damping("rel:1e-3")!]
      for method in UpdateMethod.named where method.needs.isDamped && method.needs.solve == nil {
        let direction = try gradients.directions(method, dampings)[0]
        found.append(direction.scaled.vector.array)
        #expect(direction.scaled.scale > 0)
      }
    }
    for vector in found {
      #expect(vector.allSatisfy { $0.isFinite })
      #expect(vector.contains { abs($0) > 0.1 })
    }
  }
}

/// Draws are nested: the first k of more draws are those of a run with k.
struct NestedDrawTests {
  @Test(arguments: cases.filter { ["mlp", "cnn", "positions, few features"].contains($0.name) })
  func aPartOfTheDrawsIsTheBatchWithThatMany(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    let labels = oracle.problem.drawnLabels(3, seed: 7)
    let (_, all) = try batch(oracle, draws: labels, Double.self)
    let (engine, two) = try batch(oracle, draws: Array(labels.prefix(2)), Double.self)
    let part = BatchGradients(all, draws: 2)
    #expect(part.draws == 2 && part.gram.count == two.gram.count)
    let dampings = [Damping("rel:1e-3")!]
    for method in UpdateMethod.named where method.needs.isSampled {
      let a = try part.directions(method, dampings)[0]
      let b = try two.directions(method, dampings)[0]
      #expect(a.lambda == b.lambda)
      // The same sums; only the number of stacked cotangents differs.
      #expect(
        mismatch(engine.direction(a.scaled), engine.direction(b.scaled), tolerance: 1e-11) == nil,
        "\(method.name)")
    }
  }
}
