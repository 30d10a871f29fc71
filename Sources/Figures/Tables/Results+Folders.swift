extension Results {
  /// Several folders as one, each with its runs: names that two of them share get the folder's.
  ///
  /// - Throws: As for one folder.
  package init(folders: [String]) throws(TableError) {
    var parts: [Results] = []
    var trainings: [Results] = []
    for folder in folders {
      let part = try Results(folder: folder)
      // What training has written is of runs that others score.
      if part.checkpoints.isEmpty && part.epochs != nil {
        trainings.append(part)
      } else {
        parts.append(part)
      }
    }
    if parts.isEmpty { (parts, trainings) = ([trainings[0]], Array(trainings.dropFirst())) }
    defer {
      if !trainings.isEmpty { epochs = (epochs ?? []) + trainings.flatMap { $0.epochs ?? [] } }
    }
    precondition(!parts.isEmpty, "Results: no folder")
    if parts.count == 1 {
      self = parts[0]
      return
    }
    let folders = parts.map(\.folder)
    let runs = parts.map(\.runs)
    let checkpoints = parts.map(\.checkpoints)
    let (sharesRuns, sharesCheckpoints) = (Self.share(runs), Self.share(checkpoints))
    for index in parts.indices {
      let folder = folders[index]
      parts[index].rename { place in
        if sharesRuns || place.run.isEmpty {
          place.run = runs[index].count > 1 ? "\(folder): \(place.run)" : folder
        }
        if sharesCheckpoints { place.checkpoint = "\(folder): \(place.checkpoint)" }
      }
    }
    self = parts[0]
    folder = folders.joined(separator: ", ")
    for part in parts.dropFirst() {
      scores = Self.joined(scores, part.scores)
      batches = Self.joined(batches, part.batches)
      iterates = Self.joined(iterates, part.iterates)
      layers = Self.joined(layers, part.layers)
      epochs = Self.joined(epochs, part.epochs)
      records += part.records
    }
  }

  private static func joined<Row>(_ a: [Row]?, _ b: [Row]?) -> [Row]? {
    a == nil && b == nil ? nil : (a ?? []) + (b ?? [])
  }

  private static func share(_ names: [Set<String>]) -> Bool {
    names.reduce(0) { $0 + $1.count } != names.reduce(Set()) { $0.union($1) }.count
  }

  private var places: [Place] {
    (scores ?? []).map(\.place) + (batches ?? []).map(\.place) + (layers ?? []).map(\.place)
  }

  private var runs: Set<String> { Set(places.map(\.run)) }

  private var checkpoints: Set<String> {
    Set(places.map(\.checkpoint) + (iterates ?? []).map(\.checkpoint))
  }

  private mutating func rename(_ change: (inout Place) -> Void) {
    for index in (scores ?? []).indices { change(&scores![index].place) }
    for index in (batches ?? []).indices { change(&batches![index].place) }
    for index in (layers ?? []).indices { change(&layers![index].place) }
    for index in (iterates ?? []).indices {
      var place = Place(checkpoint: iterates![index].checkpoint, batch: "")
      change(&place)
      iterates![index].checkpoint = place.checkpoint
    }
  }
}
