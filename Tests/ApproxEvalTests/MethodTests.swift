import Checkpoints
import Curvature
import Foundation
import HessianFree
import Models
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// What `Evaluation` makes of methods: lists of draws, truncated solves, files of several
/// directions, and scores per layer.
struct MethodTests {
  static let all: [UpdateMethod] = UpdateMethod.named + [.truncated(iterations: 3)]

  private func options(_ methods: [UpdateMethod]) -> EvaluationOptions {
    var options = EvaluationOptions()
    options.methods = methods
    options.precision = .float64
    options.dampings = [Damping("rel:1e-3")!]
    return options
  }

  @Test(arguments: ["mlp_tanh", "cnn_small", "tokens_ignore", "mse_mlp", "toy_logistic"])
  func everyMethodHasARowPerDampingAndNoneBeatsTheReference(_ name: String) throws {
    var options = options(Self.all)
    options.dampings = [Damping("1e-4")!, Damping("rel:1e-3")!]
    options.reference = .dense
    options.cgGap = 0
    let result = try Evaluation(options).score(checkpoint: fixture("golden/\(name).bin"))[0]
    for method in Self.all {
      let rows = result.scores.filter {
        $0.method == method.name && $0.role != .reference
      }
      #expect(rows.count == (method.needs.isDamped ? 2 : 1), "\(method.name)")
      for row in rows {
        // The certificate holds for every direction; the reference has its own rounding.
        #expect(row.gamma >= result.gammaBound * (1 - 1e-9), "\(method.name)")
        #expect(row.gamma >= result.reference!.gamma * (1 - 1e-6), "\(method.name)")
        #expect((row.monteCarloSamples != nil) == method.needs.isSampled)
      }
    }
  }

  @Test(arguments: Precision.allCases)
  func precisionsAgree(_ precision: Precision) throws {
    let double = try Evaluation(options(Self.all)).score(
      checkpoint: fixture("golden/mlp_trained.bin"))[0]
    var options = options(Self.all)
    options.precision = precision
    let own = try Evaluation(options).score(checkpoint: fixture("golden/mlp_trained.bin"))[0]
    for (a, b) in zip(own.scores, double.scores) {
      // Rows with errors of 1e-6 over a relative damping of 1e-3, squared by cancellation in gamma.
      #expect(mismatch(a.gamma, b.gamma, tolerance: 2e-3) == nil, "\(a.method)")
    }
  }

