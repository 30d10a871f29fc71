import Foundation
import Testing

@testable import Checkpoints

/// Files by PyTorch (fixtures/make_torch.py), which says what their numbers are.
@Suite struct TorchTests {
  static let kinds: [(String, DType)] = [
    ("f2", .f16), ("bf", .bf16), ("f4", .f32), ("f8", .f64), ("i1", .i8), ("i2", .i16),
    ("i4", .i32), ("i8", .i64), ("u1", .u8), ("b1", .bool),
  ]

  private func open(_ name: String) throws -> TensorArchive {
    let archive = try TensorArchive.open(fixture("data/torch/\(name)"))
    #expect(archive.format == .torch)
    return archive
  }

  private func expectNumbers(
    _ tensor: StoredTensor, _ kind: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let indices = 0..<tensor.count
    switch kind {
    case "i1", "i2", "i4", "i8":
      #expect(
        try tensor.integers() == indices.map { Int64($0) - 3 }, sourceLocation: sourceLocation)
    case "u1":
      #expect(try tensor.integers() == indices.map(Int64.init), sourceLocation: sourceLocation)
    case "b1":
      #expect(
        try tensor.integers() == indices.map { $0 % 3 == 0 ? 1 : 0 },
        sourceLocation: sourceLocation)
    default:
      #expect(
        try tensor.vector(of: Double.self).array == indices.map { Double($0) / 2 - 3 },
        sourceLocation: sourceLocation)
    }
  }

  static let stateDicts =
    (2...5).flatMap { ["protocol\($0).pt", "legacy\($0).pt"] } + ["deflated.pt"]

  @Test(arguments: stateDicts) func everyTypeReadsInRowMajorOrder(_ name: String) throws {
    let archive = try open(name)
    #expect(archive.tensors.count == 28)
    #expect(archive.metadata == [:])
    for (kind, dtype) in Self.kinds {
      for tensor in [try archive.tensor(kind), try archive.tensor("t." + kind)] {
        #expect(tensor.dtype == dtype)
        #expect(tensor.shape == [2, 3, 4])
        try expectNumbers(tensor, kind)
      }
    }
  }

  @Test(arguments: stateDicts) func viewsShowTheirPartOfTheStorage(_ name: String) throws {
    let archive = try open(name)
    func numbers(_ name: String) throws -> [Double] {
      try archive.tensor(name).vector(of: Double.self).array
    }
    #expect(try numbers("shared.all") == [-3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5])
    #expect(try numbers("shared.part") == [-2, -1.5, -1, -0.5])
    #expect(try numbers("shared.even") == [-3, -2, -1, 0, 1])
    #expect(try numbers("expanded") == [-3, -2.5, -2, -3, -2.5, -2])
    #expect(try archive.tensor("expanded").shape == [2, 3])
    #expect(try archive.tensor("scalar").shape == [])
    #expect(try numbers("scalar") == [-3])
    #expect(try archive.tensor("empty").shape == [0, 3])
    #expect(try numbers("empty") == [])
    #expect(try archive.tensor("one").integers() == [-3])
    #expect(try numbers("parameter") == [-3, -2.5, -2, -1.5, -1, -0.5])
  }

  @Test(arguments: ["small.pt", "small_legacy.pt", "no_checksum.pt"])
  func aStateDictWithVersionsOfItsModulesReads(_ name: String) throws {
    let archive = try open(name)
    #expect(
      archive.tensors.mapValues(\.shape) == [
        "0.weight": [2, 3], "0.bias": [2], "1.weight": [2], "1.bias": [2],
        "1.running_mean": [2], "1.running_var": [2], "1.num_batches_tracked": [],
      ])
    #expect(try archive.tensor("0.bias").vector(of: Double.self).array == [-3, -2.5])
    // values("f4", 3, 2).t()
    #expect(
      try archive.tensor("0.weight").vector(of: Double.self).array == [
        -3, -2, -1, -2.5, -1.5, -0.5,
      ])
  }

  @Test func aNestedCheckpointIsFlattened() throws {
    let archive = try open("checkpoint.pt")
    #expect(
      archive.tensors.mapValues(\.shape) == [
        "model.fc.weight": [2, 3], "optimizer.state.0.exp_avg": [2, 3],
        "optimizer.state.0.exp_avg_sq": [2, 3], "optimizer.state.0.step": [],
        "list.0": [2], "list.1.0": [1],
      ])
    try expectNumbers(archive.tensor("model.fc.weight"), "f4")
    try expectNumbers(archive.tensor("optimizer.state.0.exp_avg"), "f4")
    #expect(try archive.tensor("optimizer.state.0.step").vector(of: Float.self).array == [1])
    let metadata = archive.metadata
    #expect(metadata["epoch"] == "3")
    #expect(metadata["loss"] == "0.25")
    #expect(metadata["name"] == "small")
    #expect(metadata["done"] == "false")
    #expect(metadata["note"] == "null")
    #expect(metadata["big"] == nil)
    #expect(metadata["optimizer.param_groups.0.lr"] == "0.125")
    #expect(metadata["optimizer.param_groups.0.params.0"] == "0")
  }

  @Test func aBareTensorOrStorageIsCalledTensor() throws {
    #expect(try open("bare.pt").tensors.keys.sorted() == ["tensor"])
    try expectNumbers(open("bare.pt").tensor("tensor"), "f4")
    try expectNumbers(open("storage.pt").tensor("tensor"), "i8")
    try expectNumbers(open("untyped.pt").tensor("tensor"), "u1")
    #expect(try open("untyped.pt").tensor("tensor").shape == [5])
  }

  @Test(arguments: ["little.pt", "big.pt"]) func bothByteOrdersRead(_ name: String) throws {
    let archive = try open(name)
    for kind in ["f4", "i8", "u1"] { try expectNumbers(archive.tensor(kind), kind) }
  }

  /// The pointers lie in one map, in the order of the file.
  @Test func whatIsStoredIsUsedInPlace() throws {
    let archive = try open("protocol2.pt")
    func address(_ name: String) throws -> UInt {
      try archive.tensor(name).withBytes { UInt(bitPattern: $0.baseAddress!) }
    }
    #expect(try address("shared.part") == address("shared.all") + 8)
    let distance = Int(bitPattern: try address("shared.all") &- address("f2"))
    #expect(abs(distance) < 9365)
    #expect(try address("f8") % 64 == address("f2") % 64)
  }

  @Test func oneViewReadsFromManyThreads() async throws {
    for name in ["deflated.pt", "protocol2.pt"] {
      let archive = try open(name)
      let sums = await withTaskGroup(of: Double?.self) { group in
        for index in 0..<32 {
          let kind = ["t.f2", "f4", "t.f4", "f8"][index % 4]
          group.addTask { try? archive.tensor(kind).vector(of: Double.self).array.reduce(0, +) }
        }
        return await group.reduce(into: [Double?]()) { $0.append($1) }
      }
      #expect(sums == [Double?](repeating: 66, count: 32))
    }
  }

  // MARK: - Refused

  static let saveTensors =
    "Save tensors and numbers alone: torch.save(model.state_dict(), path)."
  static let elementTypes = """
    Element types that are read: F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL. \
    Convert the tensors and save them again.
    """
  static let refused = [
    (
      "malicious.pt",
      """
      posix.system is not allowed: nothing that a file contains is executed
        at FILE, tensor malicious/data.pkl, byte 13
        \(saveTensors)
      """
    ),
    (
      "malicious_legacy.pt",
      """
      posix.system is not allowed: nothing that a file contains is executed
        at FILE, byte 150
        \(saveTensors)
      """
    ),
    (
      "module.pt",
      """
      torch.nn.modules.linear.Linear is not allowed: nothing that a file contains is executed
        at FILE, tensor module/data.pkl, byte 2
        \(saveTensors)
      """
    ),
    (
      "complex.pt",
      """
      torch.ComplexFloatStorage is not allowed: nothing that a file contains is executed
        at FILE, tensor complex/data.pkl, byte 64
        \(elementTypes)
      """
    ),
    (
      "uint16.pt",
      """
      torch._utils._rebuild_tensor_v3 is not allowed: nothing that a file contains is executed
        at FILE, tensor uint16/data.pkl, byte 13
        \(elementTypes)
      """
    ),
    (
      "sparse.pt",
      """
      torch._utils._rebuild_sparse_tensor is not allowed: nothing that a file contains is executed
        at FILE, tensor sparse/data.pkl, byte 13
        Only dense, unquantized tensors are read; convert them and save them again.
      """
    ),
    (
      "negative.pt",
      """
      the pickle is not valid: a tensor has a negative or conjugate bit
        at FILE, tensor negative/data.pkl, byte 172
        Call resolve_neg() and resolve_conj() on it before saving.
      """
    ),
    (
      "script.pt",
      """
      this is a TorchScript archive (torch.jit.save), expected a file by torch.save
        at FILE
        It holds a program. Save its tensors: torch.save(model.state_dict(), path).
      """
    ),
    (
      "pickle.pkl",
      """
      this is a Python pickle, expected a file by torch.save
        at FILE
        Save tensors with torch.save or safetensors.
      """
    ),
  ]

  @Test(arguments: refused) func isRefusedByName(_ name: String, _ expected: String) {
    let path = fixture("data/torch/\(name)")
    #expect(message(for: path) { _ = try TensorArchive.open(path) } == expected)
  }
}
