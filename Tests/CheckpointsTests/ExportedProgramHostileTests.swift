import Testing

@testable import Checkpoints

/// Archives of networks that are wrong in one way each: one error that says what and where.
@Suite struct ExportedProgramHostileTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var claim: String
    var change: @Sendable (inout ProgramDraft) -> Void
    var message: String
    var testDescription: String { claim }

    init(
      _ claim: String, _ message: String, _ change: @escaping @Sendable (inout ProgramDraft) -> Void
    ) {
      (self.claim, self.message, self.change) = (claim, message, change)
    }

    /// One text in place of another in the document of the graph.
    static func graph(_ claim: String, _ old: String, _ new: String, _ message: String) -> Case {
      Case(claim, message) { $0.replace(old, new) }
    }

    static func weight(_ claim: String, _ old: String, _ new: String, _ message: String) -> Case {
      Case(claim, message) { $0.replace(old, new, in: ProgramDraft.weights) }
    }
  }

  @Test(arguments: archives + documents + graphs + weights)
  func isRefused(_ test: Case) throws {
    var draft = try ProgramDraft()
    test.change(&draft)
    let file = TemporaryFile(draft.bytes)
    let text = message(for: file.path) { _ = try ExportedProgram.open(file.path) }
    #expect(text == test.message, "\(test.claim)")
  }

  static let archives: [Case] = [
    Case(
      "another archive version",
      """
      the archive's version is "7", expected 0 or 1
        at FILE
        Export it with a version of PyTorch that writes such archives.
      """
    ) { $0.members["archive_version"] = Array("7".utf8) },
    Case(
      "big-endian numbers",
      """
      the byte order is "big", expected little
        at FILE
        Export it on a machine with little-endian numbers, as x86 and ARM have.
      """
    ) { $0.members["byteorder"] = Array("big".utf8) },
    Case(
      "no graph",
      """
      this is an archive without a graph, expected a network by torch.export.save
        at FILE
        Compiled code cannot be read; save the program: torch.export.save(program, path).
      """
    ) { $0.members[ProgramDraft.model] = nil },
    Case(
      "two networks",
      """
      this is an archive of 2 networks, expected a network by torch.export.save
        at FILE
        Save one network: torch.export.save(program, path).
      """
    ) { $0.members["models/other.json"] = [] },
    Case(
      "another format",
      """
      this is another zip archive, expected a network by torch.export.save
        at FILE
        Save it: torch.export.save(torch.export.export(...), path).
      """
    ) { $0.members["archive_format"] = Array("pt3".utf8) },
    Case(
      "no weights",
      """
      the archive has no member counter/data/weights/model_weights_config.json
        at FILE
        The file was not written completely; save it again.
      """
    ) { $0.members[ProgramDraft.weights] = nil },
    Case(
      "a weight without its member",
      """
      the archive has no member counter/data/weights/weight_0
        at FILE, tensor scale
        The file was not written completely; save it again.
      """
    ) { $0.members["data/weights/weight_0"] = nil },
    Case(
      "weights as one pickle",
      """
      this is an archive in an older form, expected a network by torch.export.save
        at FILE, tensor counter/data/weights/model.pt
        Load it with torch.export.load and save it again with PyTorch 2.9 or later.
      """
    ) { $0.members["data/weights/model.pt"] = [] },
    Case(
      "an object that only its class understands",
      """
      the network is not valid: it is an object, which only the code of its class understands
        at FILE, tensor queue
        Networks of tensors alone are read.
      """
    ) {
      $0.replace(
        "{}",
        #"{"queue": {"path_name": "opaque_obj_0", "is_param": false, "use_pickle": true, "tensor_meta": null}}"#,
        in: ProgramDraft.constants)
    },
  ]

  static let documents: [Case] = [
    .graph(
      "a future schema", #""major": 8"#, #""major": 9"#,
      """
      models/model.json.schema_version.major is 9, expected 8
        at FILE
        The archive is by PyTorch 2.15.0+cu132; export it with a version whose schema is read.
      """),
    .graph(
      "no JSON", #"{"graph_module""#, #"["graph_module""#,
      """
      models/model.json is not valid JSON: found ':', expected ',' or ']' (at its byte 15)
        at FILE
      """),
    .graph(
      "nested without end", #""guards_code": []"#,
      #""guards_code": "# + String(repeating: "[", count: 4000),
      """
      models/model.json is not valid JSON: nested deeper than 128 levels (at its byte 3523)
        at FILE
      """),
    .graph(
      "one name twice", #""b_calls": {"dtype""#, #""p_scale": {"dtype""#,
      """
      models/model.json is not valid JSON: the key "p_scale" occurs twice in one object (at its byte 1400)
        at FILE
      """),
    .graph(
      "an argument of a later version", #"{"as_int": 1}, "kind""#, #"{"as_quaternion": 1}, "kind""#,
      """
      models/model.json.graph_module.graph.nodes[0].inputs[1].arg is an object, expected an argument of a known kind
        at FILE
        "as_quaternion" is of a later version of PyTorch.
      """),
    .graph(
      "an argument of two kinds", #"{"as_int": 1}, "kind""#,
      #"{"as_int": 1, "as_float": 1.0}, "kind""#,
      """
      models/model.json.graph_module.graph.nodes[0].inputs[1].arg is an object, expected an object with one key
        at FILE
      """),
    .graph(
      "an integer beyond 64 bits", #"{"as_int": 1}, "kind""#,
      #"{"as_int": 99999999999999999999}, "kind""#,
      """
      models/model.json.graph_module.graph.nodes[0].inputs[1].arg.as_int is 1e+20, expected an integer
        at FILE
      """),
    .graph(
      "a dtype of a later version", #""p_scale": {"dtype": 7"#, #""p_scale": {"dtype": 77"#,
      """
      models/model.json.graph_module.graph.tensor_values.p_scale.dtype is 77, expected the number of a dtype
        at FILE
      """),
    .graph(
      "a negative size", #""p_scale": {"dtype": 7, "sizes": [{"as_int": 2}"#,
      #""p_scale": {"dtype": 7, "sizes": [{"as_int": -2}"#,
      """
      models/model.json.graph_module.graph.tensor_values.p_scale.sizes is a list of 1, expected sizes that can be addressed
        at FILE
      """),
    .graph(
      "sizes beyond every address", #""p_scale": {"dtype": 7, "sizes": [{"as_int": 2}"#,
      #""p_scale": {"dtype": 7, "sizes": [{"as_int": 4294967296}, {"as_int": 4294967296}"#,
      """
      models/model.json.graph_module.graph.tensor_values.p_scale.sizes is a list of 2, expected sizes that can be addressed
        at FILE
      """),
    .graph(
      "an expression of unknown functions", #""p_scale": {"dtype": 7, "sizes": [{"as_int": 2}"#,
      #""p_scale": {"dtype": 7, "sizes": [{"as_expr": {"expr_str": "Add(Integer(1), zeta(Integer(2)))"}}"#,
      """
      models/model.json.graph_module.graph.tensor_values.p_scale.sizes[0].as_expr.expr_str is "Add(Integer(1), zeta(Integer(2)))", expected an expression of known functions and symbols
        at FILE
        What cannot be read begins with "zeta(Integer(2)))".
      """),
    .graph(
      "a range in words", #""range_constraints": {}"#,
      #""range_constraints": {"s0": {"min_val": "two", "max_val": null}}"#,
      """
      models/model.json.range_constraints.s0.min_val is "two", expected an integer or null
        at FILE
      """),
    .graph(
      "a tree of a later version", #""in_spec": "[1, "#, #""in_spec": "[2, "#,
      """
      models/model.json.graph_module.module_call_graph[0].signature.in_spec[0] is 2, expected 1, the version of a tree
        at FILE
      """),
    .graph(
      "no call", #""module_call_graph": ["#, #""module_call_graph": [], "calls": ["#,
      """
      models/model.json.graph_module.module_call_graph is a list of 0, expected the call of the network
        at FILE
      """),
  ]
}

