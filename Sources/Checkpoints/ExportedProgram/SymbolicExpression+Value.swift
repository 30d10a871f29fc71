import Foundation

/// The value of an expression where its symbols are bound: exact fractions as long as everything is
/// an integer, in checked arithmetic; real numbers where PyTorch computes in them.
extension SymbolicExpression {
  /// Why an expression has no value.
  package enum Failure: Error, Equatable, Sendable {
    case unbound(String)
    case beyondRange(SymbolicExpression)
    case divisionByZero(SymbolicExpression)
    /// Of another kind than is asked for, or with operands of a kind or number that it does not take.
    case wrongKind(SymbolicExpression)
  }

  /// - Parameter symbols: The value of every symbol.
  package func integer(_ symbols: [String: Int]) throws(Failure) -> Int {
    guard case .fraction(let value, 1) = try value(symbols) else { throw .wrongKind(self) }
    return value
  }

  package func real(_ symbols: [String: Int]) throws(Failure) -> Double {
    guard let value = try value(symbols).real else { throw .wrongKind(self) }
    return value
  }

  package func bool(_ symbols: [String: Int]) throws(Failure) -> Bool {
    guard case .bool(let value) = try value(symbols) else { throw .wrongKind(self) }
    return value
  }
}

extension SymbolicExpression.Failure: CustomStringConvertible {
  package var description: String {
    switch self {
    case .unbound(let symbol): "the size \(symbol) is not known"
    case .beyondRange(let expression): "\(expression) is beyond the range of sizes"
    case .divisionByZero(let expression): "\(expression) divides by zero"
    case .wrongKind(let expression): "\(expression) is not of the kind that is expected"
    }
  }
}

// MARK: - Evaluation

extension SymbolicExpression {
  fileprivate enum Value {
    /// Reduced, with a positive denominator.
    case fraction(Int, Int)
    case real(Double)
    case bool(Bool)

    var real: Double? {
      switch self {
      case .fraction(let numerator, let denominator): Double(numerator) / Double(denominator)
      case .real(let value): value
      case .bool: nil
      }
    }
  }

  private func value(_ symbols: [String: Int]) throws(Failure) -> Value {
    switch self {
    case .integer(let value): return .fraction(value, 1)
    case .real(let value): return .real(value)
    case .bool(let value): return .bool(value)
    case .symbol(let name):
      guard let value = symbols[name] else { throw .unbound(name) }
      return .fraction(value, 1)
    case .function(let function, let arguments):
      // Only the branch that is taken need have a value.
      if function == .choice, arguments.count == 3 {
        return try arguments[arguments[0].bool(symbols) ? 1 : 2].value(symbols)
      }
      var values: [Value] = []
      for argument in arguments { values.append(try argument.value(symbols)) }
      return try apply(function, values)
    }
  }

  private func apply(_ function: Function, _ values: [Value]) throws(Failure) -> Value {
    switch function {
    case .add: return try fold(values, from: 0, sum, +)
    case .multiply: return try fold(values, from: 1, product, *)
    case .maximum: return try extreme(values) { $0 > $1 }
    case .minimum: return try extreme(values) { $0 < $1 }
    case .and, .or:
      var result = function == .and
      for value in values {
        guard case .bool(let operand) = value else { throw .wrongKind(self) }
        result = function == .and ? result && operand : result || operand
      }
      return .bool(result)
    case .not:
      guard values.count == 1, case .bool(let operand) = values[0] else { throw .wrongKind(self) }
      return .bool(!operand)
    case .identity, .absolute, .ceilingToInteger, .ceiling, .floorToInteger, .floor,
      .truncateToInteger, .truncateToReal, .roundToInteger, .toReal, .squareRoot:
      if values.count != 1 { throw .wrongKind(self) }
      return try apply(function, to: values[0])
    case .modularIndexing:
      if values.count != 3 { throw .wrongKind(self) }
      let quotient = try floor(divided(values[0], values[1]))
      return try remainder(quotient, values[2])
    case .equal, .unequal, .greater, .greaterOrEqual, .less, .lessOrEqual:
      if values.count != 2 { throw .wrongKind(self) }
      return .bool(try compare(function, values[0], values[1]))
    case .rational, .floorDivision, .cleanDivision, .ceilingDivision, .modulo, .pythonModulo,
      .power, .powerByNatural, .divideIntegers, .divideReals, .powerOfReals:
      if values.count != 2 { throw .wrongKind(self) }
      return try apply(function, values[0], values[1])
    case .choice: throw .wrongKind(self)
    }
  }

