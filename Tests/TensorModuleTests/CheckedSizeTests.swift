import TensorModule
import Testing

@Suite struct CheckedSizeTests {
  @Test func productsThatFitAreProducts() {
    #expect(checkedProduct([Int]()) == 1)
    #expect(checkedProduct(3, 5, 7) == 105)
    #expect(checkedProduct(1 << 31, (1 << 32) - 1) == Int.max - (1 << 31) + 1)
    #expect(checkedProduct(Int.max, 1) == .max)
    #expect(checkedProduct(6, 7, atMost: 42) == 42)
  }

  @Test func otherProductsAreNone() {
    #expect(checkedProduct(1 << 32, 1 << 31) == nil)
    #expect(checkedProduct(-1, 5) == nil)
    #expect(checkedProduct(.min, .min) == nil)
    #expect(checkedProduct(6, 7, atMost: 41) == nil)
  }

  @Test func aZeroExcusesNothing() {
    #expect(checkedProduct(0, 5) == 0)
    #expect(checkedProduct(0, .max) == 0)
    #expect(checkedProduct(0, .max, 2) == nil)
    #expect(checkedProduct(.max, 2, 0) == nil)
    #expect(checkedProduct(0, -1) == nil)
  }

  @Test func sums() {
    #expect(checkedSum() == 0)
    #expect(checkedSum(.max - 1, 1) == .max)
    #expect(checkedSum(.max, 1) == nil)
    #expect(checkedSum(5, -1) == nil)
  }
}
