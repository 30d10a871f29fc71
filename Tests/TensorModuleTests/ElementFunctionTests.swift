import Testing

@testable import TensorModule

/// Element-wise functions where they have kinks, poles and limits; elsewhere the cases of operations
/// compare them with formulas.
struct ElementFunctionTests {
  private func apply<S: EngineScalar>(
    _ function: ElementFunction, _ x: [S]
  ) -> (values: [S], derivatives: [S]) {
    var (values, derivatives) = (x, x)
    Kernels.apply(function, x, &values, derivative: &derivatives, count: x.count)
    return (values, derivatives)
  }

  private func check<S: EngineScalar>(_: S.Type) throws {
    func expect(
      _ name: String, _ numbers: [Double] = [], at x: S, value: S, derivative: S,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      var function = try #require(ElementFunction(name))
      if numbers.count == 1 { function = function.with(numbers[0]) }
      if numbers.count == 2 { function = function.with(numbers[0], numbers[1]) }
      let found = apply(function, [x])
      #expect(
        found.values == [value] && found.derivatives == [derivative], "\(name) at \(x): \(found)",
        sourceLocation: sourceLocation)
    }
    // PyTorch's choices where there is no derivative.
    try expect("abs", at: 0, value: 0, derivative: 0)
    try expect("clamp", [-1, 2], at: 2, value: 2, derivative: 1)
    try expect("hardtanh", [-1, 2], at: 2, value: 2, derivative: 0)
    try expect("hardsigmoid", at: 3, value: 1, derivative: 0)
    try expect("hardswish", at: -3, value: 0, derivative: 0)
    try expect("elu", [0.5], at: 0, value: 0, derivative: 0.5)
    try expect("pow", [0], at: 0, value: 1, derivative: 0)
    // Limits.
    try expect("exp", at: -.infinity, value: 0, derivative: 0)
    try expect("log", at: 0, value: -.infinity, derivative: .infinity)
    try expect("sqrt", at: 0, value: 0, derivative: .infinity)
    try expect("erf", at: .infinity, value: 1, derivative: 0)
    try expect("elu", [0.5], at: -.infinity, value: -0.5, derivative: 0)
    try expect("hardtanh", [-1, 2], at: .infinity, value: 2, derivative: 0)
    // Without an overflow on the way.
    try expect("log_sigmoid", at: -1000, value: -1000, derivative: 1)
    try expect("mish", at: 1000, value: 1000, derivative: 1)
  }

  @Test func kinksAndLimits() throws {
    try check(Float.self)
    try check(Double.self)
  }

  @Test func nanStays() {
    for function in ElementFunction.all {
      #expect(apply(function, [Float.nan]).values[0].isNaN, "\(function.name)")
      #expect(apply(function, [Double.nan]).values[0].isNaN, "\(function.name)")
    }
  }

  /// Sums over axes of any strides, with a gate, against loops.
  @Test func stridedSumsAgreeWithLoops() {
    let (rows, inner, columns) = (3, 70, 5)
    let a = (0..<rows * inner * columns).map { Double(($0 * 37) % 101) / 7 }
    let b = (0..<inner).map { Double(($0 * 13) % 17) - 8 }
    let gate = (0..<rows).map { Int32($0 % 2) }
    for (open, accumulates) in [(true, false), (false, true)] {
      var axes = StridedAxes()
      axes.append(rows, a: inner * columns, gate: 1, out: 1)
      axes.append(inner, a: columns, b: 1, out: 0)
      axes.append(columns, a: 1, out: rows)
      var out = [Double](repeating: 2, count: rows * columns)
      Kernels.contract(
        axes, alpha: 0.5, a, b, gate: gate, open: open, to: &out, accumulate: accumulates)
      for (row, column) in (0..<rows * columns).map({ ($0 / columns, $0 % columns) }) {
        var sum = 0.0
        if (gate[row] != 0) == open {
          for k in 0..<inner { sum += a[(row * inner + k) * columns + column] * b[k] }
        }
        // Whole numbers over 7: the order of the sum is the only difference.
        let expected = (accumulates ? 2 : 0) + 0.5 * sum
        #expect(abs(out[column * rows + row] - expected) <= 1e-11 * (1 + abs(expected)))
      }
    }
  }
}
