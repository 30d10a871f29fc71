import Testing

@testable import TensorModule

/// Serial, and of a size that no other test takes: the blocks are those of the whole process.
@Suite(.serialized)
struct LargeBlocksTests {
  private static let count = (37 << 20) / 8  // 37 MB, in blocks of 38.

  @Test func whatIsGivenBackIsZeroedForTheNext() {
    for _ in 0..<3 {
      let vector = Vector<Double>(count: Self.count)
      #expect((0..<Self.count).allSatisfy { vector.pointer[$0] == 0 })
      for i in 0..<Self.count { vector.pointer[i] = 1 }
    }
  }

  @Test func theSameMemoryComesAgain() throws {
    let bytes = Self.count * 8 - 4096  // rounds to the same size
    // Room for what other suites take meanwhile.
    let ballast = try (0..<3).map { _ in try #require(LargeBlocks.take(bytes)).block }
    for block in ballast { LargeBlocks.giveBack(block) }
    let first = try #require(LargeBlocks.take(bytes))
    LargeBlocks.giveBack(first.block)
    let second = try #require(LargeBlocks.take(bytes))
    #expect(([first.block] + ballast).contains { $0.start == second.block.start })
    #expect(!second.isZero)
    LargeBlocks.giveBack(second.block)
  }

  @Test func memoryIsKeptWithinBounds() throws {
    // Six blocks of 38 MB were in use at once: more than may be kept.
    let blocks = try (0..<6).map { _ in try #require(LargeBlocks.take(Self.count * 8)).block }
    for block in blocks { LargeBlocks.giveBack(block) }
    #expect(LargeBlocks.keptBytes <= LargeBlocks.mostKept)
  }

  @Test func blocksBeginAtHugePages() throws {
    let (block, _) = try #require(LargeBlocks.take(3 << 20))
    #expect(UInt(bitPattern: block.start) % (1 << 21) == 0)
    #expect(block.count == 4 << 20)
    LargeBlocks.giveBack(block)
  }

  @Test func sizesBeyondTheMachineAreRefused() {
    #expect(LargeBlocks.take(.max) == nil)
    #expect(LargeBlocks.take(1 << 60) == nil)
  }
}
