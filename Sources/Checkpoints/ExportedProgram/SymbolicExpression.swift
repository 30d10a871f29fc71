import Foundation
import TensorModule

/// A size that the data decide: an expression over named symbols, as PyTorch and SymPy build them.
package indirect enum SymbolicExpression: Hashable, Sendable {
  case integer(Int)
  case real(Double)
  case bool(Bool)
  case symbol(String)
  case function(Function, [SymbolicExpression])

  /// By the names that SymPy and `torch.utils._sympy.functions` have for them.
  package enum Function: String, CaseIterable, Sendable {
    case add = "Add"
    case multiply = "Mul"
    case power = "Pow"
    case powerByNatural = "PowByNatural"
    /// A fraction of two integers.
    case rational = "Rational"
    case floorDivision = "FloorDiv"
    case cleanDivision = "CleanDiv"
    case ceilingDivision = "CeilDiv"
    case modulo = "Mod"
    case pythonModulo = "PythonMod"
    /// `(a // b) % c`
    case modularIndexing = "ModularIndexing"
    case maximum = "Max"
    case minimum = "Min"
    case absolute = "Abs"
    case identity = "Identity"
    case ceilingToInteger = "CeilToInt"
    case ceiling = "ceiling"
    case floorToInteger = "FloorToInt"
    case floor = "floor"
    case truncateToInteger = "TruncToInt"
    case truncateToReal = "TruncToFloat"
    case roundToInteger = "RoundToInt"
    case toReal = "ToFloat"
    case divideIntegers = "IntTrueDiv"
    case divideReals = "FloatTrueDiv"
    case powerOfReals = "FloatPow"
    case squareRoot = "OpaqueUnaryFn_sqrt"
    case choice = "Where"
    case equal = "Equality"
    case unequal = "Unequality"
    case greater = "StrictGreaterThan"
    case greaterOrEqual = "GreaterThan"
    case less = "StrictLessThan"
    case lessOrEqual = "LessThan"
    case and = "And"
    case or = "Or"
    case not = "Not"
  }
}

extension SymbolicExpression {
  /// The symbols in it.
  package var symbols: Set<String> {
    switch self {
    case .integer, .real, .bool: []
    case .symbol(let name): [name]
    case .function(_, let arguments): arguments.reduce(into: []) { $0.formUnion($1.symbols) }
    }
  }

  /// The integer, if it is one whatever the data are.
  package var constant: Int? {
    if case .integer(let value) = self { value } else { nil }
  }
}

// MARK: - As text

extension SymbolicExpression: CustomStringConvertible {
  /// As it would be in Python: `2*s27 + (s27 + 1)//2`.
  package var description: String {
    switch self {
    case .integer(let value): String(value)
    case .real(let value): String(value)
    case .bool(let value): value ? "True" : "False"
    case .symbol(let name): name
    case .function(.add, let terms): terms.map(\.description).joined(separator: " + ")
    case .function(.multiply, let factors): factors.map(\.operand).joined(separator: "*")
    case .function(.floorDivision, let operands):
      operands.map(\.operand).joined(separator: "//")
    case .function(.modulo, let operands), .function(.pythonModulo, let operands):
      operands.map(\.operand).joined(separator: " % ")
    case .function(.power, let operands), .function(.powerByNatural, let operands):
      operands.map(\.operand).joined(separator: "**")
    case .function(let function, let operands):
      "\(function.rawValue)(" + operands.map(\.description).joined(separator: ", ") + ")"
    }
  }

  /// The same, in parentheses where it is a sum or a product.
  private var operand: String {
    switch self {
    case .function(.add, _), .function(.multiply, _), .function(.floorDivision, _),
      .function(.modulo, _), .function(.pythonModulo, _), .function(.power, _),
      .function(.powerByNatural, _):
      "(\(description))"
    default: description
    }
  }
}