  private func apply(_ function: Function, to value: Value) throws(Failure) -> Value {
    switch function {
    case .identity: return value
    case .toReal: return .real(try number(value))
    case .squareRoot: return .real(try number(value).squareRoot())
    case .absolute:
      if case .fraction(let numerator, _) = value, numerator >= 0 { return value }
      if case .real(let value) = value { return .real(abs(value)) }
      return try product(value, .fraction(-1, 1))
    case .floorToInteger, .floor: return try floor(value)
    case .ceilingToInteger, .ceiling:
      return try negated(floor(negated(value)))
    case .truncateToReal: return .real(try number(value).rounded(.towardZero))
    case .truncateToInteger:
      return try number(value) < 0 ? negated(floor(negated(value))) : floor(value)
    default: return try integer(number(value).rounded(.toNearestOrEven))
    }
  }

  private func apply(_ function: Function, _ a: Value, _ b: Value) throws(Failure) -> Value {
    switch function {
    case .floorDivision: return try floor(divided(a, b))
    case .ceilingDivision: return try negated(floor(negated(divided(a, b))))
    case .modulo, .pythonModulo: return try remainder(a, b)
    case .power, .powerByNatural:
      if case .fraction(let exponent, 1) = b, case .fraction = a { return try power(a, exponent) }
      return .real(pow(try number(a), try number(b)))
    case .powerOfReals: return .real(pow(try number(a), try number(b)))
    case .divideIntegers, .divideReals: return .real(try number(divided(a, b)))
    default: return try divided(a, b)
    }
  }
}

// MARK: - Arithmetic

extension SymbolicExpression {
  private func number(_ value: Value) throws(Failure) -> Double {
    guard let number = value.real else { throw .wrongKind(self) }
    return number
  }

  private func integer(_ value: Double) throws(Failure) -> Value {
    guard let integer = Int(exactly: value) else { throw .beyondRange(self) }
    return .fraction(integer, 1)
  }

  private func fold(
    _ values: [Value], from start: Int, _ exact: (Value, Value) throws(Failure) -> Value,
    _ real: (Double, Double) -> Double
  ) throws(Failure) -> Value {
    var result = Value.fraction(start, 1)
    for value in values {
      if case .fraction = result, case .fraction = value {
        result = try exact(result, value)
      } else {
        result = .real(real(try number(result), try number(value)))
      }
    }
    return result
  }

  private func extreme(
    _ values: [Value], _ precedes: (Double, Double) -> Bool
  ) throws(Failure) -> Value {
    guard var result = values.first else { throw .wrongKind(self) }
    for value in values.dropFirst() {
      // Of two integers the difference is exact where their doubles may be equal.
      let isFirst: Bool
      if case .fraction = result, case .fraction = value {
        isFirst = precedes(try number(sum(value, negated(result))), 0)
      } else {
        isFirst = precedes(try number(value), try number(result))
      }
      if isFirst { result = value }
    }
    return result
  }

  private func sum(_ a: Value, _ b: Value) throws(Failure) -> Value {
    guard case .fraction(let p, let q) = a, case .fraction(let r, let s) = b else {
      throw .wrongKind(self)
    }
    let (left, first) = p.multipliedReportingOverflow(by: s)
    let (right, second) = r.multipliedReportingOverflow(by: q)
    let (numerator, third) = left.addingReportingOverflow(right)
    let (denominator, fourth) = q.multipliedReportingOverflow(by: s)
    if first || second || third || fourth { throw .beyondRange(self) }
    return try reduced(numerator, denominator)
  }

