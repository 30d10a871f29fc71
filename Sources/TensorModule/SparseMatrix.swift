/// A constant matrix of few entries, row by row.
public struct SparseMatrix: Sendable {
  /// An entry of a row.
  public struct Term: Sendable, Equatable {
    let column: Int
    let weight: Double

    /// - Parameters:
    ///   - column: Where it is.
    ///   - weight: What it is.
    public init(_ column: Int, _ weight: Double = 1) {
      self.column = column
      self.weight = weight
    }
  }

  /// How many columns there are.
  public let columns: Int
  /// The column of every entry, row by row.
  private(set) var indices: [Int32] = []
  private(set) var weights: [Double] = []
  /// Where each row begins, and the end of the last.
  private(set) var starts: [Int32] = [0]

  private init(columns: Int) { self.columns = columns }

  /// - Parameters:
  ///   - columns: How many there are.
  ///   - rows: Of each row its entries.
  ///   - limit: Of rows and of entries; `nil` beyond it, before the memory for them is asked for.
  public init?(
    columns: Int, rows: some Sequence<some Sequence<Term>>, atMost limit: Int = Int(Int32.max)
  ) {
    self.init(columns: columns)
    for row in rows {
      guard self.rows < limit else { return nil }
      for term in row {
        guard indices.count < limit else { return nil }
        append(term.column, term.weight)
      }
      endRow()
    }
  }

  /// A one in each row, or nothing.
  ///
  /// - Parameters:
  ///   - columns: How many there are.
  ///   - sources: Of each row the column, `nil` in an empty one.
  ///   - limit: Of rows; `nil` beyond it.
  public init?(
    columns: Int, taking sources: some Sequence<Int?>, atMost limit: Int = Int(Int32.max)
  ) {
    self.init(columns: columns)
    for source in sources {
      guard rows < limit else { return nil }
      if let source { append(source, 1) }
      endRow()
    }
  }

  private mutating func append(_ column: Int, _ weight: Double) {
    indices.append(Int32(clamping: column))
    weights.append(weight)
  }

  private mutating func endRow() { starts.append(Int32(indices.count)) }

  /// How many rows there are.
  public var rows: Int { starts.count - 1 }

  /// How many entries there are.
  public var count: Int { indices.count }

  /// Whether every entry is in one of the columns.
  public var isValid: Bool { indices.allSatisfy { (0..<columns).contains(Int($0)) } }

  /// Its transpose.
  ///
  /// - Precondition: It is valid.
  public var transposed: SparseMatrix {
    var result = SparseMatrix(columns: rows)
    var ends = [Int32](repeating: 0, count: columns + 1)
    for index in indices { ends[Int(index) + 1] += 1 }
    for column in 0..<columns { ends[column + 1] += ends[column] }
    result.starts = ends
    result.indices = [Int32](repeating: 0, count: count)
    result.weights = [Double](repeating: 0, count: count)
    for row in 0..<rows {
      for entry in Int(starts[row])..<Int(starts[row + 1]) {
        let column = Int(indices[entry])
        let place = Int(ends[column])
        ends[column] += 1
        result.indices[place] = Int32(row)
        result.weights[place] = weights[entry]
      }
    }
    return result
  }
}
