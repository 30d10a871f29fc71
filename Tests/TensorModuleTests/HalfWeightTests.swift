import CKernels
import TensorModule
import Testing

/// Products with weights in 16 bits have the bits of products with the widened weights.
@Suite struct HalfWeightTests {
  /// Numbers at an odd address, as a file may have them: subnormal ones too.
  private final class Stored {
    let memory: UnsafeMutableRawPointer
    let format: Kernels.StoredFormat
    let count: Int

    init(_ format: Kernels.StoredFormat, count: Int, seed: UInt64) {
      (self.format, self.count) = (format, count)
      memory = .allocate(byteCount: 2 * count + 1, alignment: 16)
      var random = TestRandom(seed: seed)
      // Exponents up to one, so that sums stay in range.
      let (exponents, shift): (UInt16, Int) = format == .float16 ? (16, 10) : (128, 7)
      for i in 0..<count {
        let bits = random.next()
        let fraction = UInt16(truncatingIfNeeded: bits) & ((1 << shift) - 1)
        let exponent = UInt16(truncatingIfNeeded: bits >> 20) % exponents
        let sign = UInt16(truncatingIfNeeded: bits >> 40) & 0x8000
        memory.storeBytes(
          of: (sign | exponent << shift | fraction).littleEndian, toByteOffset: 2 * i + 1,
          as: UInt16.self)
      }
    }

    deinit { memory.deallocate() }

    var numbers: HalfNumbers { HalfNumbers(memory + 1, count: count, format, owner: self) }

    func widened<S: EngineScalar>(_: S.Type) -> [S] {
      var result = [S](repeating: 0, count: count)
      Kernels.convert(format, memory + 1, &result, count: count)
      return result
    }
  }

  /// Few rows, the kernels of our own, and OpenBLAS: on both sides of tiles, panels and blocks of rows;
  /// the last one is larger than what OpenBLAS gets at a time.
  private static let shapes = [
    (1, 1, 1), (3, 5, 7), (16, 300, 801), (13, 33, 17), (49, 64, 769), (197, 132, 20),
    (40, 517, 33),
    (5, 9, 40), (17, 66, 8200),
  ]

  @Test(arguments: [Kernels.StoredFormat.float16, .bfloat16], [false, true])
  func haveTheBitsOfWidenedOnes(_ format: Kernels.StoredFormat, _ isTransposed: Bool) {
    check(format, isTransposed, Float.self)
    check(format, isTransposed, Double.self)
  }

