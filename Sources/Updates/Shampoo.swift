import Curvature
import TensorModule

extension UpdateMethod {
  /// Gupta et al. 2018.
  public static let shampoo = UpdateMethod(
    "shampoo",
    "`L^(-1/4) G R^(-1/4)`, `L = Σ G_n G_nᵀ`, `R = Σ G_nᵀ G_n`, G_n a weight's gradient "
      + "of sample n as a matrix",
    MethodNeeds(decomposition: .factors, shares: .matrices),
    MatrixMethod(step: Shampoo(power: -0.25), isDamped: false))

  /// With the powers that make `L ⊗ R` an approximation of the curvature (Morwani et al. 2024).
  public static let shampooSquared = UpdateMethod(
    "shampoo@2", family: shampoo.family, "`L^(-1/2) G R^(-1/2)`",
    MethodNeeds(decomposition: .factors, shares: .matrices),
    MatrixMethod(step: Shampoo(power: -0.5), isDamped: false))
}

/// Shampoo with the statistics of single samples (method.md 7), without damping: eigenvalues at the level
/// of rounding, in whose eigenvectors no gradient has a part, are left out.
///
/// A tensor of one axis has one statistic, `sum_n g_n g_n^T`, and takes twice its power, as the paper has
/// it for tensors of any order; a table the diagonal of the same.
private struct Shampoo: MatrixStep {
  let power: Double

  /// L and R have the squares of the gradients' units.
  var scaleExponent: Int { Int(1 + 4 * power) }

  func form(_ role: WeightRole) -> StepForm {
    switch role {
    case .matrix(let rows, let columns), .head(let rows, let columns):
      .matrix(rows: rows, columns: columns)
    case .vector(let count): .vector(count: count)
    case .embedding: .elementwise(.init(power: power == -0.25 ? .half : .one))
    }
  }

  func steps(
    _ matrices: GradientMatrices, isVector: Bool, lambdas: [Double]
  ) throws(LinearAlgebraError) -> [Vector<Double>] {
    let left = try matrices.spectrum(.left)
    let (rows, columns) = (matrices.rows, matrices.columns)
    let sum = matrices.sum
    if isVector {
      let result = product(left.power(2 * power), sum, rows, rows, columns)
      return lambdas.map { _ in result }
    }
    let right = try matrices.spectrum(.right)
    let half = product(left.power(power), sum, rows, rows, columns)
    let result = product(half, right.power(power), rows, columns, columns)
    return lambdas.map { _ in result }
  }
}
