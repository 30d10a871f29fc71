import CKernels
import TensorModule
import Testing

/// Strips of columns are 1024 wide: shapes on both sides.
private let shapes = [(1, 1), (3, 7), (17, 33), (5, 1030)]

@Suite struct RowTests {
  @Test func sumsOverRowsAreRoundedOnce() {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 31)
      for (rows, columns) in shapes {
        let a: [S] = random.array(rows * columns)
        let b: [S] = random.array(rows * columns)
        let start: [S] = random.array(columns)
        var sums = [Double](repeating: 0, count: columns)
        var products = sums
        for index in a.indices {
          sums[index % columns] += Double(a[index])
          products[index % columns] += Double(a[index]) * Double(b[index])
        }
        // In float the double sum is exact beside the one rounding. In double this is the same
        // sum but for fused products: rows * 2^-53 of a sum of at most rows.
        let bound = S.self == Float.self ? 0.5001 : 2
        let scale = S.self == Float.self ? nil : [Double](repeating: Double(rows), count: columns)
        var out = [S](repeating: .nan, count: columns)
        ck_sum_rows(S.kernelType, a, rows, columns, &out, 0)
        expectUlps(out, sums, scale: scale, within: bound)
        ck_sum_product_rows(S.kernelType, a, b, rows, columns, &out, 0)
        expectUlps(out, products, scale: scale, within: bound)
        out = start
        ck_sum_rows(S.kernelType, a, rows, columns, &out, 1)
        expectUlps(out, zip(start, sums).map { Double($0) + $1 }, scale: scale, within: bound)
        out = start
        ck_sum_product_rows(S.kernelType, a, b, rows, columns, &out, 1)
        expectUlps(out, zip(start, products).map { Double($0) + $1 }, scale: scale, within: bound)
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func biasAndScaleRunAlongEachRow() {
    func check<S: EngineScalar>(_: S.Type) {
      var random = TestRandom(seed: 32)
      for (rows, columns) in shapes {
        let y: [S] = random.array(rows * columns)
        let v: [S] = random.array(columns)
        var out = y
        ck_add_to_rows(S.kernelType, v, &out, rows, columns)
        #expect(out == y.indices.map { y[$0] + v[$0 % columns] })
        ck_multiply_rows(S.kernelType, y, v, &out, rows, columns, 0)
        let product = y.indices.map { y[$0] * v[$0 % columns] }
        #expect(out == product)
        out = y
        out.withUnsafeMutableBytes {
          ck_multiply_rows(S.kernelType, $0.baseAddress, v, $0.baseAddress, rows, columns, 0)
        }
        #expect(out == product)
        out = [S](repeating: 1, count: rows * columns)
        ck_multiply_rows(S.kernelType, y, v, &out, rows, columns, 1)
        // One rounding if fused, two if not, of numbers below 2.
        expectUlps(
          out, y.indices.map { 1 + Double(y[$0]) * Double(v[$0 % columns]) },
          scale: [Double](repeating: 2, count: out.count), within: 1)
      }
    }
    check(Float.self)
    check(Double.self)
  }

  @Test func scaleRowsGivesEachGroupOfRowsItsWeight() {
    let weight = [2.0, -0.5, 3]
    let y: [Float] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    var out = [Float](repeating: .nan, count: 10)
    ck_scale_rows(CK_F32, weight, 2, y, 5, 2, &out)
    #expect(out == [2, 4, 6, 8, -2.5, -3, -3.5, -4, 27, 30])
  }
}
