import ApproxEval
import Checkpoints
import Updates

/// A file by torch.save with the state of an optimiser (a byte, then `ZipInput`), scored on the small
/// checkpoint that the states of the fixtures are of. What an evaluation would refuse is refused before
/// there is one.
struct OptimizerReading: Reader {
  let name = "torch-optimizer"
  let isText = false

  func read(_ input: ArraySlice<UInt8>) throws {
    // The first byte decides how it is scored.
    let choice = input.first ?? 0
    var options = EvaluationOptions()
    let path = Scratch.write(ZipInput.file(input.dropFirst()), to: "state.pt")
    options.optimizerState = path
    options.methods = [.sgd]
    options.reference = .none
    options.precision = choice & 1 == 0 ? .float32 : .float64
    options.perLayer = choice & 2 != 0
    options.threads = 1
    options.memory = Scoring.memory
    let state = try OptimizerState(path: path, files: InputFiles(memory: options.memory))
    try state.check(Self.loaded.get())
    try Evaluation(options).score(checkpoint: Self.checkpoint)
  }

  private static let checkpoint = Fixtures.ofThePackage.path("data/optimizer/checkpoint.bin")
  private static let loaded = Result {
    try LoadedCheckpoint(path: checkpoint, options: EvaluationOptions())
  }

  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]] {
    var seeds = try ZipSeeds.make(fixtures, ["data/optimizer"], ending: ".pt")
    // Those of before PyTorch 1.6 are no archives.
    for (name, file) in try LegacyTorchReading().seeds(fixtures) {
      seeds[name] = ZipInput.raw(file)
    }
    return seeds.mapValues { [0] + $0 }.filter { $0.value.count <= Readers.mostSeedBytes }
  }
}
