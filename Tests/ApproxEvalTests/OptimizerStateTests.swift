import Checkpoints
import Foundation
import GraphModule
import Models
import TensorModule
import TestSupport
import Testing
import Training

@testable import ApproxEval

/// States of PyTorch optimisers, against the steps that PyTorch itself has taken
/// (fixtures/make_optimizer.py).
struct OptimizerStateTests {
  private static let folder = "data/optimizer/"
  private static let checkpoint = fixture(folder + "checkpoint.bin")

  /// The step that an optimiser has taken next, and its gamma.
  private struct Step: Decodable {
    var gamma: Double
    /// In the order of the checkpoint's parameters, those that the optimiser steps.
    var step: [Double]
  }

  private static func steps() throws -> [String: Step] {
    let data = try Data(contentsOf: URL(fileURLWithPath: fixture(folder + "steps.json")))
    return try JSONDecoder().decode([String: Step].self, from: data)
  }

  /// File and the name that reports have.
  static let states = [
    ("sgd", "sgd"), ("momentum", "sgd"), ("nesterov", "sgd"), ("adam", "adam"), ("adamw", "adam"),
    ("amsgrad", "adam"), ("groups", "adam"), ("named", "adam"), ("trainer", "adam"),
    ("checkpoint", "adam"), ("nadam", "nadam"), ("radam", "radam"), ("radam_start", "radam"),
    ("adagrad", "adagrad"), ("rmsprop", "rmsprop"), ("rmsprop_centered", "rmsprop"),
    ("adafactor", "adafactor"), ("adafactor_transformers", "adafactor"),
    ("adafactor_moment", "adafactor"), ("muon", "muon"), ("muon_plain", "muon"),
    ("muon_jordan", "muon"), ("muon_kozistr", "muon"), ("lion", "lion"), ("soap", "soap"),
    ("soap_authors", "soap"), ("shampoo", "shampoo"), ("sophia_g", "sophia"),
    ("sophia_h", "sophia"), ("ademamix", "ademamix"), ("ademamix_apple", "ademamix"),
    ("mars", "mars"), ("mars_lion", "mars"), ("mars_shampoo", "mars"),
    ("schedule_free", "schedule-free"), ("schedule_free_kozistr", "schedule-free"),
  ]

  private static func options(_ name: String) -> EvaluationOptions {
    var options = EvaluationOptions()
    options.optimizerState = fixture(folder + name + ".pt")
    options.methods = [.sgd]
    options.reference = .none
    options.precision = .float64
    // PyTorch's Muon steps matrices alone.
    if ["muon", "muon_plain"].contains(name) { options.trainable = ["*.weight"] }
    return options
  }

  private static func meanGradient(
    _ loaded: LoadedCheckpoint, _ options: EvaluationOptions
  ) throws -> Vector<Double> {
    let evaluation = Evaluation(options)
    let budget = try evaluation.budget(
      loaded, evaluation.source(loaded), .score(updates: []), Double.self)
    let problem = try evaluation.problem(loaded, batch: 0, budget, Double.self)
    let gradient = Vector<Double>(count: loaded.program.parameterCount)
    BatchDirection.meanGradient(problem.linearization, problem.output, to: gradient)
    return gradient
  }

