import CKernels
import TensorModule
import Testing

/// `values` as bytes after one byte of padding, so that they are not aligned.
private func unaligned<A>(_ values: [A]) -> [UInt8] {
  [0] + values.withUnsafeBytes { Array($0) }
}

private func convert<A, S: EngineScalar>(_ source: ck_source, _ values: [A], to: S.Type) -> [S] {
  var out = [S](repeating: -1, count: values.count)
  unaligned(values).withUnsafeBytes {
    ck_convert(source, $0.baseAddress! + 1, S.kernelType, &out, values.count)
  }
  return out
}

/// IEEE 754 binary16 by its definition.
private func half(_ bits: UInt16) -> Double {
  let sign: Double = bits >> 15 == 1 ? -1 : 1
  let (exponent, fraction) = (Int(bits >> 10) & 31, Double(bits & 1023))
  if exponent == 31 { return fraction == 0 ? sign * .infinity : .nan }
  if exponent == 0 { return sign * fraction * 0x1p-24 }
  return sign * (1 + fraction / 1024) * Double(sign: .plus, exponent: exponent - 15, significand: 1)
}

private func mismatches<S: EngineScalar>(_ found: [S], _ expected: [Double]) -> Int {
  zip(found, expected).count {
    !(Double($0) == $1 && $0.sign == $1.sign || $0.isNaN && $1.isNaN)
  }
}

@Suite struct ConversionTests {
  static let patterns = Array(UInt16.min...UInt16.max)

  @Test func everyHalfConvertsExactly() {
    let expected = Self.patterns.map(half)
    #expect(mismatches(convert(CK_SOURCE_F16, Self.patterns, to: Float.self), expected) == 0)
    #expect(mismatches(convert(CK_SOURCE_F16, Self.patterns, to: Double.self), expected) == 0)
  }

  #if !(os(macOS) && arch(x86_64))  // where Swift has no Float16
    @Test func everyHalfConvertsAsSwiftFloat16Does() {
      let expected = Self.patterns.map { Double(Float16(bitPattern: $0)) }
      #expect(mismatches(convert(CK_SOURCE_F16, Self.patterns, to: Float.self), expected) == 0)
    }
  #endif

  @Test func everyBrainFloatIsTheUpperHalfOfAFloat() {
    let expected = Self.patterns.map { Double(Float(bitPattern: UInt32($0) << 16)) }
    #expect(mismatches(convert(CK_SOURCE_BF16, Self.patterns, to: Float.self), expected) == 0)
    #expect(mismatches(convert(CK_SOURCE_BF16, Self.patterns, to: Double.self), expected) == 0)
  }

  @Test func floatsAndDoublesConvertExactlyOrToNearest() {
    let floats: [Float] = [0, -0.0, 1.5, .pi, .leastNonzeroMagnitude, .infinity, -.infinity, .nan]
    #expect(
      mismatches(convert(CK_SOURCE_F32, floats, to: Float.self), floats.map(Double.init)) == 0)
    #expect(
      mismatches(convert(CK_SOURCE_F32, floats, to: Double.self), floats.map(Double.init)) == 0)
    // A tie goes to even; too large goes to infinity.
    let doubles = [0.1, 1 + 0x1p-24, 1 + 0x3p-24, 1e39, -1e-46, .nan, 0x1p-149]
    #expect(
      mismatches(
        convert(CK_SOURCE_F64, doubles, to: Float.self), doubles.map { Double(Float($0)) }) == 0)
    #expect(mismatches(convert(CK_SOURCE_F64, doubles, to: Double.self), doubles) == 0)
  }

  @Test func nothingIsWrittenBeyondTheEnd() {
    for n in [0, 1, 7, 33] {
      var out = [Float](repeating: -7, count: n + 1)
      ck_convert(CK_SOURCE_F16, [UInt16](repeating: 0x3c00, count: n), CK_F32, &out, n)
      #expect(out == [Float](repeating: 1, count: n) + [-7])
    }
  }
}
