import Checkpoints
import Updates

/// By what statistic weights are chosen to be removed.
public struct PruningMethod: Sendable, Hashable {
  /// As options and tables spell it.
  public let name: String
  /// In a few words.
  public let summary: String
  /// Whose sum of outer products stands for the Hessian; without one, weights go by their size alone and
  /// nothing makes up for them.
  let rows: Rows?

  /// Rows r_n of the matrix `sum_n r_n r_n^T`.
  enum Rows: Sendable {
    /// g_n
    case gradients
    /// `g_n / |u_n|`
    case gradientsOverLogitGradients
  }

  /// Singh and Alistarh 2020.
  public static let ef = PruningMethod(
    name: "ef", summary: "WoodFisher: the empirical Fisher matrix, Σ g_n g_nᵀ", rows: .gradients)

  /// Wu et al. 2024, D.2.3.
  public static let ief = PruningMethod(
    name: "ief", summary: "the same with the improved empirical Fisher matrix, Σ g_n g_nᵀ / ‖u_n‖²",
    rows: .gradientsOverLogitGradients)

  /// Without any matrix.
  public static let magnitude = PruningMethod(
    name: "magnitude", summary: "the size of a weight alone", rows: nil)

  /// Every method, in the order of tables.
  public static let all: [PruningMethod] = [ef, ief, magnitude]
}

/// What becomes of the weights that stay where others are removed.
public enum WeightUpdate: String, Sendable, CaseIterable {
  /// The sum of what the removal of each weight alone asks for (Singh and Alistarh 2020).
  case sum
  /// The minimum of the quadratic over the weights that stay, all removals at once.
  case joint
  /// They keep their values.
  case none
}

/// What `Pruning` does, with the defaults of the command.
public struct PruningOptions: Sendable {
  /// Shares of the weights that are removed, each in [0, 1).
  public var sparsities: [Double]
  /// Tried one after the other.
  public var methods = PruningMethod.all
  /// lambda of `sum_n r_n r_n^T + lambda I`, each tried: relative ones are to the largest `|r_n|^2`.
  public var dampings = [Damping("rel:1e-2")!]
  /// Weights in a block of the matrix: a contiguous part of one tensor.
  public var blockSize = 2000
  /// What becomes of the weights that stay.
  public var update = WeightUpdate.sum
  /// Names of the tensors that may lose weights, `*` and `?` allowed; empty: the weights of linear layers
  /// and convolutions.
  public var weights: [String] = []
  /// Of the engine; matrices and weights are in double in either.
  public var precision = Arithmetic.float64
  /// Model, data, samples, seed, threads and memory; `batchSize` `nil`: as many samples as memory allows.
  public var evaluation = EvaluationOptions()

  /// The defaults, with these shares.
  public init(sparsities: [Double]) { self.sparsities = sparsities }

  /// As far as loading a checkpoint and planning its memory are concerned.
  var loading: EvaluationOptions {
    var options = evaluation
    options.precision = Precision(precision)
    return options
  }
}
