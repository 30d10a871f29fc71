import GraphModule
import TensorModule

/// What an error e of a direction does to each sample along its own gradient, `g_n . e`, put together tensor by
/// tensor, each with a power of two of its own. Several tensors may be set at the same time.
final class SampleResponses {
  private let samples: Int
  /// `[parameters, N]`
  private let values: Vector<Double>
  private let forms: UnsafeMutablePointer<(exponent: Int, isBound: Bool)>
  private let count: Int

  init(parameters: Int, samples: Int) {
    self.samples = samples
    count = max(parameters, 1)
    values = Vector(count: count * samples)
    forms = .allocate(capacity: count)
    forms.initialize(repeating: (0, false), count: count)
  }

  deinit { forms.deallocate() }

  /// - Parameters:
  ///   - own: `[N]`, times two to the power `exponent`.
  ///   - isBound: Whether these are bounds, whose signs say nothing.
  func set(_ parameter: ParameterID, _ own: [Double], exponent: Int, isBound: Bool) {
    let row = values.pointer + parameter.index * samples
    for (n, value) in own.enumerated() { row[n] = value }
    forms[parameter.index] = (exponent, isBound)
  }

  /// `[N]`, none negative, over two to the power `top`: what has signs is added up, bounds in squares.
  func total(top: Int) -> [Double] {
    (0..<samples).map { n in
      var (sum, squares) = (0.0, 0.0)
      for place in 0..<count {
        let (exponent, isBound) = forms[place]
        // Beyond the range of numbers it is as good as infinite.
        let shift = min(max(exponent - top, -1022), 1023)
        let own =
          values.pointer[place * samples + n] * Double(sign: .plus, exponent: shift, significand: 1)
        if isBound { squares += own * own } else { sum += own }
      }
      return (sum * sum + squares).squareRoot()
    }
  }
}
