import GraphModule
import TensorModule

/// Which rows of a sample are, up to their sign, one of an earlier draw: those whose cotangents are. With
/// one logit, or two classes, all labels of a sample pull along one line.
///
/// A backward pass may round each of them by itself, by its place in a product of matrices. A difference
/// that should vanish, as what SF leaves of g without damping, would be nothing but that rounding, along
/// directions that no row has: so the first of the rows stands for all.
struct ParallelRows<S: EngineScalar> {
  /// `[R, N]`: 0 for a row of its own, else the number of the draw, from 1, negative where the row is the
  /// opposite.
  private let sources: IndexVector
  private let draws: Int
  private let samples: Int

  init(draws: Int, samples: Int) {
    sources = IndexVector([Int32](repeating: 0, count: draws * samples))
    (self.draws, self.samples) = (draws, samples)
  }

  /// Looks at the cotangents `[R, n, size]` of one chunk; chunks may do so at the same time.
  func find(_ chunk: Schedule.Chunk, _ cotangents: UnsafePointer<S>, size: Int) {
    for n in 0..<chunk.count {
      for draw in 1..<max(draws, 1) {
        let own = cotangents + (draw * chunk.count + n) * size
        for earlier in 0..<draw where sources.pointer[earlier * samples + chunk.first + n] == 0 {
          let sign = Self.sign(own, cotangents + (earlier * chunk.count + n) * size, size)
          if sign == 0 { continue }
          sources.pointer[draw * samples + chunk.first + n] = sign * Int32(earlier + 1)
          break
        }
      }
    }
  }

  /// 1 for equal numbers, -1 for opposite ones, 0 for others.
  private static func sign(_ a: UnsafePointer<S>, _ b: UnsafePointer<S>, _ size: Int) -> Int32 {
    var (isEqual, isOpposite) = (true, true)
    for i in 0..<size {
      isEqual = isEqual && a[i] == b[i]
      isOpposite = isOpposite && a[i] == -b[i]
      if !isEqual && !isOpposite { return 0 }
    }
    return isEqual ? 1 : -1
  }

  /// Writes the first of parallel rows in place of the others, `[R N, size]`.
  func unify(_ rows: Vector<S>, size: Int) {
    for row in 0..<draws * samples where sources.pointer[row] != 0 {
      let source =
        rows.pointer + ((Int(abs(sources.pointer[row])) - 1) * samples + row % samples) * size
      let target = rows.pointer + row * size
      if sources.pointer[row] > 0 {
        Kernels.copy(source, target, count: size)
      } else {
        for i in 0..<size { target[i] = -source[i] }
      }
    }
  }
}

extension PerSampleGradients {
  /// Makes the rows of parallel cotangents the same ones.
  func unify(_ parallel: ParallelRows<S>) {
    for entry in entries {
      switch entry {
      case .factored(_, let factors, _, _, let rows, let table):
        parallel.unify(rows, size: factors.positions * factors.outputs)
        if let table { parallel.unify(table.rows, size: table.size) }
      case .explicit(let parameter, let rows):
        parallel.unify(rows, size: linearization.program.graph.parameters[parameter.index].count)
      }
    }
  }
}
