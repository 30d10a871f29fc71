import TensorModule

/// Which weights that lie in files are in memory where not all of them may be: those of the operation that
/// an executor is at, and the next ones, which are fetched meanwhile.
struct WeightPages: Sendable {
  enum Direction: Int {
    case forward, tangents, cotangents
  }

  /// Per node.
  private let pages: [[any FilePages]]
  /// Per direction and node, which node of those that read whole weights comes next; the last entry is the
  /// first one.
  private let next: [[Int?]]

  init<S: EngineScalar>(_ program: Program, _ parameters: ParameterStore<S>) {
    let nodes = program.graph.nodes
    let pages = nodes.map { node in
      node.parameters.compactMap { parameters.numbers[$0.index].pages }
    }
    self.pages = pages
    // A lookup reads some rows.
    let reads = nodes.indices.map { !pages[$0].isEmpty && !(nodes[$0].operation is Embedding) }
    // Derivatives read a frozen weight where its input has one.
    let passes = nodes.indices.map { reads[$0] && program.uses[$0].anyInputActive }
    func following(_ reads: [Bool], _ order: some Collection<Int>) -> [Int?] {
      var (result, last) = ([Int?](repeating: nil, count: nodes.count + 1), Int?.none)
      for node in order.reversed() {
        result[node] = last
        if reads[node] { last = node }
      }
      result[nodes.count] = last
      return result
    }
    next = [
      following(reads, nodes.indices), following(passes, nodes.indices),
      following(passes, nodes.indices.reversed()),
    ]
  }

  /// Before a pass.
  func begin(_ direction: Direction) { fetch(next[direction.rawValue].last!) }

  /// Before an operation.
  func enter(_ node: Int, _ direction: Direction) {
    if !pages[node].isEmpty { fetch(next[direction.rawValue][node]) }
  }

  /// After an operation.
  func leave(_ node: Int) { for page in pages[node] { page.release() } }

  private func fetch(_ node: Int?) {
    guard let node else { return }
    for page in pages[node] { page.fetch() }
  }
}
