import Checkpoints
import Curvature
import TestSupport
import Testing
import Updates

/// Directions beside those that optimisers' own code has taken on the same samples
/// (fixtures/make_real_optimizers.py): every entry and the scale.
struct OptimizerCodeTests {
  private static let networks = ["mlp", "cnn"]

  /// A network with what both sides make of its batch.
  private struct Sides {
    let problem: Problem
    private let file: CheckpointFile
    private let engine: EngineProblem<Double>
    private let context: DirectionContext<Double>

    init(_ name: String) throws {
      file = try CheckpointFile.open(fixture("data/optimizer_code/\(name).bin"))
      problem = try Problem(file)
      engine = try EngineProblem(problem, Double.self)
      let linearization = engine.linearize(threads: 2)
      context = DirectionContext(
        BatchGradients(linearization, engine.output(linearization), sampled: []))
    }

    func theirs(_ update: String) throws -> [Double] { try problem.update(update, of: file) }

    func ours(_ method: UpdateMethod, lambda: String? = nil) throws -> [Double] {
      let dampings = lambda.map { [Damping($0)!] } ?? []
      return engine.direction(try method.directions(context, dampings: dampings)[0].scaled)
    }
  }

  /// From here on nothing is a matter of the derivatives.
  @Test(arguments: networks) func gradientsAreTheSame(_ network: String) throws {
    let sides = try Sides(network)
    #expect(mismatch(try sides.ours(.sgd), try sides.theirs("gradient"), tolerance: 1e-13) == nil)
  }

  /// torch.optim.Muon on hidden weights, torch.optim.Adam on all else, in double.
  @Test(arguments: networks) func muonIsThatOfPyTorch(_ network: String) throws {
    let sides = try Sides(network)
    // Five steps multiply what rounding leaves in a small singular value by up to 3.4445^5 = 485.
    #expect(mismatch(try sides.ours(.muon), try sides.theirs("muon"), tolerance: 1e-12) == nil)
    // The least singular value is 1e-3 of the norm, and its vectors have errors of 1e-16 over that.
    #expect(
      mismatch(try sides.ours(.muonPolar), try sides.theirs("muon-polar"), tolerance: 1e-11) == nil)
  }

  /// As PyTorch comes, with steps in bfloat16: 2^-9 of a norm of one is rounding, and singular values of that
  /// size, which the MLP has, grow by up to 485. The others keep some per cent.
  @Test(arguments: networks) func bfloat16IsNearToIt(_ network: String) throws {
    let sides = try Sides(network)
    let (double, brief) = (try sides.ours(.muon), try sides.theirs("muon-bfloat16"))
    #expect(cosine(double, brief) > 0.995)
    #expect(mismatch(brief, double, tolerance: 1e-3) != nil, "nothing is in bfloat16")
    let oracle = DenseOracle(sides.problem)
    #expect(mismatch(oracle.gamma(brief), oracle.gamma(double), tolerance: 1e-3) == nil)
  }

  /// pytorch_optimizer's Shampoo with the statistics of one step for each sample.
  @Test(arguments: networks) func shampooIsThatOfItsCode(_ network: String) throws {
    let sides = try Sides(network)
    // Their 1e-13 on the diagonal is 1e-10 of the least eigenvalue, and where no gradient has a part, as in the
    // sum of the head's biases, its inverse root makes 1e-9 of rounding.
    #expect(
      mismatch(try sides.ours(.shampoo), try sides.theirs("shampoo"), tolerance: 5e-9) == nil)
  }

  /// pytorch_optimizer's SOAP: its moments are means, so that it is 1 / sqrt(N) of ours at lambda = sqrt(N) eps.
  @Test(arguments: networks) func soapIsThatOfItsCode(_ network: String) throws {
    let sides = try Sides(network)
    let root = sides.problem.samples == 16 ? 4 : 3
    #expect(root * root == sides.problem.samples)
    // Eigenvalues that are a hundredth of the largest from each other, or have no gradient. At their own
    // default of 1e-8 these are 1e-16 over that.
    for (eps, tolerance) in [("1e-2", 1e-10), ("1e-8", 1e-7)] {
      let lambda = eps.replacing("1e", with: "\(root)e")
      let ours = try sides.ours(.soap, lambda: lambda).map { $0 / Double(root) }
      #expect(
        mismatch(ours, try sides.theirs("soap-" + eps), tolerance: tolerance) == nil, "eps \(eps)")
    }
  }

  /// The one difference that is meant: given a convolution's weight with its four axes, their code has a statistic
  /// for each; ours is the matrix out x (in kh kw). The documentation has the cosines.
  @Test func axesOfAConvolutionMakeADifference() throws {
    let sides = try Sides("cnn")
    let shampoo = try (sides.theirs("shampoo-axes"), sides.ours(.shampoo))
    let soap = try (sides.theirs("soap-axes"), sides.ours(.soap, lambda: "3e-2").map { $0 / 3 })
    let weight = 0..<32
    for (pair, expected, tolerance) in [(shampoo, 0.983, 5e-9), (soap, 0.925, 1e-10)] {
      #expect(abs(cosine(Array(pair.0[weight]), Array(pair.1[weight])) - expected) < 5e-4)
      let others = (Array(pair.0[weight.upperBound...]), Array(pair.1[weight.upperBound...]))
      #expect(mismatch(others.1, others.0, tolerance: tolerance) == nil)
    }
  }

  private func cosine(_ a: [Double], _ b: [Double]) -> Double {
    dot(a, b) / (dot(a, a) * dot(b, b)).squareRoot()
  }
}