  /// Where lambda dwarfs everything, (M + lambda)^-1 g is g over lambda: so the rows that K-FAC has of
  /// attention layers and of both matrices of an adapter give the gradient that backpropagation gives.
  @Test(arguments: ["t5_lora", "vit_lora"], Precision.allCases)
  func kroneckerRowsOfTransformersGiveTheGradient(_ name: String, _ precision: Precision) throws {
    // The exact blocks of iekfac, here those of ViT's biases, tend to the sum of s_n g_n instead.
    var options = options(name == "t5_lora" ? [.kfac, .ekfac, .iekfac] : [.kfac, .ekfac])
    options.precision = precision
    options.adapter = fixture("hf/\(name)/adapter")
    options.dataFile = fixture("hf/\(name)/data.safetensors")
    options.batchSize = 4
    options.batches = 1
    options.reference = .none
    options.dampings = [Damping("1e30")!]
    let base = fixture("hf/\(name)/base")
    for memory in [Int.max / 4, try leastMemory(options, checkpoint: base)] {
      options.memory = memory
      let evaluation = Evaluation(options)
      let roles = try evaluation.describe(checkpoint: fixture("hf/\(name)/base")).parameters
      let adapters = roles.filter { $0.name.contains("lora_") }
      #expect(!adapters.isEmpty && adapters.allSatisfy { $0.kroneckerBlock == "kronecker" })
      for score in try evaluation.score(checkpoint: fixture("hf/\(name)/base"))[0].scores {
        // Roundings of two ways to sum.
        #expect(
          1 - score.cosineGradient < (precision == .float64 ? 1e-12 : 1e-6), "\(score.method)")
      }
    }
  }

  /// The directions of a program whose attention gathers inputs are those of the program that
  /// projects every key and value.
  @Test(arguments: ["t5_lora", "vit_lora"])
  func kroneckerRowsOfGatheredAttentionAreThoseOfItsLayers(_ name: String) throws {
    var options = options([.kfac])
    options.adapter = fixture("hf/\(name)/adapter")
    options.dataFile = fixture("hf/\(name)/data.safetensors")
    options.batchSize = 4
    let checkpoint = try LoadedCheckpoint(path: fixture("hf/\(name)/base"), options: options)
    let layers = try #require(checkpoint.layerProgram)
    let parameters = try checkpoint.parameters(Double.self)
    let source = try Evaluation(options).source(checkpoint)
    let batch = try source.reader.read(source.samples(0), Double.self)
    let found = try [checkpoint.program, layers].map { program in
      let linearization = Linearization(
        program: program, layerProgram: layers, parameters: parameters, inputs: batch.inputs,
        pool: WorkerPool(threads: 2))
      let output = OutputState(
        loss: checkpoint.loss, labels: batch.labels, linearization: linearization)
      let context = DirectionContext(
        BatchGradients(
          linearization, output, sampled: output.sampledGradients(draws: 2, seed: 1, batch: 0)))
      return try [UpdateMethod.kfac, .ekfac, .iekfac].map {
        try $0.directions(context, dampings: [Damping("rel:1e-3")!])[0].scaled
      }
    }
    for (gathered, projected) in zip(found[0], found[1]) {
      #expect(gathered.scale == projected.scale)
      // Roundings of sums in another order over the relative damping.
      #expect(
        mismatch(gathered.vector.array, projected.vector.array, tolerance: 1e-10) == nil)
    }
  }

  // MARK: - Draws

  @Test func drawsOfAListAreNested() throws {
    var options = options([.sf, .blockSF, .kfac, .ef])
    options.reference = .none
    options.monteCarloSamples = [1, 3]
    // Without stored draws.
    options.dataFile = fixture("digits/digits.safetensors")
    options.batchSize = 12
    options.batches = 1
    let path = fixture("digits/epoch-03.bin")
    let both = try Evaluation(options).score(checkpoint: path)[0].scores
    #expect(both.map(\.method) == ["sf", "sf", "block-sf", "block-sf", "kfac", "kfac", "ef"])
    #expect(both.map(\.monteCarloSamples) == [1, 3, 1, 3, 1, 3, nil])
    for count in [1, 3] {
      options.monteCarloSamples = [count]
      let alone = try Evaluation(options).score(checkpoint: path)[0].scores
      for score in alone {
        let same = try #require(
          both.first {
            $0.method == score.method && $0.monteCarloSamples == score.monteCarloSamples
          })
        // One pass with other stacks of cotangents: roundings of sums.
        #expect(mismatch(same.gamma, score.gamma, tolerance: 1e-9) == nil, "\(score.method)")
        #expect(same.lambda == score.lambda)
      }
    }
  }

  @Test func moreDrawsThanStoredAreRefusedForEverySampledMethod() throws {
    var options = options([.kfac])
    options.monteCarloSamples = [1, 500]
    let error = try #require(throws: EvaluationError.self) {
      try Evaluation(options).score(checkpoint: fixture("golden/mlp_trained.bin"))
    }
    guard case .notEnoughDraws(500, 3, _) = error else {
      Issue.record("\(error)")
      return
    }
  }

  // MARK: - Truncated conjugate gradients

  @Test func iteratesAreThoseOfSolvesThatStopThere() throws {
    let path = fixture("digits/epoch-10.bin")
    var options = options([.truncated(iterations: 7), .truncated(iterations: 2), .sgd])
    options.dampings = [Damping("0")!]
    options.reference = .none
    let scores = try Evaluation(options).score(checkpoint: path)[0].scores
    #expect(scores.map(\.method) == ["ng@7", "ng@2", "sgd"])
    for (score, count) in zip(scores, [7, 2]) {
      options.methods = [.sgd]
      options.reference = .cg
      options.cgIterations = count
      options.cgTolerance = 0
      options.cgGap = 0
      let solved = try Evaluation(options).score(checkpoint: path)[0]
      #expect(mismatch(score.gamma, solved.reference!.gamma, tolerance: 1e-9) == nil)
    }
    // F.2.1: never rising.
    #expect(scores[0].gamma < scores[1].gamma && scores[1].gamma < scores[2].gamma)
  }

  @Test func moreIterationsThanThereAreGiveTheSolution() throws {
    var options = options([.truncated(iterations: 500), .ng])
    options.dampings = [Damping("rel:1e-2")!]
    options.cgTolerance = 1e-12
    options.cgIterations = 500
    let scores = try Evaluation(options).score(checkpoint: fixture("golden/mse_mlp.bin"))[0].scores
    #expect(mismatch(scores[0].gamma, scores[1].gamma, tolerance: 1e-9) == nil)
  }

  @Test func namesOfTruncatedMethods() {
    #expect(UpdateMethod(name: "ng@5") == .truncated(iterations: 5))
    #expect(UpdateMethod.truncated(iterations: 12).name == "ng@12")
    for name in ["ng@", "ng@0", "ng@-1", "ng@x", "ng@1.5", "ng@05", "ng@99999999999999999999"] {
      #expect(UpdateMethod(name: name) == nil, "\(name)")
    }
    #expect(UpdateMethod(name: "ng@5")?.family == "ng")
    #expect(UpdateMethod(name: "update:") == nil)
    for method in UpdateMethod.named { #expect(UpdateMethod(name: method.name) == method) }
    #expect(Set(UpdateMethod.named).count == UpdateMethod.named.count)
  }

  // MARK: - Files of several directions

  private func write(_ tensors: [(String, [Int], [Double])], to path: String) throws {
    var writer = SafetensorsWriter(metadata: [:])
    for (name, shape, values) in tensors { writer.add(name, shape: shape, Vector(values)) }
    try writer.write(to: path)
  }

  /// A direction is read as it is, or divided by a power of two where its size would leave the range
  /// of single precision; neither changes a bit of gamma.
  @Test(arguments: [0x1p-120, 0x1p-40, 0x1p31, 0x1p33, 0x1p100])
  func gammaIsThatOfTheDirectionWhateverItsSize(_ factor: Double) throws {
    let folder = try TestFolder()
    let checkpoint = fixture("golden/toy_least_squares.bin")
    var writer = SafetensorsWriter(metadata: [:])
    for (name, scale) in [("a", 1), ("b", factor)] {
      for (tensor, shape, value) in [("weight", [1, 1], 0.75), ("bias", [1], -1.5)] {
        let values = [Float(value * scale)]
        writer.add(
          "updates.\(name).fc.\(tensor)", dtype: .f32, shape: shape,
          data: values.withUnsafeBytes { Data($0) })
      }
    }
    try writer.write(to: folder.path("mine.safetensors"))
    var options = EvaluationOptions()
    options.reference = .none
    options.updateFiles = [folder.path("mine.safetensors")]
    options.methods = [.update("a"), .update("b")]
    let scores = try Evaluation(options).score(checkpoint: checkpoint)[0].scores
    #expect(scores[0].gamma == scores[1].gamma && scores[0].gamma > 0)
    // 0.75^2 + 1.5^2 = 2.8125
    #expect(mismatch(scores[1].updateNorm, 2.8125.squareRoot() * factor, tolerance: 1e-6) == nil)
  }

  @Test func oneFileHasSeveralDirections() throws {
    let folder = try TestFolder()
    let path = folder.path("mine.safetensors")
    let checkpoint = fixture("golden/toy_least_squares.bin")
    let own: [(String, [Int], [Double])] = [
      ("updates.a.fc.weight", [1, 1], [1]), ("updates.a.fc.bias", [1], [0]),
      ("updates.b.fc.weight", [1, 1], [0]), ("updates.b.fc.bias", [1], [1]),
    ]
    try write(own, to: path)
    var options = options([.sgd])
    options.reference = .none
    options.updateFiles = [path]
    let scores = try Evaluation(options).score(checkpoint: checkpoint)[0].scores
    #expect(scores.map(\.method) == ["sgd", "update:a", "update:b"])
    #expect(scores[1].gamma != scores[2].gamma)
    options.methods = [.update("b")]
    let asked = try Evaluation(options).score(checkpoint: checkpoint)[0].scores
    #expect(asked.map(\.method) == ["update:b"])

    options.updateFiles = [path, path]
    let twice = try #require(throws: EvaluationError.self) {
      try Evaluation(options).batchCount(checkpoint: checkpoint)
    }
    #expect(
      twice.description == """
        two updates have the name a
          at \(path)
          A file with one direction gives it its own name: rename the file or the update.
        """)

    try write(own + [("stray", [1], [0])], to: path)
    options.updateFiles = [path]
    let stray = try #require(throws: EvaluationError.self) {
      try Evaluation(options).batchCount(checkpoint: checkpoint)
    }
    #expect(
      stray.description == """
        this tensor has no meaning here
          at \(path), tensor stray
          A file of several directions has tensors updates.<update>.<parameter> only.
        """)
  }

  /// A script has the names of its own version of Transformers and of PEFT's wrappers; they were no names
  /// of parameters here.
  @Test(arguments: ["file", "model", "own"]) func updatesMayHaveTheNamesOfTheScript(
    _ spelling: String
  ) throws {
    let folder = try TestFolder()
    let path = folder.path("mine.safetensors")
    let source = fixture("hf_double/vit_version_5")
    var options = options([.sgd])
    options.reference = .none
    options.adapter = source + "/adapter"
    options.dataFile = source + "/data.safetensors"
    options.updateFiles = [path]
    let loaded = try LoadedCheckpoint(path: source + "/base", options: options)
    var writer = SafetensorsWriter()
    var written: Set<String> = []
    let adapter = try TensorArchive.open(source + "/adapter/adapter_model.safetensors")
    for (name, tensor) in adapter.tensors {
      let bare = String(name.dropFirst("base_model.model.".count))
      let own = try #require(
        Model.parameterName(ofAdapterTensor: bare, modelType: "vit"))
      // The file has biases of base layers twice.
      guard written.insert(own).inserted else { continue }
      let spelt =
        switch spelling {
        case "file": name
        case "model":
          name.replacing(".lora_A.", with: ".lora_A.default.").replacing(
            ".lora_B.", with: ".lora_B.default.")
        default: own
        }
      writer.add(
        spelt, shape: tensor.shape,
        Vector((0..<tensor.count).map { Double($0 + own.utf8.count) }))
    }
    try writer.write(to: path)
    #expect(loaded.program.trainable.count > 2)
    let score = try Evaluation(options).score(checkpoint: source + "/base")[0].scores[1]
    // A direction by the names of the model, whatever the file has called them.
    let expected = Vector<Double>(count: loaded.program.parameterCount)
    for parameter in loaded.program.trainable {
      let spec = loaded.program.graph.parameters[parameter.index]
      let offset = loaded.program.offsets[parameter.index]!
      for i in 0..<spec.count { expected[offset + i] = Double(i + spec.name.utf8.count) }
    }
    var square = 0.0
    for i in 0..<expected.count { square += expected[i] * expected[i] }
    #expect(mismatch(score.updateNorm, square.squareRoot(), tolerance: 1e-12) == nil)
    #expect(score.method == "update:mine" && score.gamma > 0)
  }

  /// The name that is meant stands in front of what an update is.
  @Test func aMisspeltTensorOfAnUpdateIsFound() throws {
    let folder = try TestFolder()
    let path = folder.path("mine.safetensors")
    try write([("fc.weigth", [1, 1], [1]), ("fc.bias", [1], [0])], to: path)
    var options = options([.sgd])
    options.updateFiles = [path]
    let error = try #require(throws: EvaluationError.self) {
      try Evaluation(options).score(checkpoint: fixture("golden/toy_least_squares.bin"))
    }
    #expect(
      error.description == """
        this tensor has no meaning here
          at \(path), tensor fc.weigth
          Did you mean fc.weight?
          An update has one tensor for every trainable parameter.
        """)
  }

  /// What follows an update's name is a parameter's, whatever dots both have.
  @Test func namesOfUpdatesMayHaveDots() throws {
    let folder = try TestFolder()
    let path = folder.path("mine.safetensors")
    try write(
      [("updates.v1.2.fc.weight", [1, 1], [1]), ("updates.v1.2.fc.bias", [1], [0])], to: path)
    var options = options([.sgd])
    options.reference = .none
    options.updateFiles = [path]
    let checkpoint = fixture("golden/toy_least_squares.bin")
    let scores = try Evaluation(options).score(checkpoint: checkpoint)[0].scores
    #expect(scores.map(\.method) == ["sgd", "update:v1.2"])
    // In a checkpoint they are counted as they are scored.
    let source = try CheckpointFile.open(checkpoint)
    var writer = SafetensorsWriter(metadata: source.archive.metadata)
    for (name, tensor) in source.archive.tensors {
      try tensor.withBytes { bytes in
        writer.add(name, dtype: tensor.dtype, shape: tensor.shape, data: Data(bytes))
      }
    }
    for (name, shape) in [("weight", [1, 1]), ("bias", [1])] {
      writer.add("updates.v1.2.fc.\(name)", shape: shape, Vector([0.5]))
    }
    let own = folder.path("own.bin")
    try writer.write(to: own)
    let inspection = try Inspection(checkpoint: own)
    #expect(inspection.updates == [.init(name: "v1.2", tensors: 2)])
    options.updateFiles = []
    #expect(
      try Evaluation(options).score(checkpoint: own)[0].scores.map(\.method)
        == ["sgd", "update:v1.2"])
    // Where methods are named, only what is named is scored.
    options.scoresStoredUpdates = false
    #expect(
      try Evaluation(options).score(checkpoint: own)[0].scores.map(\.method) == ["sgd"])
    options.methods = [.update("v1.2")]
    #expect(
      try Evaluation(options).score(checkpoint: own)[0].scores.map(\.method) == ["update:v1.2"])
    options.methods = [.update("v1.3")]
    let error = try #require(throws: EvaluationError.self) {
      try Evaluation(options).score(checkpoint: own)
    }
    #expect(
      error.description == """
        there is no update v1.3
          at \(own)
          Known are: v1.2. Updates come from tensors updates.<name>.<parameter> or from updates FILE.
        """)
  }

  // MARK: - Layers

  @Test(arguments: ["mlp_tanh", "cnn_small", "tokens_ignore"])
  func layersAddUpToTheWhole(_ name: String) throws {
    var options = options([.sgd, .ief, .kfac, .adam])
    options.perLayer = true
    options.reference = .dense
    let result = try Evaluation(options).score(checkpoint: fixture("golden/\(name).bin"))[0]
    for score in result.scores {
      let layers = result.layers.filter {
        $0.method == score.method && $0.damping == score.damping
      }
      for kind in [LayerScore.Kind.tensor, .block] {
        let own = layers.filter { $0.kind == kind }
        #expect(!own.isEmpty)
        let dots = own.reduce(0) { $0 + $1.gradientDot }
        #expect(mismatch(dots, score.gradientDot, tolerance: 1e-9) == nil, "\(score.method)")
        let squares = own.reduce(0) { $0 + $1.updateNorm * $1.updateNorm }
        #expect(
          mismatch(squares.squareRoot(), score.updateNorm, tolerance: 1e-12) == nil)
        for layer in own {
          // No direction beats the reference, restricted or not.
          if let share = layer.efficiency { #expect(share <= 1 + 1e-6 && share >= 0) }
          if score.method == "sgd" { #expect(layer.gammaRelativeToSGD == 1) }
        }
      }
    }
  }

  /// A model of one block: restricting to it changes nothing.
  @Test func restrictingToEverythingIsTheWhole() throws {
    var options = options([.sgd, .ef, .ekfac])
    options.perLayer = true
    options.trainable = ["0.*"]
    let result = try Evaluation(options).score(
      checkpoint: fixture("data/optimizer/checkpoint.bin"))[0]
    for score in result.scores {
      let block = try #require(
        result.layers.first {
          $0.method == score.method && $0.damping == score.damping && $0.kind == .block
        })
      #expect(block.layer == "0")
      #expect(mismatch(block.gamma, score.gamma, tolerance: 1e-12) == nil, "\(score.method)")
      #expect(
        mismatch(block.gammaRelativeToSGD!, score.gammaRelativeToSGD!, tolerance: 1e-12) == nil)
    }
  }

  /// gamma of a restricted direction from the oracle.
  @Test(arguments: Precision.allCases)
  func restrictedGammasAreTheOracles(_ precision: Precision) throws {
    var options = options([.sgd, .update("mine")])
    options.perLayer = true
    options.precision = precision
    options.reference = .none
    options.optimizerState = fixture("data/optimizer/adam.pt")
    options.methods = [.sgd]
    let path = fixture("data/optimizer/checkpoint.bin")
    let layers = try Evaluation(options).score(checkpoint: path)[0].layers
    let oracle = DenseOracle(try Problem(CheckpointFile.open(path)))
    let ranges = oracle.tensorRanges
    for layer in layers where layer.method == "sgd" {
      var restricted = [Double](repeating: 0, count: oracle.parameterCount)
      for (name, range) in ranges where name == layer.layer || name.hasPrefix(layer.layer + ".") {
        for i in range { restricted[i] = oracle.gradient[i] }
      }
      #expect(
        mismatch(
          layer.gamma, oracle.gamma(restricted), tolerance: precision == .float64 ? 1e-11 : 1e-5)
          == nil, "\(layer.layer)")
    }
  }

  @Test func frozenTensorsAreTold() throws {
    var options = options([.sgd])
    options.perLayer = true
    options.trainable = ["0.*", "2.weight"]
    let evaluation = Evaluation(options)
    let path = fixture("data/optimizer/checkpoint.bin")
    let roles = try evaluation.describe(checkpoint: path).parameters
    #expect(roles.map(\.name) == ["0.weight", "0.bias", "2.weight", "2.bias"])
    #expect(roles.map(\.status) == [.trained, .trained, .trained, .frozen])
    #expect(roles.map(\.kroneckerBlock) == ["kronecker", "kronecker", "kronecker", nil])
    let layers = try evaluation.score(checkpoint: path)[0].layers
    #expect(Set(layers.map(\.layer)) == ["0", "0.weight", "0.bias", "2", "2.weight"])
    #expect(layers.first { $0.layer == "2" }!.status == .partlyFrozen)
    let table = Report([
      .init(try evaluation.describe(checkpoint: path), try evaluation.score(checkpoint: path))
    ])
    #expect(table.tables.map(\.name) == ["scores", "batches", "cg", "summary", "layers"])
  }

  /// Late layers of a direction that is zero elsewhere take no products and have no gamma.
  @Test func zeroPartsHaveNoGamma() throws {
    let folder = try TestFolder()
    let path = folder.path("half.safetensors")
    try write(
      [
        ("0.weight", [4, 3], (0..<12).map { Double($0) }), ("0.bias", [4], [1, 2, 3, 4]),
        ("2.weight", [3, 4], [Double](repeating: 0, count: 12)), ("2.bias", [3], [0, 0, 0]),
      ], to: path)
    var options = options([.sgd])
    options.perLayer = true
    options.updateFiles = [path]
    let layers = try Evaluation(options).score(
      checkpoint: fixture("data/optimizer/checkpoint.bin"))[0].layers
    let own = layers.filter { $0.method == "update:half" }
    #expect(own.first { $0.layer == "0" }!.gamma.isFinite)
    for layer in own where layer.layer.hasPrefix("2") {
      #expect(layer.gamma.isNaN && layer.gammaRelativeToSGD == nil && layer.efficiency == nil)
      #expect(layer.updateNorm == 0 && layer.gradientDot == 0)
    }
  }
}
