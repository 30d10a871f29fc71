import Checkpoints

/// `HEADER separator DATA`: the length of the header is put in front, and the data are repeated up to
/// the largest offset of the header. `raw separator FILE` is the file itself.
struct SafetensorsReading: Reader {
  let name = "safetensors"
  let isText = true

  private static let raw = Array("raw".utf8)
  private static let mostData = 1 << 16

  func read(_ input: ArraySlice<UInt8>) throws {
    try Scratch.withOpenFile(Self.file(input)) { file in
      let reader = try SafetensorsReader(file)
      let archive = try TensorArchive(file)
      precondition(reader.tensors.count == archive.tensors.count)
      try ArchiveExamination.run(archive)
      try Self.expectRoundTrip(archive)
    }
  }

  private static func file(_ input: ArraySlice<UInt8>) -> [UInt8] {
    let parts = Parts.split(input, limit: 2)
    let data = parts.count == 2 ? parts[1] : []
    if parts[0].elementsEqual(raw) { return Array(data) }
    let size = data.isEmpty ? 0 : largestNumber(parts[0])
    let length = withUnsafeBytes(of: UInt64(parts[0].count).littleEndian) { Array($0) }
    return length + parts[0] + (0..<size).map { data[data.startIndex + $0 % data.count] }
  }

  private static func largestNumber(_ text: ArraySlice<UInt8>) -> Int {
    text.split { !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
      .compactMap { Int(String(decoding: $0, as: UTF8.self)) }.filter { $0 <= mostData }.max() ?? 0
  }

  /// What is accepted has a meaning that another file can have.
  private static func expectRoundTrip(_ archive: TensorArchive) throws {
    if archive.tensors.keys.contains("__metadata__") { return }
    var writer = SafetensorsWriter(metadata: archive.metadata)
    for (name, tensor) in archive.tensors { writer.add(name, tensor) }
    let path = Scratch.path("copy")
    try writer.write(to: path)
    let copy = try TensorArchive.open(path)
    precondition(copy.metadata == archive.metadata, "the copy has other metadata")
    precondition(copy.tensors.count == archive.tensors.count, "the copy has other tensors")
    for (name, tensor) in archive.tensors {
      let other = copy.tensors[name]!
      precondition(other.shape == tensor.shape && other.dtype == tensor.dtype, "\(name) differs")
      let isSame = try tensor.withBytes { ours throws(CheckpointError) in
        try other.withBytes { theirs in ours.elementsEqual(theirs) }
      }
      precondition(isSame, "\(name) has other bytes in the copy")
    }
  }

  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]] {
    var seeds: [String: [UInt8]] = [:]
    for place in ["golden", "data/optimizer", "hf/t5_lora", "training"] {
      for ending in [".bin", ".safetensors"] {
        for (name, file) in try fixtures.files(in: place, ending: ending) where file.count < 4096 {
          let length = Int(file[0]) + Int(file[1]) << 8
          seeds[name] = Parts.join([Array(file[8..<8 + length]), Array(file.suffix(32))])
        }
      }
    }
    for (name, file) in try fixtures.files(in: "golden", ending: ".bin") where file.count < 2048 {
      seeds["raw-" + name] = Self.raw + Parts.separator + file
    }
    return seeds
  }
}
