import Curvature
import Foundation
import TensorModule
import Updates

/// What an optimiser gets of one mini-batch, in double: the only place where a batch becomes a
/// vector of length P.
package enum BatchDirection {
  /// The direction for the settings' optimiser, written to `result` `[P]`.
  ///
  /// NaN where lambda is beyond the range of numbers.
  ///
  /// - Parameter step: Number of the step in the run; with the seed it decides the labels of `sf`.
  package static func write<S: EngineScalar>(
    _ settings: OptimizerSettings, _ linearization: Linearization<S>, _ output: OutputState<S>,
    seed: UInt64, step: Int, to result: Vector<Double>
  ) throws {
    guard let method = settings.kind.method else {
      return meanGradient(linearization, output, to: result)
    }
    let isSampled = method.needs.isSampled
    let sampled =
      isSampled
      ? output.sampledGradients(draws: settings.monteCarloSamples, seed: seed, batch: step) : []
    let gradients = BatchGradients(
      linearization, output, sampled: sampled, dropDuplicates: settings.dropDuplicates)
    // Gradients are sums here: what their number divides is put in afterwards.
    let unit = settings.reduction == .mean ? positions(output) : 1
    let damping = settings.damping.inUnits(of: unit)
    let lambda = gradients.lambda(damping, method.needs)
    guard lambda.value.isFinite && lambda.scaled.isFinite else {
      for i in 0..<result.count { result.pointer[i] = .nan }
      return
    }
    let direction = try method.directions(
      DirectionContext(gradients), dampings: [damping])[0]
    // The factor 1 / lambda of Algorithm 3, which no indicator depends on.
    let factor = isSampled && !settings.isNormalized ? 1 / lambda.value : 1
    let power = settings.kind.lossPower
    write(direction, times: factor * pow(unit, -Double(power)), to: result)
  }

  /// The gradient of the mean loss, from one backward pass.
  package static func meanGradient<S: EngineScalar>(
    _ linearization: Linearization<S>, _ output: OutputState<S>, to result: Vector<Double>
  ) {
    let units = [Double](repeating: positions(output), count: output.samples)
    let gradient = Vector<S>(count: linearization.parameterCount)
    linearization.vjp(into: [gradient]) { chunk, cotangents in
      output.write(output.gradient, chunk: chunk, units: units, to: cotangents)
    }
    Kernels.toDouble(gradient.pointer, result.pointer, count: result.count)
  }

  /// What a mean over scored positions divides by; where nothing is scored the gradient is zero.
  private static func positions<S: EngineScalar>(_ output: OutputState<S>) -> Double {
    output.positionWeight > 0 ? output.positionWeight : 1
  }

  /// A direction written out.
  private static func write<S: EngineScalar>(
    _ direction: Direction<S>, times factor: Double, to result: Vector<Double>
  ) {
    let scaled = direction.scaled
    Kernels.toDouble(scaled.vector.pointer, result.pointer, count: result.count)
    Kernels.axpby(
      0, result.pointer, scaled.scale * factor, result.pointer, count: result.count)
  }
}
