import Curvature
import GraphModule
import TensorModule
import TestSupport
import Testing

/// The linearization in some of the parameters is the whole one with zeros, or without entries, for the others.
struct RestrictedTests {
  @Test(arguments: cases + [tiedRows])
  func restrictedProductsAreThoseOfTheirColumns(_ test: Case) throws {
    try check(test, budget: .max)
    // Where forward values are computed again, the restricted passes do that too.
    try check(test, budget: 0)
  }

  private func check(_ test: Case, budget: Int) throws {
    let engine = try EngineProblem(Problem(test), Double.self)
    let whole = engine.linearize(threads: 2, budget: budget)
    let program = whole.program
    var random = SeededGenerator(seed: test.seed &+ 3)
    func numbers(_ count: Int) -> Vector<Double> {
      Vector((0..<count).map { _ in Double.random(in: -1...1, using: &random) })
    }
    let size = whole.logitCount
    let cotangent = numbers(whole.samples * size)
    let gradient = Vector<Double>(count: whole.parameterCount)
    whole.vjp(into: [gradient]) { chunk, out in
      Kernels.copy(cotangent.pointer + chunk.first * size, out, count: chunk.count * size)
    }
    for group in program.trainable.map({ [$0] }) + program.modules.map(\.parameters) {
      guard let own = whole.restricted(to: group) else {
        Issue.record("the logits depend on all parameters of the cases")
        continue
      }
      let direction = numbers(own.parameterCount)
      let padded = Vector<Double>(count: whole.parameterCount)
      let part = Vector<Double>(count: own.parameterCount)
      var place = 0
      for parameter in group {
        let (start, count) = (
          program.offsets[parameter.index]!, program.graph.parameters[parameter.index].count
        )
        Kernels.copy(direction.pointer + place, padded.pointer + start, count: count)
        Kernels.copy(gradient.pointer + start, part.pointer + place, count: count)
        place += count
      }
      #expect(place == own.parameterCount)
      // The same products, summed in another order.
      #expect(
        mismatch(tangents(own, direction), tangents(whole, padded), tolerance: 1e-13) == nil)
      let result = Vector<Double>(count: own.parameterCount)
      own.vjp(into: [result]) { chunk, out in
        Kernels.copy(cotangent.pointer + chunk.first * size, out, count: chunk.count * size)
      }
      #expect(mismatch(result.array, part.array, tolerance: 1e-13) == nil)
    }
  }

  private func tangents(_ own: Linearization<Double>, _ direction: Vector<Double>) -> [Double] {
    let result = Vector<Double>(count: own.samples * own.logitCount)
    own.jvp([direction]) { chunk, tangents in
      let count = chunk.count * own.logitCount
      Kernels.copy(tangents, result.pointer + chunk.first * own.logitCount, count: count)
    }
    return result.array
  }
}
