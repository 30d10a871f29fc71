import ApproxEval
import Checkpoints
import Updates

/// A zip archive by torch.save with the state of an optimiser, scored on the small checkpoint that
/// the states of the fixtures are of.
struct OptimizerReading: Reader {
  let name = "torch-optimizer"
  let isText = false

  func read(_ input: ArraySlice<UInt8>) throws {
    // The first byte decides how it is scored.
    let choice = input.first ?? 0
    var options = EvaluationOptions()
    options.optimizerState = Scratch.write(ZipInput.file(input.dropFirst()), to: "state.pt")
    options.methods = [.sgd]
    options.reference = .none
    options.precision = choice & 1 == 0 ? .float32 : .float64
    options.perLayer = choice & 2 != 0
    options.threads = 1
    options.memory = Scoring.memory
    try Evaluation(options).score(checkpoint: Self.checkpoint)
  }

  private static let checkpoint = Fixtures.ofThePackage.path("data/optimizer/checkpoint.bin")

  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]] {
    try ZipSeeds.make(fixtures, ["data/optimizer"], ending: ".pt").mapValues { [0] + $0 }
  }
}
