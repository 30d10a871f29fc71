import TensorModule
import Testing

struct SparseMatrixTests {
  /// What a file asks for is refused before it is made.
  @Test func noMoreThanTheLimit() {
    let endless = (0...).lazy.map { column in (0...).lazy.map { SparseMatrix.Term(column + $0) } }
    #expect(SparseMatrix(columns: 3, rows: endless, atMost: 5)?.count == nil)
    #expect(SparseMatrix(columns: 3, taking: (0...).lazy.map { $0 }, atMost: 5)?.count == nil)
    #expect(SparseMatrix(columns: 3, taking: [nil, nil, nil], atMost: 2)?.count == nil)
    #expect(SparseMatrix(columns: 3, taking: [nil, 2, 0], atMost: 3)?.count == 2)
  }

  @Test(arguments: [[0, 3], [-1], [nil, Int.max]] as [[Int?]])
  func entriesInNoColumnAreSeen(_ sources: [Int?]) {
    #expect(SparseMatrix(columns: 3, taking: sources)?.isValid == false)
  }
}
