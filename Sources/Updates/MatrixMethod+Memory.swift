import Curvature
import GraphModule
import TensorModule

extension BatchNeeds {
  /// The gradients of one weight in double, in coordinates once more, and the bases.
  func matrices(of parameter: ParameterID, rows: Int, columns: Int) -> ByteCount {
    let form = weightForm(of: parameter)
    // The same in coordinates, perturbed, and turned twice.
    let spanned = { (own: Int, other: Int) in
      min(own, (ByteCount(samples) * ByteCount(other)).value)
    }
    let (k, l) = (spanned(rows, columns), spanned(columns, rows))
    let written =
      doubles(5, samples, rows * columns) + doubles(6, rows, columns) + doubles(5, k, k)
      + doubles(5, l, l)
    switch form {
    case .products(let positions)
    where GradientMatrices.isSmallerWritten(positions: positions, rows: rows, columns: columns):
      return doubles(samples * positions, rows + columns) + written
    case .products(let positions):
      let count = samples * positions
      let (k, l) = (min(rows, count), min(columns, count))
      // As they are and normalised.
      return doubles(2, count, rows + columns) + doubles(3, count, k + l)
        + doubles(4, positions, positions)
        + doubles(2, min(count, rows), rows) + doubles(2, min(count, columns), columns)
        + doubles(5, k, k) + doubles(5, l, l) + doubles(6, k, l) + doubles(2, rows, columns)
    case .explicit: return written
    }
  }
}

extension BatchNeeds {
  /// The same as they are kept for several methods.
  func prepared(of parameter: ParameterID, rows: Int, columns: Int) -> ByteCount {
    let bases = { (k: Int, l: Int) in
      doubles(k < rows ? k : 0, rows) + doubles(l < columns ? l : 0, columns)
    }
    if case .products(let positions) = weightForm(of: parameter),
      !GradientMatrices.isSmallerWritten(positions: positions, rows: rows, columns: columns)
    {
      let count = samples * positions
      let (k, l) = (min(rows, count), min(columns, count))
      return doubles(count, k + l) + bases(k, l)
    }
    let spanned = { (own: Int, other: Int) in
      min(own, (ByteCount(samples) * ByteCount(other)).value)
    }
    let (k, l) = (spanned(rows, columns), spanned(columns, rows))
    return doubles(samples, k, l) + bases(k, l)
  }
}
