import Curvature
import TensorModule

extension UpdateMethod {
  /// Jordan 2024.
  public static let muon = UpdateMethod(
    "muon",
    "five Newton-Schulz steps on `G / ‖G‖`, times `√max(1, rows / columns)`; vectors, tables and "
      + "the head as `adam`",
    MethodNeeds(decomposition: .bases, shares: .matrices),
    MatrixMethod(step: Muon(isPolar: false), isDamped: false))

  /// What Newton-Schulz iterations tend to.
  public static let muonPolar = UpdateMethod(
    "muon@polar", family: muon.family,
    "as `muon` with what its steps approximate: `U Vᵀ`, `G = U S Vᵀ`",
    MethodNeeds(decomposition: .bases, shares: .matrices),
    MatrixMethod(step: Muon(isPolar: true), isDamped: false))
}

/// The gradient of a weight made orthogonal (method.md 7), as its author has it for hidden layers.
///
/// Convolutions count as out x (in kh kw), for the factor too. Other tensors take the form of Adam, at the
/// rate of the matrices: the mean gradient over the root of the mean square, as an optimiser sees them.
private struct Muon: MatrixStep {
  let isPolar: Bool

  func form(_ role: WeightRole) -> StepForm {
    switch role {
    case .matrix(let rows, let columns): .matrix(rows: rows, columns: columns)
    case .head, .vector, .embedding:
      .elementwise(.init(power: .half, samplePower: -0.5))
    }
  }

  func factor(rows: Int, columns: Int) -> Double {
    max(1, Double(rows) / Double(columns)).squareRoot()
  }

  func steps(
    _ matrices: GradientMatrices, isVector: Bool, lambdas: [Double]
  ) throws(LinearAlgebraError) -> [Vector<Double>] {
    let (rows, columns) = (matrices.rows, matrices.columns)
    let sum = matrices.sum
    if !isPolar {
      NewtonSchulz(
        coefficients: .init(repeating: NewtonSchulz.original, count: 5), normFloor: .largest(0)
      ).orthogonalize(sum.pointer, rows: rows, columns: columns)
      return lambdas.map { _ in sum }
    }
    // Singular values that are nothing but rounding of what was summed have no vectors.
    let level = matrices.level
    let factors = try LAPACK.singularValues(rows: rows, columns: columns, sum)
    let k = factors.values.count
    let rank = factors.values.prefix { $0 > level }.count
    let result = Vector<Double>(count: rows * columns)
    BLAS.gemm(
      m: rows, n: columns, k: rank, factors.left.pointer, lda: k,
      factors.rightTransposed.pointer, ldb: columns, result.pointer, ldc: columns)
    return lambdas.map { _ in result }
  }
}
