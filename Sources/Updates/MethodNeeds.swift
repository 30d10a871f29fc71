import Curvature
import GraphModule

/// What a method takes beside the gradient. Plans of memory, predictions, checks and reports read it:
/// none of them knows a method by its name.
public struct MethodNeeds: Sendable, Equatable {
  /// Which Gram matrices of per-sample gradients are solved with.
  public enum GramMatrices: Sendable {
    /// The one of all parameters.
    case whole
    /// One for each parameter tensor.
    case tensors
    /// One for each module.
    case modules
    /// One for each tensor that has no Kronecker product.
    case exceptions

    /// Groups of tensors that have a matrix of their own.
    ///
    /// - Parameter program: With every linear layer applied to its own rows.
    package func groups(of program: Program) -> [[ParameterID]] {
      switch self {
      case .whole: []
      case .tensors: BlockPartition.tensors.groups(program)
      case .modules: BlockPartition.modules.groups(program)
      case .exceptions: KroneckerPlan(program).exact.map { [$0.parameter] }
      }
    }
  }

  /// Squares that are summed over the samples, entry by entry.
  public enum Squares: Sendable, Hashable {
    /// Of g_n.
    case ofGradients
    /// Of g_n divided by `|u_n|`.
    case ofUnitGradients
    /// Of the rows of B, `F = B^T B`: the diagonal of F.
    case ofFisher
  }

  /// Labels that are drawn from the model.
  public struct SampledLabels: Sendable, Equatable {
    /// The method that it is where all of them are the true ones, where there is one.
    public var trueLabelMethod: String?
  }

  /// What of a layer's gradients or inputs is decomposed.
  public enum Decomposition: Sendable {
    /// Bases of what its gradients span.
    case bases
    /// The second moments of its inputs.
    case inputs
    /// Those of its inputs and of its outputs.
    case factors
    /// The same, turn by turn, until each follows from the other.
    case alternatingFactors
  }

  /// What an iterative solver is asked for.
  public enum Solve: Sendable, Equatable {
    /// The solution.
    case solution
    /// Where it is after so many iterations.
    case iterate(after: Int)
  }

  /// What methods may have in common beside rows and Gram matrices.
  public enum Shared: Sendable {
    /// Gradients of weights in bases of what they span.
    case matrices
    /// Eigenvectors of the inputs of linear layers, and the layers' gradients.
    case layers
  }

  /// Whether there is a direction for each damping, or one.
  public var isDamped = false
  /// Those that go into it; `nil`: none.
  public var sampledLabels: SampledLabels?
  /// Whether Monte-Carlo labels go into it.
  public var isSampled: Bool { sampledLabels != nil }
  /// Which matrices of products of gradients it takes; `nil`: none.
  public var gram: GramMatrices?
  /// Whether linear layers have Kronecker products.
  public var hasKroneckerProducts = false
  /// Of each layer; of one with a Kronecker product both factors are.
  public var decomposition: Decomposition?
  /// `nil`: none.
  public var squares: Squares?
  /// Whether gradients for each column of the root of H go into it: as many as the model has outputs.
  public var usesFisherRows = false
  /// Of which groups of tensors the Fisher matrix is solved with: from such gradients where they are few, and
  /// by iterations with products otherwise; `nil`: none.
  public var fisherBlocks: GramMatrices?
  /// `nil`: none.
  public var solve: Solve?
  /// What of it other methods need as well; `nil`: nothing that is kept for them.
  public var shares: Shared?
  /// Whether the direction is a weighted sum of gradients at the logits taken back through the
  /// network, which then need not be formed.
  public var isWeightedSum = false
  /// Whether it reads the entries of the gradient.
  public var readsGradient: Bool { update == nil && !isWeightedSum }
  /// The direction among the user's that it is.
  public var update: String?

  /// Whether samples that count as duplicates are left out of it; of methods with Kronecker products,
  /// out of exact blocks alone.
  public var leavesOutDuplicates: Bool { gram == .whole || gram == .tensors || gram == .modules }

  /// What it costs beside the gradient, in a few words.
  public var cost: String {
    switch solve {
    case .solution: return "a solve with products of the whole curvature"
    case .iterate: return "so many products of the curvature"
    case nil: break
    }
    var parts: [String] = []
    if isSampled { parts.append("gradients of sampled labels") }
    if usesFisherRows { parts.append("a backward pass for each output") }
    if squares == .ofFisher {
      parts.append("a backward pass for each output, up to 64, and sums of squares")
    } else if squares != nil {
      parts.append("sums of squares")
    }
    switch hasKroneckerProducts ? .factors : decomposition {
    case .bases: parts.append("a basis of each layer's gradients")
    case .inputs: parts.append("eigenvectors of one factor for each layer")
    case .factors: parts.append("eigenvectors of two factors for each layer")
    case .alternatingFactors:
      parts.append("eigenvectors of two factors for each layer, turn by turn up to 50 times")
    case nil: break
    }
    switch gram {
    case .whole: parts.append("one Gram matrix")
    case .tensors: parts.append("a Gram matrix for each tensor")
    case .modules: parts.append("a Gram matrix for each layer")
    case .exceptions, nil: break
    }
    if fisherBlocks != nil {
      parts.append(
        "a backward pass for each output, a Gram matrix of them for each block; where these are "
          + "large, a solve with products of the curvature for each block")
    }
    return parts.isEmpty ? "nothing" : parts.joined(separator: ", ")
  }

  /// The solver's iterations, where they are counted.
  public var iterations: Int? {
    if case .iterate(let count)? = solve { count } else { nil }
  }
}
