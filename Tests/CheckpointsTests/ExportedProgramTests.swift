import Testing

@testable import Checkpoints

/// Archives by PyTorch itself (`fixtures/make_exported.py`): everything that an archive says.
@Suite struct ExportedProgramTests {
  private func program(_ name: String) throws -> ExportedProgram {
    try ExportedProgram.open(fixture("data/exported/\(name).pt2"))
  }

  @Test func nodesHaveTargetsArgumentsAndResults() throws {
    let graph = try program("perceptron").graph
    #expect(
      graph.nodes.map(\.operation) == [
        "aten.linear.default", "aten.relu.default", "aten.linear.default",
      ]
    )
    let linear = graph.nodes[0]
    #expect(linear.name == "linear" && linear.target == "torch.ops.aten.linear.default")
    #expect(linear.inputs.map(\.name) == ["input", "weight", "bias"])
    #expect(linear.input("bias") == .tensor("p_first_bias"))
    #expect(linear.input("input") == .tensor("x") && linear.input("alpha") == nil)
    #expect(linear.inputs.allSatisfy { !$0.isKeyword })
    #expect(linear.outputs == [.tensor("linear")])
    let type = try #require(graph.tensors["linear_1"])
    #expect(type.dtype == .float32 && type.layout == .strided && type.device.type == "cpu")
    #expect(type.sizes.map(\.expression) == [.integer(2), .integer(3)])
    #expect(type.strides.map(\.expression.constant) == [3, 1])
  }

  @Test func versionsAreThoseOfTheArchive() throws {
    #expect(
      try program("perceptron").versions
        == .init(
          major: 8, minor: 20, torch: "2.15.0+cu132", archive: "0", operators: ["aten": 10]))
  }

  /// The second layer has the first one's weight; the first one's bias does not train.
  @Test func parametersSayWhatTrainsAndWhatIsTied() throws {
    let program = try program("perceptron")
    #expect(
      program.weights.keys.sorted() == [
        "first.bias", "first.weight", "second.bias", "second.weight",
      ])
    #expect(program.tiedWeights == [["first.weight", "second.weight"]])
    #expect(program.weights["first.weight"]?.view == program.weights["second.weight"]?.view)
    #expect(program.weights["first.weight"]?.view.storage == "perceptron/data/weights/weight_0")
    #expect(program.weights["first.bias"]?.requiresGradient == false)
    #expect(program.weights["second.bias"]?.requiresGradient == true)
    for weight in program.weights.values {
      #expect(weight.isParameter && weight.tensor.name == weight.name)
    }
    let tensor = try #require(program.weights["second.weight"]).tensor
    #expect(tensor.shape == [3, 3])
    // Where it lies in the file, not a copy.
    let vector = try #require(try tensor.inPlace(as: Float.self))
    #expect(vector.array == (0..<9).map { Float($0) })
    #expect(
      program.signature.inputs.compactMap(\.weight?.name)
        == ["first.weight", "first.bias", "second.weight", "second.bias"])
    for input in program.signature.inputs {
      #expect(try program.weight(of: input)?.name == input.weight?.name)
    }
  }

  @Test func buffersAndConstantsAreTensorsByTheirNames() throws {
    let program = try program("buffers")
    #expect(program.constants.keys.sorted() == ["lifted_tensor_0", "offset"])
    #expect(try program.constants["offset"]?.tensor.vector(of: Double.self).array == [1, 2])
    #expect(
      try program.constants["lifted_tensor_0"]?.tensor.vector(of: Double.self).array == [3, 4])
    #expect(program.weights["calls"]?.isParameter == false)
    #expect(program.weights["calls"]?.tensor.dtype == .i64)
    #expect(
      program.signature.inputs.contains(
        .buffer(value: "b_offset", name: "offset", isPersistent: false)))
    #expect(
      program.signature.inputs.contains(
        .buffer(value: "b_calls", name: "calls", isPersistent: true)))
    #expect(
      program.signature.inputs.contains(
        .constant(value: "c_lifted_tensor_0", name: "lifted_tensor_0")))
    for input in program.signature.inputs where input.weight != nil {
      #expect(try program.weight(of: input) != nil)
    }
  }

  @Test func weightsOfEveryTypeAndLayoutHaveTheirNumbers() throws {
    let weights = try program("buffers").weights
    for (name, dtype) in [
      ("sixteen", DType.f16), ("brain", .bf16), ("wide", .f64), ("part", .f32),
    ] {
      let tensor = try #require(weights[name]).tensor
      #expect(tensor.dtype == dtype && tensor.shape == [2])
      #expect(try tensor.vector(of: Double.self).array == [0, 1])
    }
    // Numbers 2 and 3 of a storage of which the archive keeps four.
    #expect(weights["part"]?.view.offset == 2)
    // Channels last: the storage has another order than the numbers.
    let convolution = try #require(weights["convolution.weight"])
    #expect(convolution.view.strides == [8, 1, 4, 2])
    #expect(try convolution.tensor.vector(of: Float.self).array == (0..<16).map { Float($0) })
  }

  /// The graph itself says what works in place; a functional one has an output for it.
  @Test func changedBuffersAreNodesOrOutputs() throws {
    let buffers = try program("buffers")
    #expect(buffers.graph.nodes[0].operation == "aten.add_.Tensor")
    #expect(buffers.graph.nodes[0].input("self") == .tensor("b_calls"))
    #expect(buffers.signature.outputs == [.user(.tensor("to_3"))])
    let counter = try program("counter")
    #expect(
      counter.signature.outputs == [
        .bufferMutation(value: "add", name: "calls"), .user(.tensor("mul")),
      ])
    #expect(counter.userOutputs == [.init(path: [], argument: .tensor("mul"))])
  }

  @Test func aPartWithoutGradientsIsAGraphInANode() throws {
    let graph = try program("buffers").graph
    let node = try #require(graph.nodes.first { $0.target.hasPrefix("torch.ops.higher_order") })
    #expect(node.operation == "higher_order.wrap_with_set_grad_enabled")
    #expect(node.inputs.map(\.name) == ["", "", ""] && node.returnsSingleTensor == false)
    #expect(node.inputs[0].argument == .bool(false))
    #expect(node.inputs[2].argument == .tensor("relu_") && node.outputs == [.tensor("getitem")])
    guard case .graph("submod_1", let inner) = node.inputs[1].argument else {
      Issue.record("\(node.inputs[1]) is no graph")
      return
    }
    #expect(inner.inputs == [.tensor("relu_")] && inner.outputs == [.tensor("mul")])
    #expect(inner.nodes.map(\.operation) == ["aten.mul.Tensor"])
    #expect(inner.nodes[0].input("other") == .integer(2))
  }

  @Test func argumentsOfEveryKindHaveTheirTypes() throws {
    let nodes = try program("buffers").graph.nodes
    let norm = try #require(nodes.first { $0.operation == "aten.batch_norm.default" })
    #expect(norm.input("training") == .bool(false) && norm.input("eps") == .real(1e-5))
    let mean = try #require(nodes.first { $0.operation == "aten.mean.dim" })
    #expect(mean.input("dim") == .integers([2, 3]))
    let check = try #require(nodes.first { $0.operation == "aten._assert_tensor_metadata.default" })
    #expect(check.outputs.isEmpty && check.name == "_assert_tensor_metadata_default")
    #expect(check.input("dtype") == .dtype(.float16) && check.input("layout") == .layout(.strided))
    #expect(check.input("device") == .device(.init(type: "cpu", index: nil)))
    #expect(check.inputs.map(\.isKeyword) == [false, true, true, true])
    let sizes = try program("sizes").graph.nodes
    let cut = try #require(sizes.first { $0.name == "slice_1" })
    #expect(
      cut.input("start") == Optional.some(.none)
        && cut.input("end") == .symbolicInteger(.name("floordiv")))
    let cat = try #require(sizes.first { $0.operation == "aten.cat.default" })
    #expect(cat.input("tensors") == .tensors(["tokens", "slice_1", "slice_3"]))
    let reshape = try #require(sizes.first { $0.name == "reshape" })
    #expect(reshape.input("shape") == .symbolicIntegers([.name("sym_size_int_5"), .value(-1)]))
    let larger = try #require(sizes.first { $0.operation == "aten.upsample_nearest2d.vec" })
    #expect(larger.input("scale_factors") == .reals([2, 2]))
  }

  @Test func symbolsHaveRanges() throws {
    #expect(try program("buffers").symbols == ["s77": .init(minimum: 1, maximum: 64)])
    #expect(try program("perceptron").symbols.isEmpty)
    #expect(try program("perceptron_core").symbols == ["s77": .init(minimum: 2, maximum: nil)])
  }

  /// An image of 9 x 6 and 5 tokens, where the example had 8 x 10 and 7.
  @Test func sizesFollowTheirSymbols() throws {
    let graph = try program("sizes").graph
    func symbol(_ tensor: String, _ dimension: Int) throws -> String {
      let expression = try #require(graph.tensors[tensor]).sizes[dimension].expression
      guard case .symbol(let name) = expression else { throw Missing() }
      return name
    }
    let bound = [
      try symbol("image", 0): 3, try symbol("image", 2): 9, try symbol("image", 3): 6,
      try symbol("tokens", 0): 3, try symbol("tokens", 1): 5,
    ]
    func shape(_ tensor: String) throws -> [Int] {
      try #require(graph.tensors[tensor]).sizes.map { try $0.expression.integer(bound) }
    }
    #expect(try shape("avg_pool2d") == [3, 1, 5, 3])
    #expect(try shape("upsample_nearest2d") == [3, 1, 18, 12])
    #expect(try shape("cat") == [3, 5 + 3 + 4])
    #expect(try shape("reshape") == [3, 54])
    #expect(try shape("arange") == [54 + 5])
    #expect(try shape("ones") == [3, 9])
    #expect(try shape("zeros") == [5, 5])
    #expect(try shape("reshape_1") == [15])
    #expect(try graph.integers["sub"]?.expression.integer(bound) == 6 - 5 % 3)
    #expect(graph.integers["sub"]?.example == 2 * 2 - 7 % 3)
  }

  private struct Missing: Error {}

  @Test func inputsAndOutputsHavePathsInTheirContainers() throws {
    let program = try program("nested")
    #expect(
      program.userInputs.map { $0.path.joined(separator: ".") } == [
        "pair.left", "pair.right", "more.a.0", "more.a.1", "more.b", "scale", "mask", "flag",
      ])
    #expect(
      program.userInputs.map(\.argument) == [
        .tensor("pair_left"), .tensor("pair_right"), .tensor("more_a_0"), .tensor("more_a_1"),
        .tensor("more_b"), .real(1.5), .tensor("mask"), .bool(true),
      ])
    #expect(
      program.userOutputs.map { $0.path.joined(separator: ".") } == [
        "scores.logits", "parts.0", "parts.1.0", "parts.1.1", "pair.left", "pair.right",
        "ordered.z",
        "count",
      ])
    #expect(program.userOutputs[0].argument == .tensor("masked_fill"))
    #expect(program.userOutputs[2].argument == .tensor("pair_left"))
    #expect(program.userOutputs[7].argument == .integer(3))
  }

  @Test func nodesKnowTheirLinesOfPython() throws {
    let source = try program("perceptron").graph.nodes[0].source
    // The last call is PyTorch's own `Linear.forward`.
    #expect(source.frames.count == 2)
    #expect(source.frames[1].file == "/python/site-packages/torch/nn/modules/linear.py")
    let frame = try #require(source.userFrame)
    #expect(frame.file == "make_exported.py" && frame.function == "forward")
    #expect(frame.code == "return self.second(torch.relu(self.first(x)))")
    let text = try String(decoding: fixtureBytes("make_exported.py"), as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false)
    #expect(text[frame.line - 1].hasSuffix(frame.code))
    #expect(
      source.modules == [
        .init(path: "", className: "__main__.Perceptron"),
        .init(path: "first", className: "torch.nn.modules.linear.Linear"),
      ])
  }

  @Test func anOwnModuleNamedAsOneOfPyTorchIsStillTheUsers() {
    var source = ExportedProgram.Source()
    source.stackTrace = """
      File "linear.py", line 3, in forward
          return self.inner(x)
      File "/python/torch/nn/functional.py", line 9, in relu
      """
    #expect(
      source.userFrame
        == .init(file: "linear.py", line: 3, function: "forward", code: "return self.inner(x)"))
    source.moduleStack = "a,,__main__.Net;b,inner,torch.nn.modules.linear.Linear"
    // Nothing but PyTorch's: the innermost call.
    #expect(source.userFrame?.line == 9)
    source.stackTrace = nil
    #expect(source.userFrame == nil)
  }

  @Test func exampleInputsAreReadWhenAskedFor() throws {
    let samples = try program("buffers").sampleInputs()
    #expect(samples.map { $0?.shape } == [[2, 2, 4, 4]])
    #expect(try samples[0]?.vector(of: Float.self).array.allSatisfy { $0 == 1 } == true)
    // PyTorch notes on a tensor which of its sizes were exported as symbols.
    #expect(try program("sizes").sampleInputs().map { $0?.dtype } == [.f32, .i64])
    let nested = try program("nested")
    #expect(
      message(for: nested.path) { _ = try nested.sampleInputs() }.hasPrefix(
        """
        __main__.Pair is not allowed: nothing that a file contains is executed
          at FILE, member nested/data/sample_inputs/model.pt, tensor archive/data.pkl, byte
        """))
  }

  /// The name of the folder does not matter, nor whether members are compressed.
  @Test func archivesMayBePackedAnew() throws {
    for isDeflated in [false, true] {
      var draft = try ProgramDraft()
      draft.root = "any name"
      draft.isDeflated = isDeflated
      let file = TemporaryFile(draft.bytes)
      let program = try ExportedProgram.open(file.path)
      #expect(try program.weights["scale"]?.tensor.vector(of: Float.self).array == [0, 1])
      #expect(try program.weights["calls"]?.tensor.integers() == [0])
      #expect(try program.sampleInputs().map { $0?.shape } == [[1, 2]])
    }
  }

  /// Keys that a later minor version adds to structures.
  @Test func keysThatAreNotKnownAreIgnored() throws {
    var draft = try ProgramDraft()
    draft.replace("\"kind\": 1}", "\"kind\": 1, \"added\": [1]}")
    draft.replace("\"minor\": 20", "\"minor\": 99, \"patch\": 1")
    draft.replace("\"guards_code\": []", "\"added\": {}")
    let file = TemporaryFile(draft.bytes)
    let program = try ExportedProgram.open(file.path)
    #expect(program.versions.minor == 99 && program.graph.nodes.count == 2)
  }

  @Test func numbersWithoutAFormInJSONAreWords() throws {
    for (word, value) in [
      ("\"Infinity\"", Double.infinity), ("\"-Infinity\"", -.infinity), ("2", 2),
    ] {
      var draft = try ProgramDraft()
      draft.replace("{\"as_int\": 1}, \"kind\"", "{\"as_float\": \(word)}, \"kind\"")
      let file = TemporaryFile(draft.bytes)
      let program = try ExportedProgram.open(file.path)
      #expect(program.graph.nodes[0].input("other") == .real(value))
    }
  }

  /// A tensor that torch.save has written, as archives have those of subclasses.
  @Test func aPickledTensorIsReadLikeTheOthers() throws {
    var draft = try ProgramDraft()
    draft.replace(
      "\"path_name\": \"weight_0\", \"is_param\": true, \"use_pickle\": false",
      "\"path_name\": \"weight_0\", \"is_param\": true, \"use_pickle\": true",
      in: ProgramDraft.weights)
    draft.members["data/weights/weight_0"] = zip([
      ZipMember(
        name: "archive/data.pkl",
        bytes: Pickle.program(Pickle.tensor(of: Pickle.storage(count: 2), [2], [1]))),
      ZipMember(
        name: "archive/data/0",
        bytes: littleEndian(Float(5).bitPattern) + littleEndian(Float(6).bitPattern)),
    ])
    let file = TemporaryFile(draft.bytes)
    let weight = try #require(try ExportedProgram.open(file.path).weights["scale"])
    #expect(try weight.tensor.vector(of: Float.self).array == [5, 6])
    #expect(weight.tensor.name == "scale" && weight.requiresGradient)
  }
}
