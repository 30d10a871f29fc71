import TensorModule

/// Rows of B that stand for all of them: of each scored position its leading classes one by one, and
/// what is left of it as one more.
///
/// With U orthonormal columns in the coordinates of A (method.md 2), the rows are those of `U^T B`. For
/// cross-entropy they are the rows of the root of full rank of a coarser distribution: one in which the
/// classes that do not lead are a single class, of the sum of their probabilities p_rest, whose logit is their
/// mean, `sum_j p_j z_j / p_rest`. Their w is `sqrt(p)` in the same proportions, so that all of w lies in the
/// span of U, whatever is left out: `g = B^T w = (U^T B)^T (U^T w)`. For losses of single elements what is
/// left is taken together in the proportions of its w, with the same effect.
///
/// A row of a class is the same whatever leads beside it.
package struct LeadingRows: Sendable {
  /// A scored position of a sample, `n O + o`.
  struct Position: Sendable {
    let row: Int
    /// Classes that lead and have a row of their own.
    var members: [Int32]
    /// The most probable class, which has none; -1 for losses of single elements.
    let top: Int
    /// Whether classes are left that have a row together.
    var hasRest: Bool
  }

  var positions: [Position]
  /// Of each row its place in `positions`, and its class; -1: what is left.
  let rows: [(place: Int32, class: Int32)]
  /// O
  private let outputs: Int

  init(_ positions: [Position], outputs: Int) {
    self.positions = positions
    self.outputs = outputs
    rows = positions.enumerated().flatMap { place, position in
      (position.members + (position.hasRest ? [-1] : [])).map { (Int32(place), $0) }
    }
  }

  /// What a row is: the same one again where these are.
  package struct Identity: Hashable {
    /// `n O + o`
    let position: Int
    let member: Int32
    /// What is left depends on what leads.
    let leading: [Int32]
  }

  package func identity(_ row: Int) -> Identity {
    let (place, member) = rows[row]
    let position = positions[Int(place)]
    return Identity(
      position: position.row, member: member, leading: member < 0 ? position.members.sorted() : [])
  }

  /// m
  package var count: Int { rows.count }
  /// Of each row.
  package var samples: [Int] { rows.map { positions[Int($0.place)].row / outputs } }

  /// Per class whether it leads: has a row of its own, or none for being the most probable.
  static func leads(_ position: Position, of classes: Int) -> [Bool] {
    var leads = [Bool](repeating: false, count: classes)
    for c in position.members { leads[Int(c)] = true }
    if position.top >= 0 { leads[position.top] = true }
    return leads
  }
}

/// Numbers that are not negative, in bins whose ends differ by an eighth: for thresholds that leave out the
/// smallest of very many up to some sum.
struct SizeBins {
  private var sums = [Double](repeating: 0, count: 1 << 14)
  private(set) var total = 0.0

  /// By the exponent and three bits behind it.
  static func bin(_ value: Double) -> Int { Int(value.bitPattern >> 49) }

  mutating func add(_ value: Double) {
    guard value > 0, value.isFinite else { return }
    sums[Self.bin(value)] += value
    total += value
  }

  /// The first bin that is not left out where the rest may sum up to so much.
  func threshold(leaving most: Double) -> Int {
    var sum = 0.0
    for bin in sums.indices {
      sum += sums[bin]
      if sum > most { return bin }
    }
    return sums.count
  }
}
