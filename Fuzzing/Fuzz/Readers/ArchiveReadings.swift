import Checkpoints

/// An npz archive: members, or the file itself (`ZipInput`).
struct NPZReading: Reader {
  let name = "npz"
  let isText = true

  func read(_ input: ArraySlice<UInt8>) throws {
    try Scratch.withOpenFile(ZipInput.file(input)) { file in
      try ArchiveExamination.run(TensorArchive(file, memory: Scoring.memory))
    }
  }

  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]] {
    try ZipSeeds.make(fixtures, ["data"], ending: ".npz")
  }
}

/// A zip archive by torch.save.
struct TorchReading: Reader {
  let name = "torch"
  let isText = false

  func read(_ input: ArraySlice<UInt8>) throws {
    try Scratch.withOpenFile(ZipInput.file(input)) { file in
      try ArchiveExamination.run(TensorArchive(file, memory: Scoring.memory))
    }
  }

  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]] {
    try ZipSeeds.make(fixtures, ["data/torch", "data/optimizer"], ending: ".pt")
  }
}

/// A file by torch.save before PyTorch 1.6, which has no sums: the input is the file.
struct LegacyTorchReading: Reader {
  let name = "torch-legacy"
  let isText = false

  func read(_ input: ArraySlice<UInt8>) throws {
    try Scratch.withOpenFile(input) { file in
      try ArchiveExamination.run(TensorArchive(file, memory: Scoring.memory))
    }
  }

  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]] {
    var seeds: [String: [UInt8]] = [:]
    for place in ["data/torch", "data/optimizer"] {
      for (name, file) in try fixtures.files(in: place, ending: ".pt")
      where !ZipSeeds.isZip(file) && file.count <= Readers.mostSeedBytes { seeds[name] = file }
    }
    return seeds
  }
}

enum ZipSeeds {
  static func isZip(_ file: [UInt8]) -> Bool { file.starts(with: [0x50, 0x4B]) }

  /// Every archive by its members, and small ones as they are.
  static func make(
    _ fixtures: Fixtures, _ places: [String], ending: String
  ) throws -> [String: [UInt8]] {
    var seeds: [String: [UInt8]] = [:]
    for place in places {
      for (name, file) in try fixtures.files(in: place, ending: ending) where isZip(file) {
        let archive = try ZipArchive(MappedFile(path: fixtures.path("\(place)/\(name)")))
        let members = try archive.members.map {
          (name: $0.name, content: try archive.prefix($0.size, of: $0))
        }
        let flag = UInt8(ascii: archive.members.allSatisfy(\.isStored) ? "s" : "d")
        seeds[name] = ZipInput.members(members, flag: flag)
        if file.count < 1600 { seeds["raw-" + name] = ZipInput.raw(file) }
      }
    }
    return seeds.filter { $0.value.count <= Readers.mostSeedBytes }
  }
}
