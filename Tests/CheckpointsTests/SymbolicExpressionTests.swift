import Testing

@testable import Checkpoints

@Suite struct SymbolicExpressionTests {
  private static let n = "Symbol('n', positive=True, integer=True)"
  private static let m = "Symbol('m', integer=True)"

  /// With n = 7 and m = -3.
  static let integers: [(String, Int, String)] = [
    (n, 7, "n"),
    ("Integer(-12)", -12, "-12"),
    ("Add(\(n), Integer(1), \(m))", 5, "n + 1 + m"),
    ("Mul(Integer(2), Add(\(n), Integer(1)))", 16, "2*(n + 1)"),
    ("FloorDiv(\(n), Integer(2))", 3, "n//2"),
    // Towards minus infinity, and with the sign of the divisor, as in Python.
    ("FloorDiv(\(m), Integer(2))", -2, "m//2"),
    ("Mod(\(m), Integer(5))", 2, "m % 5"),
    ("PythonMod(\(n), Integer(-4))", -1, "n % -4"),
    ("CeilDiv(\(n), Integer(2))", 4, "CeilDiv(n, 2)"),
    ("CleanDiv(Mul(Integer(2), \(n)), Integer(2))", 7, "CleanDiv(2*n, 2)"),
    ("ModularIndexing(\(n), Integer(2), Integer(2))", 1, "ModularIndexing(n, 2, 2)"),
    ("Max(Integer(1), \(n), \(m))", 7, "Max(1, n, m)"),
    ("Min(Integer(1), \(n), \(m))", -3, "Min(1, n, m)"),
    ("Pow(\(m), Integer(3))", -27, "m**3"),
    ("PowByNatural(\(n), Integer(2))", 49, "n**2"),
    ("Pow(Integer(-1), Integer(1000000001))", -1, "-1**1000000001"),
    ("Abs(\(m))", 3, "Abs(m)"),
    ("Mul(Rational(1, 7), \(n))", 1, "Rational(1, 7)*n"),
    ("floor(Mul(Rational(1, 2), \(m)))", -2, "floor(Rational(1, 2)*m)"),
    ("ceiling(Mul(Rational(1, 2), \(n)))", 4, "ceiling(Rational(1, 2)*n)"),
    ("Mul(Pow(\(n), Integer(-1)), Integer(14))", 2, "(n**-1)*14"),
    (
      "TruncToInt(Mul(Float('1.5', precision=53), ToFloat(\(n))))", 10, "TruncToInt(1.5*ToFloat(n))"
    ),
    (
      "TruncToInt(FloatTrueDiv(ToFloat(\(m)), Float('2.0', precision=53)))", -1,
      "TruncToInt(FloatTrueDiv(ToFloat(m), 2.0))"
    ),
    ("RoundToInt(IntTrueDiv(\(n), Integer(2)))", 4, "RoundToInt(IntTrueDiv(n, 2))"),
    (
      "Where(StrictGreaterThan(\(n), \(m)), \(n), FloorDiv(\(n), Integer(0)))", 7,
      "Where(StrictGreaterThan(n, m), n, n//0)"
    ),
    // Equal as doubles.
    (
      "Max(Integer(9007199254740992), Integer(9007199254740993))", 9_007_199_254_740_993,
      "Max(9007199254740992, 9007199254740993)"
    ),
  ]

  @Test(arguments: integers)
  func hasThisValueAndText(_ text: String, _ value: Int, _ description: String) throws {
    let expression = try SymbolicExpression(parsing: text)
    #expect(try expression.integer(["n": 7, "m": -3]) == value)
    #expect(expression.description == description)
  }

  static let bools: [(String, Bool)] = [
    ("Equality(\(n), Integer(7))", true), ("Unequality(\(n), Integer(7))", false),
    ("GreaterThan(\(n), Integer(7))", true), ("StrictGreaterThan(\(n), Integer(7))", false),
    ("LessThan(\(n), Integer(7))", true), ("StrictLessThan(\(n), Integer(7))", false),
    ("And(true, Equality(\(m), Integer(-3)))", true), ("Or(false, Not(true))", false),
  ]

  @Test(arguments: bools) func isTrueOrFalse(_ text: String, _ value: Bool) throws {
    #expect(try SymbolicExpression(parsing: text).bool(["n": 7, "m": -3]) == value)
  }

  static let failures: [(String, String)] = [
    (n, "the size n is not known"),
    (
      "Mul(Integer(9223372036854775807), Integer(2))",
      "9223372036854775807*2 is beyond the range of sizes"
    ),
    (
      "Add(Integer(9223372036854775807), Integer(1))",
      "9223372036854775807 + 1 is beyond the range of sizes"
    ),
    ("Pow(Integer(2), Integer(64))", "2**64 is beyond the range of sizes"),
    ("Pow(Integer(10), Integer(999999999999))", "10**999999999999 is beyond the range of sizes"),
    (
      "Pow(Integer(2), Integer(-9223372036854775808))",
      "2**-9223372036854775808 is beyond the range of sizes"
    ),
    (
      "Abs(Integer(-9223372036854775808))", "Abs(-9223372036854775808) is beyond the range of sizes"
    ),
    ("TruncToInt(Float('1e300', precision=53))", "TruncToInt(1e+300) is beyond the range of sizes"),
    ("FloorDiv(Integer(1), Integer(0))", "1//0 divides by zero"),
    ("Mod(Integer(1), Integer(0))", "1 % 0 divides by zero"),
    ("FloatTrueDiv(Float('1.0'), Float('0.0'))", "FloatTrueDiv(1.0, 0.0) divides by zero"),
    ("Rational(1, 0)", "Rational(1, 0) divides by zero"),
    ("Rational(1, 2)", "Rational(1, 2) is not of the kind that is expected"),
    ("true", "True is not of the kind that is expected"),
    ("FloorDiv(Integer(1))", "1 is not of the kind that is expected"),
    ("Add(true, Integer(1))", "True + 1 is not of the kind that is expected"),
  ]

  @Test(arguments: failures) func hasNoValue(_ text: String, _ reason: String) throws {
    let expression = try SymbolicExpression(parsing: text)
    do {
      let value = try expression.integer([:])
      Issue.record("it is \(value)")
    } catch {
      #expect(error.description == reason)
    }
  }

  static let defects: [(String, String)] = [
    ("", ""), ("s0 + 1", "s0 + 1"), ("Add(Integer(1)", ""), ("Add()", ")"),
    ("Integer(99999999999999999999)", "99999999999999999999)"), ("Integer(1))", ")"),
    ("Symbol(s0)", "s0)"), ("Symbol('')", "')"), ("Symbol('a b')", "b')"),
    ("Symbol('s0', positive)", ")"), ("zoo", "zoo"), ("Rational(1)", ")"), ("Float('x')", "x')"),
    ("__import__('os')", "__import__('os')"),
    (String(repeating: "Abs(", count: 100_000), String(repeating: "Abs(", count: 15)),
  ]

  @Test(arguments: defects) func cannotBeRead(_ text: String, _ rest: String) {
    do {
      let expression = try SymbolicExpression(parsing: text)
      Issue.record("it is \(expression)")
    } catch {
      #expect(error.rest == rest)
    }
  }

  @Test func symbolsAreCollected() throws {
    let expression = try SymbolicExpression(
      parsing: "Add(FloorDiv(\(Self.n), Integer(2)), \(Self.m), \(Self.n))")
    #expect(expression.symbols == ["n", "m"] && expression.constant == nil)
    #expect(SymbolicExpression.integer(4).constant == 4)
  }
}