  @Test(arguments: states) func theStepIsTheOneThatTheOptimiserTakes(
    _ name: String, _ method: String
  ) throws {
    let expected = try #require(try Self.steps()[name == "checkpoint" ? "adam" : name])
    let options = Self.options(name)
    let loaded = try LoadedCheckpoint(path: Self.checkpoint, options: options)
    let state = try OptimizerState(path: try #require(options.optimizerState))
    #expect(state.name == method + "-state")
    try state.check(loaded)
    let gradient = try Self.meanGradient(loaded, options)
    let step =
      expected.step.count == loaded.program.parameterCount
      ? expected.step : Self.withoutBiases(expected.step)
    // A difference of parameters of the order of 1, over a rate of 1e-3. In its bases SOAP divides by
    // epsilon what has no gradient and is rounding.
    let tolerance = method == "soap" ? 1e-7 : 1e-11
    #expect(mismatch(try state.step(loaded, gradient).array, step, tolerance: tolerance) == nil)
    // Again: nothing is used up.
    #expect(mismatch(try state.step(loaded, gradient).array, step, tolerance: tolerance) == nil)

    let single = method == "soap" ? 5e-3 : 1e-4
    for (precision, tolerance) in [(Precision.float64, 1e-10), (.float32, single)] {
      var options = options
      options.precision = precision
      let scores = try Evaluation(options).score(checkpoint: Self.checkpoint)[0].scores
      #expect(scores.map(\.method) == ["sgd", "update:\(method)-state"])
      #expect(mismatch(scores[1].gamma, expected.gamma, tolerance: tolerance) == nil)
      let norm = dot(step, step).squareRoot()
      #expect(mismatch(scores[1].updateNorm, norm, tolerance: tolerance) == nil)
    }
  }

  /// What Muon leaves alone: the biases of 4 and 3 behind weights of 12 each.
  private static func withoutBiases(_ step: [Double]) -> [Double] {
    Array(step[..<12]) + Array(step[16..<28])
  }

  @Test func everyOptimiserHasAState() throws {
    let tested = Set(Self.states.map(\.1))
    #expect(Set(KnownOptimizer.all.map(\.name)) == tested)
    #expect(Set(try Self.steps().keys) == Set(Self.states.map(\.0)).subtracting(["checkpoint"]))
  }

  /// Later versions of PyTorch have added settings; none has taken one away.
  @Test func settingsOfEarlierVersionsAreKnown() {
    let adam = KnownOptimizer.adam.kinds[0]
    let first: Set<String> = ["lr", "betas", "eps", "weight_decay", "amsgrad"]
    #expect(adam.matches(settings: first))
    #expect(adam.matches(settings: first.union(["maximize", "foreach", "capturable"])))
    #expect(!adam.matches(settings: first.union(["cautious"])))
    #expect(!adam.matches(settings: first.subtracting(["amsgrad"])))
    #expect(!adam.matches(state: ["step", "exp_avg", "exp_avg_sq", "GG"]))
  }

  /// No two optimisers write the same keys: the first that fits is the only one.
  @Test func fingerprintsAreTheirOptimisersAlone() {
    let all = KnownOptimizer.all
    for (index, first) in all.enumerated() {
      for second in all[(index + 1)...] {
        for a in first.kinds {
          for b in second.kinds {
            let settings = a.settings.union(b.settings)
            let coincide = a.matches(settings: settings) && b.matches(settings: settings)
            #expect(
              !coincide || Set(a.states).isDisjoint(with: b.states),
              "\(first.title), \(second.title)")
          }
        }
      }
    }
  }