  private func check<S: EngineScalar>(
    _ format: Kernels.StoredFormat, _ isTransposed: Bool, _: S.Type
  ) {
    for (m, n, k) in Self.shapes {
      // A column and rows in front of the part that is multiplied.
      let (rows, columns) = isTransposed ? (n + 1, k + 1) : (k + 1, n + 1)
      let stored = Stored(format, count: rows * columns, seed: UInt64(m + n + k))
      var random = TestRandom(seed: 3)
      let x: [S] = random.array(m * k)
      let start: [S] = random.array(m * n)
      let wide = stored.widened(S.self)
      for liesTransposed in [false, true] {
        let stride = liesTransposed ? rows : columns
        func product(_ weight: WeightMatrix<S>) -> [S] {
          var y = start
          BLAS.gemm(
            transposeB: isTransposed, m: m, n: n, k: k, alpha: 1.5, x, lda: k,
            weight.from(row: 1, column: 1), beta: -0.5, &y, ldc: n)
          return y
        }
        let expected = wide.withUnsafeBufferPointer {
          product(WeightMatrix($0.baseAddress!, stride: stride, isTransposed: liesTransposed))
        }
        let found = product(
          WeightMatrix(stored.numbers, stride: stride, isTransposed: liesTransposed))
        #expect(
          found == expected,
          "\(S.self), \(m) x \(n) x \(k), lies transposed: \(liesTransposed)")
        // What has been multiplied is the part from its row and column on.
        let (i, j) = (m - 1, n - 1)
        let sum = (0..<k).reduce(0.0) { sum, l in
          let (row, column) = isTransposed ? (j + 1, l + 1) : (l + 1, j + 1)
          let place = liesTransposed ? column * stride + row : row * stride + column
          return sum + Double(x[i * k + l]) * Double(wide[place])
        }
        let value = 1.5 * sum - 0.5 * Double(start[i * n + j])
        // As in ProductTests, with weights of at most 2.
        let bound = 4 * Double(S.ulpOfOne) * Double(2 + k) * Double(k).squareRoot()
        #expect(abs(Double(found[i * n + j]) - value) <= bound, "\(S.self), \(m) x \(n) x \(k)")
      }
    }
  }

  /// The kernel for many rows, also at sizes at which another is chosen.
  @Test(
    .enabled(if: ck_has_product() == 1), arguments: [Kernels.StoredFormat.float16, .bfloat16],
    [false, true])
  func ownProductsHaveTheBitsOfWidenedOnes(
    _ format: Kernels.StoredFormat, _ isTransposed: Bool
  ) {
    let source = format == .float16 ? CK_SOURCE_F16 : CK_SOURCE_BF16
    for (m, n, k) in Self.shapes {
      let stored = Stored(format, count: n * k, seed: 5)
      let ldw = isTransposed ? k : n
      var random = TestRandom(seed: 4)
      let x: [Float] = random.array(m * k)
      let w = stored.widened(Float.self)
      var (found, expected) = (
        [Float](repeating: 0, count: m * n), [Float](repeating: 0, count: m * n)
      )
      ck_product(isTransposed ? 1 : 0, m, n, k, 1, x, k, w, ldw, 0, &expected, n)
      ck_product_stored(
        CK_F32, source, isTransposed ? 1 : 0, m, n, k, 1, x, k, stored.memory + 1, ldw, 0, &found, n
      )
      #expect(found == expected, "\(m) x \(n) x \(k)")
    }
  }

  /// Parts of a weight that passes through memory: by outputs, and by terms of the sums.
  @Test(.enabled(if: ck_has_product() == 1), arguments: [false, true])
  func partsHaveTheBitsOfTheWhole(_ isTransposed: Bool) {
    checkParts(isTransposed, Float.self)
    checkParts(isTransposed, Double.self)
  }

  private func checkParts<S: EngineScalar>(_ isTransposed: Bool, _: S.Type) {
    // Rows of a weight in memory, and as many of them at a time as products take: the last part has the rest.
    let (rows, columns, part) = (3200, 272, 1536)
    for m in [5, 17, 40] {
      let (n, k) = isTransposed ? (rows, columns) : (columns, rows)
      let stored = Stored(.bfloat16, count: rows * columns, seed: 8)
      var random = TestRandom(seed: 9)
      let x: [S] = random.array(m * k)
      let weight = WeightMatrix<S>(stored.numbers, stride: columns)
      #expect(
        BLAS.isExactInParts(
          S.self, transposeB: isTransposed, m: m, widths: isTransposed ? [n, part] : [n],
          depths: isTransposed ? [k] : [k, part]))
      let start: [S] = random.array(m * n)
      var (whole, inParts) = (start, start)
      BLAS.gemm(
        transposeB: isTransposed, m: m, n: n, k: k, x, lda: k, weight, beta: 0.5, &whole, ldc: n)
      for (first, count) in [(0, part), (part, rows - part)] {
        x.withUnsafeBufferPointer { xs in
          inParts.withUnsafeMutableBufferPointer { y in
            BLAS.gemm(
              transposeB: isTransposed, m: m, n: isTransposed ? count : n,
              k: isTransposed ? k : count, xs.baseAddress! + (isTransposed ? 0 : first), lda: k,
              weight.from(row: first), beta: isTransposed || first == 0 ? 0.5 : 1,
              y.baseAddress! + (isTransposed ? first : 0), ldc: n)
          }
        }
      }
      #expect(inParts == whole, "\(S.self), \(m) rows")
    }
  }

  @Test(arguments: [Kernels.StoredFormat.float16, .bfloat16])
  func infinityAndNaNAreFound(_ format: Kernels.StoredFormat) {
    let infinity: UInt16 = format == .float16 ? 0x7c00 : 0x7f80
    for place in [0, 17, 16_383, 16_384, 39_999] {
      let stored = Stored(format, count: 40_000, seed: 6)
      #expect(Kernels.firstNonFinite(format, stored.memory + 1, count: stored.count) == nil)
      for bits in [infinity, 0x8000 | infinity, infinity | 1] {
        stored.memory.storeBytes(of: bits, toByteOffset: 2 * place + 1, as: UInt16.self)
        #expect(Kernels.firstNonFinite(format, stored.memory + 1, count: stored.count) == place)
        #expect(Kernels.firstNonFinite(format, stored.memory + 1, count: place) == nil)
      }
    }
  }

  @Test func rowsAreWidened() {
    let stored = Stored(.bfloat16, count: 60, seed: 7)
    let wide = stored.widened(Double.self)
    var row = [Double](repeating: 0, count: 10)
    WeightMatrix<Double>(stored.numbers, stride: 12).copyRow(3, count: 10, to: &row)
    #expect(row == Array(wide[36..<46]))
  }
}