// MARK: - Other files

extension ExportedProgramHostileTests {
  @Test func aMemberOutsideTheFolderIsRefused() throws {
    let draft = try ProgramDraft()
    let inside = draft.members.map { ZipMember(name: "counter/\($0.key)", bytes: $0.value) }
    let file = TemporaryFile(zip(inside + [ZipMember(name: "other/weight_0", bytes: [1])]))
    #expect(
      message(for: file.path) { _ = try ExportedProgram.open(file.path) } == """
        the network is not valid: the member other/weight_0 is outside the folder counter/
          at FILE
          The file is damaged, or torch.export.save did not write it; export it again.
        """)
  }

  @Test func otherFilesAreNoPrograms() throws {
    let hint = "  Save it: torch.export.save(torch.export.export(...), path)."
    for (name, found) in [
      ("golden/mlp_tanh.bin", "no zip archive"), ("data/plain.npz", "another zip archive"),
      ("data/torch/small.pt", "another zip archive"),
    ] {
      let path = fixture(name)
      #expect(
        message(for: path) { _ = try ExportedProgram.open(path) } == """
          this is \(found), expected a network by torch.export.save
            at FILE
          \(hint)
          """)
    }
    let older = TemporaryFile(zip([ZipMember(name: "serialized_exported_program.json", bytes: [])]))
    #expect(
      message(for: older.path) { _ = try ExportedProgram.open(older.path) } == """
        this is an archive in an older form, expected a network by torch.export.save
          at FILE
          Load it with torch.export.load and save it again with PyTorch 2.9 or later.
        """)
  }

  /// Whoever asks for tensors is told what the file is.
  @Test func aNetworkIsNoFileOfTensors() throws {
    let path = fixture("data/exported/counter.pt2")
    let text = """
      this is a network by torch.export.save (.pt2), expected a safetensors, npz or PyTorch file
        at FILE
        Save the tensors of its state_dict, with a description of the model.
      """
    #expect(message(for: path) { _ = try TensorArchive.open(path) } == text)
    let older = TemporaryFile(zip([ZipMember(name: "serialized_exported_program.json", bytes: [])]))
    #expect(message(for: older.path) { _ = try TensorArchive.open(older.path) } == text)
  }

  @Test func compressedDocumentsTakeFromTheMemoryAllowed() throws {
    var draft = try ProgramDraft()
    draft.isDeflated = true
    let packed = TemporaryFile(draft.bytes)
    let file = try MappedFile(path: packed.path)
    let size = try #require(draft.members[ProgramDraft.model]).count
    #expect(
      message(for: file.path) { _ = try ExportedProgram(file, memory: 1000) } == """
        its numbers take \(size) bytes outside the file, and 1000 of the memory allowed are left
          at FILE, tensor counter/models/model.json
          Allow more with memory, or save it as safetensors, which is read where it lies.
        """)
  }

  @Test func anArchiveCutAnywhereIsAnError() throws {
    let bytes = try fixtureBytes("data/exported/counter.pt2")
    let file = TemporaryFile(bytes)
    for count in bytes.indices.reversed() {
      try file.truncate(to: count)
      #expect(throws: CheckpointError.self, "cut at byte \(count)") {
        _ = try ExportedProgram.open(file.path)
      }
    }
  }

  /// Nothing but a `CheckpointError` comes of a flipped bit, which may also go unseen.
  @Test func aFlippedBitNeverCrashes() throws {
    let bytes = try fixtureBytes("data/exported/counter.pt2")
    let file = TemporaryFile(bytes)
    // Every third byte: all of them take three times as long and are of the same kinds.
    for index in stride(from: 0, to: bytes.count, by: 3) {
      try file.write(bytes[index] ^ (1 << UInt8(index % 8)), at: index)
      do {
        let program = try ExportedProgram.open(file.path)
        for weight in program.weights.values { try weight.tensor.withBytes { _ in } }
        _ = try program.sampleInputs()
      } catch {
        #expect(!error.description.isEmpty, "byte \(index)")
      }
      try file.write(bytes[index], at: index)
    }
  }
}
