import TensorModule
import Updates

/// A way to find the natural gradient (method.md 4): a name and what belongs to it. Options, help, plans
/// and reports read this list; what a method is to the choice that `auto` makes is in `ReferenceChoice`.
public struct ReferenceMethod: Sendable {
  /// What of the engine a method takes, for plans and predictions.
  public struct Needs: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Iterations on vectors, or on pairs in logit space; what can be preconditioned.
    static let conjugateGradients = Needs(rawValue: 1)
    /// Iterations with products of B and its transpose.
    static let lsqr = Needs(rawValue: 2)
    /// B B^T and a factor of it.
    static let gramMatrix = Needs(rawValue: 4)
    /// B and its singular vectors, or what else is needed where that is less.
    static let factorMatrix = Needs(rawValue: 8)
    /// Some rows of B, with a forward pass of their samples.
    static let leadingRows = Needs(rawValue: 16)
  }

  /// The one spelling that options and reports share.
  public let name: String
  /// In a sentence.
  public let title: String
  /// One line for those who choose.
  public let help: String
  /// What of the engine it takes.
  public let needs: Needs
  let solver: any ReferenceSolving

  /// Linear conjugate gradients, Algorithm 5.
  public static let cg = ReferenceMethod(
    name: "cg", title: "conjugate gradients", help: "Linear conjugate gradients.",
    needs: .conjugateGradients, solver: ConjugateGradientReference())
  /// LSQR on B with `F = B^T B`: the same space and products, in which gamma does not cancel.
  public static let lsqr = ReferenceMethod(
    name: "lsqr", title: "LSQR", help: "LSQR: the same products, and no cancellation in gamma.",
    needs: .lsqr, solver: LSQRReference())
  /// The SVD of B, always in double, for small problems; where B does not fit into the memory, as `gram`.
  public static let dense = ReferenceMethod(
    name: "dense", title: "dense", help: "Singular values of B, where F = B^T B.",
    needs: [.factorMatrix, .gramMatrix], solver: FactorReference())
  /// A factorisation of `B B^T`, formed without B from one backward pass with a cotangent per
  /// class: for few classes and samples, however many parameters.
  public static let gram = ReferenceMethod(
    name: "gram", title: "Gram matrix of B", help: "A factorisation of B B^T.",
    needs: .gramMatrix, solver: GramMatrixReference())
  /// A factorisation of `B B^T` for the rows of each sample's leading classes, and what is left of it as
  /// one more row: for predictions that have few classes left.
  public static let leading = ReferenceMethod(
    name: "leading", title: "leading classes", help: "B B^T of each sample's leading classes.",
    needs: .leadingRows, solver: LeadingClassesReference())
  /// Leading classes or conjugate gradients, and a direct solver where they do not converge or it is predicted
  /// to be there sooner; the record says which and why.
  public static let auto = ReferenceMethod(
    name: "auto", title: "auto", help: "cg, or leading, dense or gram where they are there sooner.",
    needs: .conjugateGradients, solver: ConjugateGradientReference())
  /// No reference: scores relative to it stay empty. Where a method solves at a damping, it is by `cg`.
  public static let none = ReferenceMethod(
    name: "none", title: "none", help: "No reference.", needs: [],
    solver: ConjugateGradientReference())

  /// In the order of help texts.
  public static let all = [cg, lsqr, dense, gram, leading, auto, none]

  private init(
    name: String, title: String, help: String, needs: Needs, solver: any ReferenceSolving
  ) {
    (self.name, self.title, self.help) = (name, title, help)
    (self.needs, self.solver) = (needs, solver)
  }

  /// Whether conjugate gradients have a part in it.
  public var canBePreconditioned: Bool { needs.contains(.conjugateGradients) }
  /// Whether it may leave iterates.
  public var isIterative: Bool { !needs.isDisjoint(with: [.conjugateGradients, .lsqr]) }
}

/// What a method does: `(F + mu I) x = g` with the damping and the iterations of `solver`.
protocol ReferenceSolving: Sendable {
  func solve<S: EngineScalar>(
    _ solver: ReferenceSolver<S>, _ gradients: BatchGradients<S>, of batch: BatchReference<S>
  ) throws -> ReferenceSolution<S>
}

/// Equal, hashed, stored and given as an option by its name.
extension ReferenceMethod: RawRepresentable, Hashable, Codable {
  public var rawValue: String { name }

  public init?(rawValue: String) {
    guard let known = Self.all.first(where: { $0.name == rawValue }) else { return nil }
    self = known
  }
}