  private func product(_ a: Value, _ b: Value) throws(Failure) -> Value {
    guard case .fraction(let p, let q) = a, case .fraction(let r, let s) = b else {
      throw .wrongKind(self)
    }
    let (numerator, first) = p.multipliedReportingOverflow(by: r)
    let (denominator, second) = q.multipliedReportingOverflow(by: s)
    if first || second { throw .beyondRange(self) }
    return try reduced(numerator, denominator)
  }

  private func negated(_ value: Value) throws(Failure) -> Value {
    if case .real(let value) = value { return .real(-value) }
    return try product(value, .fraction(-1, 1))
  }

  private func divided(_ a: Value, _ b: Value) throws(Failure) -> Value {
    guard case .fraction(let p, let q) = a, case .fraction(let r, let s) = b else {
      let divisor = try number(b)
      if divisor == 0 { throw .divisionByZero(self) }
      return .real(try number(a) / divisor)
    }
    if r == 0 { throw .divisionByZero(self) }
    let (numerator, first) = p.multipliedReportingOverflow(by: s)
    let (denominator, second) = q.multipliedReportingOverflow(by: r)
    if first || second { throw .beyondRange(self) }
    return try reduced(numerator, denominator)
  }

  /// With the sign of the divisor, as in Python.
  private func remainder(_ a: Value, _ b: Value) throws(Failure) -> Value {
    let multiple = try fold([floor(divided(a, b)), b], from: 1, product, *)
    return try fold([a, negated(multiple)], from: 0, sum, +)
  }

  private func power(_ base: Value, _ exponent: Int) throws(Failure) -> Value {
    guard case .fraction(let numerator, let denominator) = base else { throw .wrongKind(self) }
    if exponent < 0 {
      if exponent == .min { throw .beyondRange(self) }
      return try power(divided(.fraction(1, 1), base), -exponent)
    }
    // Of these any power is within range; of the others none beyond the 63rd.
    if denominator == 1 && (-1...1).contains(numerator) {
      let even = exponent == 0 ? 1 : numerator * numerator
      return .fraction(exponent % 2 == 0 ? even : numerator, 1)
    }
    if exponent > 63 { throw .beyondRange(self) }
    var result = Value.fraction(1, 1)
    for _ in 0..<exponent { result = try product(result, base) }
    return result
  }

  private func floor(_ value: Value) throws(Failure) -> Value {
    guard case .fraction(let numerator, let denominator) = value else {
      return try integer(number(value).rounded(.down))
    }
    let quotient = numerator / denominator
    return .fraction(numerator % denominator < 0 ? quotient - 1 : quotient, 1)
  }

  private func compare(
    _ function: Function, _ a: Value, _ b: Value
  ) throws(Failure) -> Bool {
    if case .bool(let a) = a, case .bool(let b) = b {
      switch function {
      case .equal: return a == b
      case .unequal: return a != b
      default: throw .wrongKind(self)
      }
    }
    let difference = try number(fold([a, negated(b)], from: 0, sum, +))
    switch function {
    case .equal: return difference == 0
    case .unequal: return difference != 0
    case .greater: return difference > 0
    case .greaterOrEqual: return difference >= 0
    case .less: return difference < 0
    default: return difference <= 0
    }
  }

  private func reduced(_ numerator: Int, _ denominator: Int) throws(Failure) -> Value {
    if numerator == .min || denominator == .min { throw .beyondRange(self) }
    var (a, b) = (abs(numerator), abs(denominator))
    while b != 0 { (a, b) = (b, a % b) }
    let sign = denominator < 0 ? -1 : 1
    return .fraction(sign * numerator / max(a, 1), abs(denominator) / max(a, 1))
  }
}
