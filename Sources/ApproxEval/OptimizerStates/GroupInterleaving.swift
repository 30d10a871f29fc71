import GraphModule

/// In how many ways the model's parameters, each group in the model's order, can fill the groups'
/// places.
struct GroupInterleaving {
  /// Groups by their places.
  private let groups: [[Int]]
  private let shapes: [[Int]?]
  // A search that has written down so many numbers has long found two ways.
  private static let maximumNumbers = 1 << 22

  init(places: [ParameterOrder.Place]) {
    var groups: [Int: [Int]] = [:]
    for (index, place) in places.enumerated() { groups[place.group, default: []].append(index) }
    self.groups = groups.sorted { $0.key < $1.key }.map(\.value)
    shapes = places.map(\.shape)
  }

  /// How many there are, 2 for any more, and the only one.
  func assignments(_ candidates: [ParameterSpec]) -> (ways: Int, order: [ParameterSpec]?) {
    // For every reachable number of places filled in each group: how many ways lead there, 2 for
    // more, and the group whose place was filled last on the first of them.
    var layers: [[[Int]: (ways: Int, last: Int)]] = [
      [[Int](repeating: 0, count: groups.count): (1, -1)]
    ]
    var numbers = 0
    for spec in candidates {
      var next: [[Int]: (ways: Int, last: Int)] = [:]
      // Sorted, so that the way that is kept does not depend on a dictionary's order.
      for (filled, reached) in layers[layers.count - 1]
        .sorted(by: { $0.key.lexicographicallyPrecedes($1.key) })
      {
        for group in groups.indices where filled[group] < groups[group].count {
          if let shape = shapes[groups[group][filled[group]]], shape != spec.shape { continue }
          var filled = filled
          filled[group] += 1
          let known = next[filled]
          next[filled] = (min(reached.ways + (known?.ways ?? 0), 2), known?.last ?? group)
          numbers += groups.count
          if numbers > Self.maximumNumbers { return (2, nil) }
        }
      }
      layers.append(next)
    }
    var filled = groups.map(\.count)
    guard let end = layers[layers.count - 1][filled] else { return (0, nil) }
    var order = [ParameterSpec?](repeating: nil, count: candidates.count)
    for index in candidates.indices.reversed() {
      let group = layers[index + 1][filled]!.last
      filled[group] -= 1
      order[groups[group][filled[group]]] = candidates[index]
    }
    return (end.ways, order.compactMap { $0 })
  }
}