  @Test func frozenParametersTakeNoPart() throws {
    var options = EvaluationOptions()
    options.trainable = ["2.*"]
    options.precision = .float64
    let loaded = try LoadedCheckpoint(path: Self.checkpoint, options: options)
    let state = try OptimizerState(path: fixture(Self.folder + "adam.pt"))
    let gradient = try Self.meanGradient(loaded, options)
    // The last layer, 4 x 3 and 3, is the last part of the step.
    let expected = try #require(try Self.steps()["adam"]).step.suffix(15)
    #expect(
      mismatch(try state.step(loaded, gradient).array, Array(expected), tolerance: 1e-11) == nil)
  }

  /// States in another order than the model's, by the names that PEFT gives. The gradient of tensor j,
  /// in alphabetical order, was j + 1 everywhere and eps 1; now it is zero.
  @Test func namesOfPEFTFindTheirParameters() throws {
    var options = EvaluationOptions()
    options.adapter = fixture("hf/t5_lora/adapter")
    options.dataFile = fixture("hf/t5_lora/data.safetensors")
    let loaded = try LoadedCheckpoint(path: fixture("hf/t5_lora/base"), options: options)
    let state = try OptimizerState(path: fixture(Self.folder + "t5_lora.pt"))
    let step = try state.step(loaded, Vector(count: loaded.program.parameterCount))
    let program = loaded.program
    let specs = program.trainable.map { program.graph.parameters[$0.index] }
    let names = specs.map(\.name).sorted()
    #expect(names.count == 24)
    for parameter in program.trainable {
      let spec = program.graph.parameters[parameter.index]
      let j = try #require(names.firstIndex(of: spec.name))
      let offset = program.offsets[parameter.index]!
      let found = (offset..<offset + spec.count).map { step[$0] }
      // m = 0.9 (1 - 0.9) g / (1 - 0.9^2), v = 0.999 (1 - 0.999) g^2 / (1 - 0.999^2)
      let g = Double(j + 1)
      let (m, v) = (0.09 * g / 0.19, 0.999 * 0.001 * g * g / (1 - 0.999 * 0.999))
      let expected = [Double](repeating: m / (v.squareRoot() + 1), count: spec.count)
      // Moments in float32.
      #expect(mismatch(found, expected, tolerance: 1e-6) == nil, "\(spec.name)")
    }
  }

  // MARK: - Errors

  @Test func aStateDictOfAModelHasNoState() throws {
    let path = fixture("data/torch/small.pt")
    let error = try #require(throws: CheckpointError.self) { try OptimizerState(path: path) }
    #expect(
      error.description == """
        param_groups is missing
          at \(path)
          This is no state of an optimiser: save torch.save(optimizer.state_dict(), ...).
        """)
  }

  @Test func aSafetensorsFileIsNoState() throws {
    let error = try #require(throws: CheckpointError.self) {
      try OptimizerState(path: Self.checkpoint)
    }
    #expect(
      error.description == """
        this is a safetensors file, expected a PyTorch file
          at \(Self.checkpoint)
          Save it with torch.save(optimizer.state_dict(), ...).
        """)
  }

  @Test func aStateOfAnotherModelIsRefused() throws {
    let path = fixture(Self.folder + "adam.pt")
    let state = try OptimizerState(path: path)
    let other = try LoadedCheckpoint(
      path: fixture("golden/mlp_tanh.bin"), options: EvaluationOptions())
    let error = try #require(throws: CheckpointError.self) { try state.check(other) }
    #expect(
      error.description == """
        the optimiser's state is one for 4 parameters, expected 6
          at \(path), param_groups
          It belongs to another model, or to a part of it: trainable leaves parameters out.
        """)
    let similar = try LoadedCheckpoint(
      path: fixture("golden/mse_mlp.bin"), options: EvaluationOptions())
    let shape = try #require(throws: CheckpointError.self) { try state.check(similar) }
    #expect(
      shape.description == """
        state.0 is that of a parameter of shape [4, 3], expected [7, 5], that of a.weight
          at \(path), param_groups
          The optimiser belongs to another model, or had its parameters in another order: give their \
        names in its order as parameter order FILE.
        """)
  }

  private static func failure(_ options: EvaluationOptions) throws -> String {
    let error = try #require(throws: EvaluationError.self) {
      try Evaluation(options).score(checkpoint: Self.checkpoint)
    }
    return error.description
  }

  @Test(arguments: [
    (
      "adamax",
      """
      the optimiser is one with the settings (betas, capturable, differentiable, eps, foreach, lr, \
      maximize, weight_decay) and states of (exp_avg, exp_inf, step), expected one that is known
        at FILE, param_groups.0
        Known, by exactly the keys that they write, are: SGD, Adam or AdamW, AdamW (Transformers), \
      NAdam, RAdam, Adagrad, RMSprop, Adafactor, Adafactor (Transformers), Muon, Muon (K. Jordan), \
      Muon (pytorch_optimizer), Lion, SOAP (pytorch_optimizer), SOAP (N. Vyas), Shampoo \
      (pytorch_optimizer), SophiaG, SophiaH (pytorch_optimizer), AdEMAMix (pytorch_optimizer), \
      AdEMAMix (Apple), MARS (pytorch_optimizer), MARS (AGI-Arena), AdamWScheduleFree, \
      ScheduleFreeAdamW (pytorch_optimizer).
      """
    ),
    (
      "fresh",
      """
      state.0 is missing
        at FILE
        It belongs to 0.weight, which the optimiser has never stepped: it was frozen, or the file was \
      saved before the first step. trainable leaves it out.
      """
    ),
    (
      "two",
      """
      the file is the states of 2 optimisers, expected that of one
        at FILE
        They are optimizers.0.param_groups, optimizers.1.param_groups: save one of them in a file of \
      its own.
      """
    ),
    (
      "evaluation",
      """
      param_groups.0.train_mode is False, expected True
        at FILE
        The gradient is taken at other parameters than those of evaluation: call optimizer.train() \
      before saving the model and the state.
      """
    ),
  ])
  func whatCannotBeScoredIsTold(_ name: String, _ message: String) throws {
    var options = Self.options(name)
    options.trainable = []
    #expect(
      try Self.failure(options)
        == message.replacing("FILE", with: fixture(Self.folder + name + ".pt")))
  }

  /// One entry of one tensor changed: NaN anywhere, a negative number among squares.
  @Test(arguments: [
    ("adam", "exp_avg", 5, Double.nan, "entry 5 is nan, expected a finite number"),
    ("adam", "exp_avg_sq", 7, -1e-9, "entry 7 is -1e-09, expected a number that is at least 0"),
    ("amsgrad", "max_exp_avg_sq", 0, -1, "entry 0 is -1.0, expected a number that is at least 0"),
    ("rmsprop", "square_avg", 3, -2, "entry 3 is -2.0, expected a number that is at least 0"),
    ("adagrad", "sum", 1, -Double.infinity, "entry 1 is -inf, expected a finite number"),
    ("adafactor", "row_var", 2, -1, "entry 2 is -1.0, expected a number that is at least 0"),
    ("schedule_free", "z", 2, Double.nan, "entry 2 is nan, expected a finite number"),
    ("shampoo", "pre_cond_0", 2, Double.nan, "entry 2 is nan, expected a finite number"),
  ])
  func badEntriesAreNamed(
    _ name: String, _ field: String, _ entry: Int, _ value: Double, _ message: String
  ) throws {
    let path = fixture(Self.folder + name + ".pt")
    let tensor = try TensorArchive.open(path).tensor("state.0.\(field)")
    var data = try Data(contentsOf: URL(fileURLWithPath: path))
    let stored = try tensor.vector(of: Double.self).array.withUnsafeBytes { Data($0) }
    let place = try #require(data.range(of: stored)).lowerBound + 8 * entry
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes in
      data.replaceSubrange(place..<place + 8, with: bytes)
    }
    let file = FileManager.default.temporaryDirectory.appendingPathComponent(
      UUID().uuidString + ".pt")
    try data.write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    var options = Self.options(name)
    options.optimizerState = file.path
    let lines = try Self.failure(options).split(separator: "\n")
    #expect(lines[0] == message)
    #expect(lines[1].hasPrefix("  at \(file.path), tensor state.0.\(field)"))
  }

  // MARK: - Which parameter is which

  @Test(arguments: [
    ("adam", "by the model's order"), ("named", "by the names in the file"),
    ("groups", "by their shapes and the model's order within each group"),
  ])
  func notesTellHowParametersAreToldApart(_ name: String, _ rule: String) throws {
    let notes = try Evaluation(Self.options(name)).describe(checkpoint: Self.checkpoint).notes
    #expect(
      notes == [
        "update:adam-state is the next step of Adam or AdamW on the batch's mean gradient; parameters "
          + "are told apart \(rule)."
      ])
  }

  @Test func weightDecayIsSaidToBeLeftOut() throws {
    let notes = try Evaluation(Self.options("lion")).describe(checkpoint: Self.checkpoint).notes
    #expect(notes.count == 1 && notes[0].hasSuffix("Its weight decay is left out."))
  }

  /// Runs with a list of names, and without one where `names` is nil.
  private static func gamma(_ name: String, _ names: [String]?) throws -> Double {
    var options = options(name)
    guard let names else {
      return try Evaluation(options).score(checkpoint: checkpoint)[0].scores[1].gamma
    }
    let list = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try (names.joined(separator: "\r\n") + "\n\n").write(
      to: list, atomically: true, encoding: .utf8)
    defer { try? FileManager.default.removeItem(at: list) }
    options.parameterOrder = list.path
    return try Evaluation(options).score(checkpoint: checkpoint)[0].scores[1].gamma
  }

  @Test func aListOfNamesDecides() throws {
    let modelOrder = ["0.weight", "0.bias", "2.weight", "2.bias"]
    for name in ["adam", "groups"] {
      #expect(try Self.gamma(name, modelOrder) == Self.gamma(name, nil))
      #expect(try Self.gamma(name, modelOrder.map { "_orig_mod." + $0 }) == Self.gamma(name, nil))
    }
    for (names, message) in [
      (["0.weight", "0.bias", "2.weight"], "the list is one of 3 names, expected one of 4"),
      (
        ["0.weight", "0.bias", "2.bias", "2.weight"],
        "state.2 is that of a parameter of shape [3, 4]"
      ),
      (["0.weight", "0.bias", "2.weight", "2.bais"], "the name 2.bais is that of no parameter"),
      (
        ["0.weight", "0.bias", "2.weight", "module.0.bias"],
        "the parameter 0.bias is named twice: 0.bias and module.0.bias"
      ),
    ] {
      let error = try #require(throws: EvaluationError.self) { try Self.gamma("adam", names) }
      #expect(error.description.hasPrefix(message), "\(error.description)")
    }
  }

  /// Both are opened with the plan, so that the record of the run can have their sums.
  @Test func theStateAndItsListAreRecorded() throws {
    var options = Self.options("adam")
    let list = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try "0.weight\n0.bias\n2.weight\n2.bias\n".write(to: list, atomically: true, encoding: .utf8)
    defer { try? FileManager.default.removeItem(at: list) }
    options.parameterOrder = list.path
    let evaluation = Evaluation(options)
    _ = try evaluation.plan(checkpoints: [Self.checkpoint])
    let record = try RunRecord(
      command: [], options: options, files: evaluation.files, start: POSIXFileSystem().now)
    #expect(
      record.files.map(\.path) == [
        Self.checkpoint, fixture(Self.folder + "adam.pt"), list.path,
      ])
    #expect(record.files[2] == (try FileRecord(path: list.path)))
    // Another list than the one that was opened.
    try "2.bias\n".write(to: list, atomically: true, encoding: .utf8)
    let error = try #require(throws: EvaluationError.self) {
      try evaluation.score(checkpoint: Self.checkpoint)
    }
    #expect(error.description.hasPrefix("the file has changed while it was in use"))
  }

  @Test(arguments: [
    (Data([0x30, 0xff, 0x0a]), "this is a binary file"),
    (Data(repeating: 0x61, count: 1 << 22 + 1), "this is a file of more than 4194304 bytes"),
    (
      Data(("0.weight" + String(repeating: "\u{301}", count: 31)).utf8),
      "this is a text with more than 30 combining marks in a row"
    ),
  ])
  func whatIsNoListOfNamesIsRefused(_ content: Data, _ message: String) throws {
    let list = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try content.write(to: list)
    defer { try? FileManager.default.removeItem(at: list) }
    var options = Self.options("adam")
    options.parameterOrder = list.path
    #expect(
      try Self.failure(options) == """
        \(message), expected a text with one name a line
          at \(list.path)
        """)
  }

  private static func places(_ groups: [[[Int]?]]) -> [ParameterOrder.Place] {
    groups.enumerated().flatMap { group, shapes in
      shapes.map {
        ParameterOrder.Place(group: group, key: "\(group)", shape: $0, hasState: $0 != nil)
      }
    }
  }

  private static func specs(_ shapes: [(String, [Int])]) throws -> [ParameterSpec] {
    let builder = GraphBuilder()
    let input = try builder.input("x", shape: [1], kind: .real)
    for (name, shape) in shapes { _ = try builder.parameter(name, shape: shape) }
    return builder.finish(output: input, shape: [1]).parameters
  }

  @Test func groupsAreTakenApartWhereShapesLeaveOneWay() throws {
    let model = try Self.specs([
      ("a.weight", [8, 4]), ("a.bias", [8]), ("b.weight", [8, 8]), ("b.bias", [8]),
      ("c.weight", [8, 8]), ("c.bias", [8]), ("d.weight", [3, 8]), ("d.bias", [3]),
    ])
    func assigned(_ groups: [[[Int]?]]) -> (ways: Int, names: [String]?) {
      let found = GroupInterleaving(places: Self.places(groups)).assignments(model)
      return (found.ways, found.order?.map(\.name))
    }
    // The head first.
    let head = assigned([
      [[3, 8], [3]], [[8, 4], [8], [8, 8], [8], [8, 8], [8]],
    ])
    #expect(head.ways == 1)
    #expect(
      head.names == [
        "d.weight", "d.bias", "a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias",
      ])
    // Weights, then biases.
    let decayed = assigned([[[8, 4], [8, 8], [8, 8], [3, 8]], [[8], [8], [8], [3]]])
    #expect(decayed.ways == 1)
    #expect(decayed.names?.suffix(4) == ["a.bias", "b.bias", "c.bias", "d.bias"])
    // One of two equal layers in a group of its own: which, nobody knows.
    #expect(assigned([[[8, 8], [8]], [[8, 4], [8], [8, 8], [8], [3, 8], [3]]]).ways == 2)
    #expect(assigned([[[8, 4], nil], [nil, nil, nil, nil, nil, nil]]).ways == 2)
    #expect(assigned([[[8, 4], [8]], [[8, 8], [8], [8, 8], [8], [3, 8], [4]]]).ways == 0)
  }

  /// Of two ways, the one of Transformers' Trainer: what decays, then biases and norms.
  @Test func theGroupsOfTrainerAreKnown() throws {
    let loaded = try LoadedCheckpoint(path: Self.checkpoint, options: EvaluationOptions())
    // Without shapes any two of the four could be in a group.
    let places = Self.places([[nil, nil], [nil, nil]])
    let location = CheckpointError.Location(file: "x")
    let order = try ParameterOrder(places: places, decays: [true, false], loaded, at: location)
    #expect(order.rule == .decay)
    #expect(order.specs.map { $0?.name } == ["0.weight", "2.weight", "0.bias", "2.bias"])
    for (decays, groups) in [([true, true], [2, 2]), ([true, false], [1, 3])] {
      let places = Self.places(groups.map { [[Int]?](repeating: nil, count: $0) })
      let error = try #require(throws: CheckpointError.self) {
        try ParameterOrder(places: places, decays: decays, loaded, at: location)
      }
      #expect(
        error.description == """
          the order of 4 parameters in 2 groups is open to several readings, expected one that names \
          or shapes decide
            at x
            Give the parameters' names in the optimiser's order, one a line, as parameter order FILE; \
          or make the optimiser with model.named_parameters().
          """)
    }
  }

  /// The base models of the fixtures, in the order in which Transformers has their parameters.
  @Test(arguments: ["t5_lora", "vit_lora"])
  func parametersOfTransformersAreInTheirOrder(_ name: String) throws {
    let data = try Data(contentsOf: URL(fileURLWithPath: fixture(Self.folder + "orders.json")))
    let names = try #require(try JSONDecoder().decode([String: [String]].self, from: data)[name])
    var options = EvaluationOptions()
    options.dataFile = fixture("hf/\(name)/data.safetensors")
    let loaded = try LoadedCheckpoint(path: fixture("hf/\(name)/base"), options: options)
    let expected = names.compactMap {
      Model.parameterName(ofAdapterTensor: $0, modelType: loaded.model.type)
    }
    let found = loaded.model.parameterOrders.map { $0.map(\.name) }
    // Version 5 of Transformers, which is the last one here.
    #expect(found.last == expected)
    if name == "vit_lora" {
      // Version 4 has the norms of a layer behind everything else.
      #expect(found.count == 2 && found[0] != found[1] && Set(found[0]) == Set(found[1]))
      let layer = found[0].filter { $0.hasPrefix("vit.encoder.layer.0.") }
      #expect(layer.last == "vit.encoder.layer.0.layernorm_after.bias")
    }
  }

  /// PEFT's names for a module that it has saved anew, and for the frozen one that it stands for.
  @Test func savedModulesHaveTheNamesOfTheModel() throws {
    var options = EvaluationOptions()
    options.adapter = fixture("hf/vit_lora/adapter")
    options.dataFile = fixture("hf/vit_lora/data.safetensors")
    let vit = try LoadedCheckpoint(path: fixture("hf/vit_lora/base"), options: options)
    let names = [
      "base_model.model.classifier.original_module.weight",
      "base_model.model.classifier.modules_to_save.default.weight",
      "base_model.model.vit.encoder.layer.0.attention.attention.query.lora_A.default.weight",
    ]
    let places = [false, true, true].map {
      ParameterOrder.Place(group: 0, key: "0", shape: nil, hasState: $0)
    }
    let order = try ParameterOrder(
      names: names, places: places, rule: .names, vit, at: .init(file: "x"))
    #expect(
      order.specs.map { $0?.name } == [
        nil, "classifier.weight",
        "vit.encoder.layer.0.attention.attention.query.lora_A.weight",
      ])
    let error = try #require(throws: CheckpointError.self) {
      try ParameterOrder(
        names: ["nothing.of.this.kind"], places: [places[1]], rule: .names, vit,
        at: .init(file: "x"))
    }
    for line in error.description.split(separator: "\n") { #expect(line.count < 400) }
  }

  @Test func inspectionTellsOfAStateWhatScoringDoes() throws {
    let options = Self.options("named")
    let inspection = try Inspection(checkpoint: Self.checkpoint, options: options)
    #expect(inspection.updates == [.init(name: "adam-state", tensors: 4)])
    #expect(
      inspection.description.notes
        == (try Evaluation(options).describe(checkpoint: Self.checkpoint).notes))
    #expect(inspection.resources?.memory.bytes(of: "updates") ?? 0 > 0)
    var other = options
    other.optimizerState = fixture(Self.folder + "fresh.pt")
    #expect(throws: EvaluationError.self) {
      try Inspection(checkpoint: Self.checkpoint, options: other)
    }
  }

  // MARK: - Series

  @Test func oneFileIsForOneCheckpoint() throws {
    let path = fixture(Self.folder + "adam.pt")
    var options = EvaluationOptions()
    options.optimizerState = path
    for isState in [true, false] {
      if !isState {
        options.optimizerState = nil
        options.updateFiles = [path]
      }
      let error = try #require(throws: EvaluationError.self) {
        try Evaluation(options).plan(checkpoints: [Self.checkpoint, Self.checkpoint])
      }
      #expect(
        error.description == """
          one file for 2 checkpoints
            at \(isState ? "optimizer state" : "updates") \(path)
            It belongs to one of them. Give one for each checkpoint, in their order, or a \
          pattern with {epoch}, {step}, {name} or {checkpoint}.
          """)
    }
  }
}
