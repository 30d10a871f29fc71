import TensorModule

/// Which cotangents of the later directions are those of the first times a number, but for a few places: of
/// `M (p - y)` for several labels y of one p, as they are drawn. What they are multiplied to by a large weight
/// follows from what the first is, and from a few rows of the weight.
struct CotangentMultiples<S: EngineScalar> {
  private enum Row {
    case multiplied
    /// `factor` times that of the first direction, and what is left at some places.
    case multiple(factor: Double, rest: [(place: Int, value: Double)])
  }

  /// Rows of one direction.
  private let rows: Int
  /// Of the directions behind the first.
  private let later: [Row]

  /// Rows that are to be multiplied, those of the first direction in front.
  let multiplied: Int

  /// Rows that are shorter are multiplied sooner than looked at.
  static func isWorthLooking(directions: Int, columns: Int) -> Bool {
    directions > 1 && columns >= 1024
  }

  /// Moves the rows that have to be multiplied to the front of the cotangents of a node,
  /// `[directions, rows, columns]`, which nobody reads any more.
  ///
  /// - Returns: `nil` where all have to be.
  init?(
    _ cotangents: UnsafeMutablePointer<S>, directions: Int, rows: Int, columns: Int
  ) {
    guard Self.isWorthLooking(directions: directions, columns: columns) else { return nil }
    later = (rows..<directions * rows).map {
      Self.row(cotangents + $0 % rows * columns, cotangents + $0 * columns, columns)
    }
    self.rows = rows
    var end = rows
    for (place, row) in later.enumerated() {
      guard case .multiplied = row else { continue }
      if end != rows + place {
        Kernels.copy(
          cotangents + (rows + place) * columns, cotangents + end * columns, count: columns)
      }
      end += 1
    }
    multiplied = end
    if end == directions * rows { return nil }
  }

  private static func row(
    _ first: UnsafePointer<S>, _ own: UnsafePointer<S>, _ columns: Int
  ) -> Row {
    func ratio(_ place: Int) -> Double {
      first[place] == 0 ? 0 : Double(own[place]) / Double(first[place])
    }
    // Of three places at most two are labels.
    let (a, b, c) = (ratio(0), ratio(columns / 2), ratio(columns - 1))
    let factor = max(min(a, b), min(max(a, b), c))
    guard
      let places = Kernels.unlikeMultiple(factor, first, own, count: columns, atMost: mostPlaces)
    else { return .multiplied }
    // What a label has in the first direction alone takes digits with it where it is much larger than all
    // that there is in this one.
    let size = Kernels.largest(own, count: columns)
    let rest = places.map { (place: $0, value: Double(own[$0]) - factor * Double(first[$0])) }
    guard rest.allSatisfy({ abs($0.value) <= 4 * size }) else { return .multiplied }
    return .multiple(factor: factor, rest: rest)
  }

  /// A label of either direction, and another two.
  private static var mostPlaces: Int { 4 }

  /// Puts the products of the rows that were multiplied, `[multiplied, columns]`, where they belong, and makes
  /// the others of them.
  func complete(
    _ products: UnsafeMutablePointer<S>, columns: Int, _ weight: WeightMatrix<S>,
    scratch: UnsafeMutablePointer<S>
  ) {
    // From the end: what is to be moved is never behind the place it goes to.
    var end = multiplied
    for (place, row) in later.enumerated().reversed() {
      let target = products + (rows + place) * columns
      switch row {
      case .multiplied:
        end -= 1
        if end != rows + place { Kernels.copy(products + end * columns, target, count: columns) }
      case .multiple(let factor, let rest):
        Kernels.axpby(factor, products + place % rows * columns, 0, target, count: columns)
        for (place, value) in rest {
          weight.copyRow(place, count: columns, to: scratch)
          Kernels.axpby(value, scratch, 1, target, count: columns)
        }
      }
    }
  }
}
